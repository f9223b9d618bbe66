"""Kernels of infinitely wide networks, by the C/D recursions of the theory."""

from ntk.infinite_width.limits import kernels, ntk

__all__ = ["kernels", "ntk"]
