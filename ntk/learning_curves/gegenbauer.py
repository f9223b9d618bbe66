"""Gegenbauer polynomials of a sphere, their degeneracies, and integrals over the angle (theory.md 7.2).

P_k is the Legendre polynomial in d dimensions, with P_k(1) = 1. The angle θ between two inputs that are uniform on the
sphere of R^d has the density sin^{d−2} θ, up to a constant.
"""

from collections.abc import Iterator
from math import comb

import numpy as np
from jaxtyping import Float


def degeneracy(dim: int, degree: int) -> int:
    """N(d, k), the number of spherical harmonics of degree k in R^d, exactly."""
    if degree == 0:
        return 1
    return (2 * degree + dim - 2) * comb(degree + dim - 3, degree - 1) // degree if dim > 2 else 2


def polynomials(dim: int, degree: int, t: Float[np.ndarray, "*M"]) -> Iterator[Float[np.ndarray, "*M"]]:
    """P_0(t), …, P_degree(t): (k + d − 2) P_{k+1} = (2k + d − 2) t P_k − k P_{k−1}."""
    before, here = np.zeros_like(t), np.ones_like(t)
    for k in range(degree + 1):
        yield here
        # In the plane the recursion is 0/0 at k = 0, and P_1 = t there as elsewhere.
        after = t if k == 0 else ((2 * k + dim - 2) * t * here - k * before) / (k + dim - 2)
        before, here = here, after


def angles(dim: int, nodes: int) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Angles θ in (0, π) and weights that sum to 1, for means over pairs of inputs.

    Dual maps of ReLU are not smooth in t = cos θ at ±1, and they are analytic in θ. Gauss-Legendre nodes in θ therefore
    converge exponentially, where Gauss-Gegenbauer nodes in t converge like a power.
    """
    nodes_of_unit, weights = np.polynomial.legendre.leggauss(nodes)
    theta = np.pi / 2 * (nodes_of_unit + 1)
    weights = weights * np.sin(theta) ** (dim - 2)
    return theta, weights / weights.sum()
