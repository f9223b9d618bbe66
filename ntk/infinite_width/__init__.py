"""Kernels of infinitely wide networks, by the C/D recursions of the theory."""

from ntk.infinite_width.limits import kernels_of, ntk_of

__all__ = ["kernels_of", "ntk_of"]
