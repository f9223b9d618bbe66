"""Kernels of infinitely wide networks, by the C/D recursions of the theory."""

from ntk.infinite_width.limits import infinite_kernels, infinite_ntk

__all__ = ["infinite_kernels", "infinite_ntk"]
