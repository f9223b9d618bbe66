"""Means over all pairs of positions, offset by offset."""
