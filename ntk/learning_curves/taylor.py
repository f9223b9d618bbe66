"""Taylor coefficients of an MLP's kernels in the cosine t of the angle between two inputs (theory.md 7.3, 7.4).

They are not negative. So sums of them have no cancellation, and eigenvalues far below the rounding of the kernel are
right in all digits.
"""

import functools

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

from ntk.duals import Activation
from ntk.networks import MLP

Coefficients = Float[np.ndarray, "_"]

_PANEL = np.polynomial.legendre.leggauss(24)


def taylor_coefficients(net: MLP, order: int) -> tuple[Coefficients, Coefficients]:
    """The coefficients a_0, …, a_order of Σ and of Θ in t, for inputs with ξ·ξ/d = 1 (theory.md 7.3)."""
    w, b, v = (float(std) ** 2 for std in (net.w_std, net.b_std, net.v_std))
    C = np.zeros(order + 1)
    C[min(1, order)] = 1.0 if order else 0.0
    theta = np.zeros(order + 1)
    q = 1.0
    for _ in range(net.depth):
        K = w * C
        K[0] += b
        variance = w * q + b
        squares = _hermite(net.activation, variance, 4 * order + 64) ** 2
        degrees = np.arange(len(squares))
        C = _composed(squares, K / variance, order)
        dot = _composed((degrees * squares)[1:] / variance, K / variance, order)
        theta = np.convolve(dot, K + w * theta)[: order + 1]
        with jax.enable_x64(True):
            q = float(net.activation.dual(variance, variance, variance))
    return v * C, v * (C + theta)


def _composed(outer: Coefficients, inner: Coefficients, order: int) -> Coefficients:
    """The first coefficients of Σ_m outer_m inner(t)^m, by Horner's rule."""
    total = np.zeros(order + 1)
    for coefficient in outer[::-1]:
        total = np.convolve(total, inner)[: order + 1]
        total[0] += coefficient
    return total


def _hermite(activation: Activation, variance: float, count: int) -> Coefficients:
    """E φ(√q z) He_m(z)/√m! for m < count, z standard normal.

    The integral is cut into panels. One panel ends at 0, where the named activations have their kinks.
    """
    reach = 2 * count**0.5 + 12
    # He_m has half a wave length of at least π/√(4m): each panel of 24 nodes holds less than one wave.
    edges = np.linspace(0.0, reach, int(reach * count**0.5 / 3) + 8)
    nodes, weights = _PANEL
    half = np.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half * (nodes + 1)).ravel()
    weight = (half * weights).ravel()
    z, weight = np.concatenate([-z, z]), np.concatenate([weight, weight])
    with jax.enable_x64(True):
        values = np.asarray(activation.fn(variance**0.5 * z), float)
    # ψ_m = He_m/√m! · exp(−z²/4)/(2π)^{1/4} are orthonormal; their recursion neither overflows nor cancels.
    root = np.exp(-(z**2) / 4) / (2 * np.pi) ** 0.25
    integrand = weight * values * root
    before, here = np.zeros_like(z), root
    found = np.empty(count)
    for m in range(count):
        found[m] = integrand @ here
        before, here = here, (z * here - m**0.5 * before) / (m + 1) ** 0.5
    return found


@functools.cache
def _log_factorials(order: int) -> Float[np.ndarray, " M"]:
    return gammaln(np.arange(order + 1) + 1.0)


def monomial_eigenvalues(dim: int, degree: int, order: int) -> Coefficients:
    """c_m = E t^m P_k(t) for m = 0, …, order: the eigenvalue of degree k of the kernel t^m (theory.md 7.4)."""
    m = np.arange(order + 1)
    j = np.maximum(m - degree, 0) // 2
    logs = gammaln(dim / 2) + _log_factorials(order) - m * np.log(2) - gammaln(j + 1.0) - gammaln(degree + j + dim / 2)
    return np.where((m >= degree) & ((m - degree) % 2 == 0), np.exp(logs), 0.0)
