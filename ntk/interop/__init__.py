"""Kernel libraries of other authors, as independent references."""
