"""Networks of finite width: Flax models of the descriptions, and kernels of any function."""

from ntk.finite_width.empirical import empirical_ntk, ntk_diagonal
from ntk.finite_width.explain import Explanation, explain_empirical
from ntk.finite_width.layerwise import kernels_of
from ntk.finite_width.models import model_of
from ntk.finite_width.sketch import SketchedNTK, sketched_ntk
from ntk.finite_width.taylor import linearize, taylor_expand
from ntk.finite_width.vector_products import ntk_vector_product

__all__ = [
    "Explanation",
    "SketchedNTK",
    "empirical_ntk",
    "explain_empirical",
    "kernels_of",
    "linearize",
    "model_of",
    "ntk_diagonal",
    "ntk_vector_product",
    "sketched_ntk",
    "taylor_expand",
]
