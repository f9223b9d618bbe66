"""Dual maps in closed form: E φ(u)φ(ū) and E φ'(u)φ'(ū) over a pair of Gaussians.

Every map takes the variances q11 and q22 and the covariance q12 of the pair, which broadcast. The noisy maps also take
n1 and n2. They are the maps of the activation smoothed by independent Gaussian noise of these variances,
x ↦ E φ(x + √n·ε). Examples are erf (a sign, n = 1/2) and GELU (a gate, n = 1).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ntk.duals.geometry import Pair, Variance, angle_complement, mean_abs_product, scaled_pair

DualMap = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def piecewise_linear(left: float, right: float, at_zero: float) -> tuple[DualMap, DualMap]:
    """Both maps of φ with slope `left` below 0 and `right` above it, whose derivative at 0 is `at_zero`.

    φ(x) = αx + β|x|, so E φφ̄ = α² q12 + β² E|u||ū| and E φ'φ̄' = E φ'·E φ̄' + β² E sign(u) sign(ū) (theory.md 4.3;
    Cho & Saul 2009, degrees 1 and 0). A variance of zero makes u the constant 0.
    """
    alpha, beta = (right + left) / 2.0, (right - left) / 2.0

    def dual(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
        return alpha**2 * q12 + beta**2 * noisy_abs(q11, q12, q22)

    def dual_derivative(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
        mean1, mean2 = (jnp.where(q == 0, at_zero, jnp.full_like(q, alpha)) for q in (q11, q22))
        return mean1 * mean2 + beta**2 * noisy_sign(q11, q12, q22)

    return dual, dual_derivative


def noisy_sign(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance = 0.0, n2: Variance = 0.0) -> jax.Array:
    """E sign(u)sign(ū) = (2/π) arcsin ρ (theory.md 4.2); smoothed with n = 1/2 it is E erf(u)erf(ū) (theory.md 4.4)."""
    return 2.0 / math.pi * angle_complement(scaled_pair(q11, q12, q22, n1, n2))


def noisy_sign_derivative(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance) -> jax.Array:
    """E of the product of derivatives of the smoothed sign: (2/π)/√Δ, by Price's theorem."""
    pair = scaled_pair(q11, q12, q22, n1, n2)
    return 2.0 / math.pi / (pair.scale * pair.root)


def noisy_step(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance) -> jax.Array:
    """E step(u)step(ū) = (1 + E sign(u)sign(ū))/4 for a smoothed step, which is 1/2 at 0."""
    return (1.0 + noisy_sign(q11, q12, q22, n1, n2)) / 4.0


def noisy_step_derivative(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance) -> jax.Array:
    """E of the product of derivatives of the smoothed step: (1/2π)/√Δ."""
    return noisy_sign_derivative(q11, q12, q22, n1, n2) / 4.0


def noisy_abs(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance = 0.0, n2: Variance = 0.0) -> jax.Array:
    """E|u||ū| = (2/π)(√Δ + q12·arcsin ρ) (theory.md 4.2)."""
    pair = scaled_pair(q11, q12, q22, n1, n2)
    return pair.scale * mean_abs_product(pair)


def noisy_relu(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance) -> jax.Array:
    """E relu(u)relu(ū) = (q12 + E|u||ū|)/4."""
    return (q12 + noisy_abs(q11, q12, q22, n1, n2)) / 4.0


def noisy_gate(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance) -> jax.Array:
    """E φφ̄ for φ(x) = x·step(x) with a smoothed step. With n = 1 this is GELU, x·Φ(x) (theory.md 4.5).

    Two integrations by parts give q12·G + (Δ₀ + q12²κ)/(2π√Δ). G is the map of the smoothed step, and
    κ = n1/(q11+n1) + n2/(q22+n2). Δ₀ is the determinant without the noise, and Δ with it. No term cancels another.
    """
    pair, step, kappa = _gate_parts(q11, q12, q22, n1, n2)
    bump = (pair.quiet_det + pair.c**2 * kappa) / (2.0 * math.pi * pair.root)
    return (pair.c * step + bump) * pair.scale


def noisy_gate_derivative(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance) -> jax.Array:
    """E φ'φ̄' for φ(x) = x·step(x) with a smoothed step: G + q12·(κ + n1·n2/Δ)/(2π√Δ) (theory.md 4.5)."""
    pair, step, kappa = _gate_parts(q11, q12, q22, n1, n2)
    noise = n1 * n2 / (pair.scale**2 * pair.det)
    return step + pair.c * (kappa + noise) / (2.0 * math.pi * pair.root)


def _gate_parts(
    q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance, n2: Variance
) -> tuple[Pair, jax.Array, jax.Array]:
    pair = scaled_pair(q11, q12, q22, n1, n2)
    step = 0.25 + angle_complement(pair) / (2.0 * math.pi)
    return pair, step, n1 / (q11 + n1) + n2 / (q22 + n2)


def gaussian(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E exp(−u²)exp(−ū²) = det(I + 2Q)^{-1/2} (theory.md 4.8)."""
    pair = scaled_pair(q11, q12, q22, 0.5, 0.5)
    return 0.5 / (pair.scale * pair.root)


def gaussian_derivative(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E 4uū exp(−u²)exp(−ū²) = 4 q12 det(I + 2Q)^{-3/2} (theory.md 4.8)."""
    pair = scaled_pair(q11, q12, q22, 0.5, 0.5)
    return 0.5 * pair.c / (pair.scale * pair.det) / (pair.scale * pair.root)


def sin(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E sin(u)sin(ū) = (exp(−Var(u−ū)/2) − exp(−Var(u+ū)/2))/2 (theory.md 4.7)."""
    sign = jnp.where(q12 < 0, -jnp.ones_like(q12), 1.0)
    # The larger exponential is factored out, so that a small covariance keeps its digits.
    return -sign * jnp.exp(-_half_variance(q11, -sign * q12, q22)) * jnp.expm1(-2.0 * sign * q12) / 2.0


def cos(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E cos(u)cos(ū) = (exp(−Var(u−ū)/2) + exp(−Var(u+ū)/2))/2 (theory.md 4.7)."""
    return (jnp.exp(-_half_variance(q11, -q12, q22)) + jnp.exp(-_half_variance(q11, q12, q22))) / 2.0


def exp(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E exp(u)exp(ū) = exp(Var(u+ū)/2) (theory.md 4.7)."""
    return jnp.exp(_half_variance(q11, q12, q22))


def _half_variance(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """Var(u + ū)/2, grouped so that opposite inputs cancel exactly."""
    return ((q11 + q12) + (q22 + q12)) / 2.0


def square(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E u²ū² = q11·q22 + 2·q12² (theory.md 4.9; Isserlis)."""
    return q11 * q22 + 2.0 * q12**2


def cube(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    """E u³ū³ = 9·q11·q12·q22 + 6·q12³ (theory.md 4.9), in an order that overflows only if the result does."""
    # Not jnp.maximum: where q11 and q22 are equal, its second derivatives are not those of the product.
    larger, smaller = jnp.where(q11 > q22, q11, q22), jnp.where(q11 > q22, q22, q11)
    return 9.0 * (larger * (smaller * q12)) + 6.0 * q12**3
