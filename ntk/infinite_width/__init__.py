"""Kernels of infinitely wide networks, by the C/D recursions of the theory."""

from ntk.infinite_width.depths import MLPKernels
from ntk.infinite_width.limits import kernels_of, ntk_of

__all__ = ["MLPKernels", "kernels_of", "ntk_of"]
