"""Networks of finite width, and their kernels measured."""

from ntk.finite_width.jacobian import empirical_ntk
from ntk.finite_width.layerwise import empirical_kernels
from ntk.finite_width.models import FiniteMLP, FiniteRNN, finite

__all__ = ["FiniteMLP", "FiniteRNN", "empirical_kernels", "empirical_ntk", "finite"]
