"""Bounds and measures of kernel regression."""
