"""Two correlated Gaussians as a planar figure, exact where the correlation is ±1.

A pair (u, ū) ~ N(0, [[q11, q12], [q12, q22]]) enters the homogeneous dual maps through its covariance and the
determinant Δ = q11·q22 − q12², whose naive difference loses every digit near |ρ| = 1. Here the three numbers
are first scaled by powers of two, so that no product overflows or underflows and no digit is lost, and Δ is
then summed from products that are exact in floating point.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ntk.duals.arctan import half_plane_angle

Variance = float | jax.Array


class Pair(NamedTuple):
    """A pair of Gaussians, noise included, in units where its variances are between 1 and 4.

    With s1, s2 the powers of two that bring the variances there and n1, n2 independent noise variances:

    Attributes:
        v1: (q11 + n1)·s1².
        c: q12·s1·s2.
        v2: (q22 + n2)·s2².
        det: v1·v2 − c².
        quiet_det: (q11·q22 − q12²)·s1²·s2², the same without the noise.
        radius: √(v1·v2), the length of the vector (c, √Δ).
        scale: 1/(s1·s2); a quantity of degree one in (u, ū) is that of the scaled pair times `scale`.
        constant: whether u or ū is the constant 0 (v1 or v2 vanishes); det is then 1 so that angles exist.
    """

    v1: jax.Array
    c: jax.Array
    v2: jax.Array
    det: jax.Array
    quiet_det: jax.Array
    radius: jax.Array
    scale: jax.Array
    constant: jax.Array


def scaled_pair(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance = 0.0, n2: Variance = 0.0) -> Pair:
    """The pair (u + √n1·ε, ū + √n2·ε̄) with independent standard normal ε, ε̄, scaled by powers of two."""
    scale1, scale2 = _power_of_two(q11 + n1), _power_of_two(q22 + n2)
    # Divisions, which the compiler does once for each variance: products it would repeat for each pair.
    a, c, b = q11 / scale1 / scale1, q12 * (1.0 / scale1) * (1.0 / scale2), q22 / scale2 / scale2
    noise1, noise2 = n1 / scale1 / scale1, n2 / scale2 / scale2
    v1, v2 = a + noise1, b + noise2
    constant = (v1 == 0) | (v2 == 0)
    quiet_det = determinant(a, c, b)
    det = jnp.where(constant, 1.0, quiet_det + (noise2 * v1 + noise1 * b))
    return Pair(v1, c, v2, det, quiet_det, safe_sqrt(v1) * safe_sqrt(v2), scale1 * scale2, constant)


def angle_complement(pair: Pair) -> jax.Array:
    """The angle π/2 − arccos ρ in [−π/2, π/2], by its tangent; the derivative at ρ = ±1 (truly infinite) is 0."""
    return half_plane_angle(pair.c, safe_sqrt(pair.det), pair.radius)


@jax.custom_jvp
def safe_sqrt(det: jax.Array) -> jax.Array:
    """The square root, 0 with derivative 0 where rounding has left nothing positive; NaN stays NaN."""
    return jnp.sqrt(jnp.maximum(det, 0.0))


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    root = safe_sqrt(*primals)
    nothing = root == 0
    return root, jnp.where(nothing, 0.0, 0.5 / jnp.where(nothing, 1.0, root)) * tangents[0]


@jax.custom_jvp
def determinant(a: jax.Array, c: jax.Array, b: jax.Array) -> jax.Array:
    """a·b − c² for entries of order one, not negative, with an absolute error near ε^{3/2}.

    Each factor is split into two halves of at most half the significand, so that every product below is exact
    whether or not the compiler contracts it into a fused multiply-add (Dekker 1971, with rounding to the
    short format in place of the multiplication trick, which contraction breaks).
    """
    (a1, a0), (c1, c0), (b1, b0) = _halves(a), _halves(c), _halves(b)
    low = (a0 * b0 - c0 * c0) + ((a1 * b0 - c1 * c0) + (a0 * b1 - c1 * c0))
    return jnp.maximum((a1 * b1 - c1 * c1) + low, 0.0)


@determinant.defjvp
def _determinant_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (a, c, b), (da, dc, db) = primals, tangents
    return determinant(a, c, b), b * da + a * db - 2.0 * c * dc


@jax.custom_jvp
def mean_abs_product(c: jax.Array, det: jax.Array, radius: jax.Array) -> jax.Array:
    """(π/2)·E|u||ū| = √Δ + c·atan2(c, √Δ), the arc-cosine kernel of degree one (Cho & Saul 2009).

    The derivative is written out because the two terms with 1/√Δ of the plain one cancel.
    """
    root = safe_sqrt(det)
    return root + c * half_plane_angle(c, root, radius)


@mean_abs_product.defjvp
def _mean_abs_product_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (c, det, radius), (dc, ddet, _) = primals, tangents
    root = safe_sqrt(det)
    product = jnp.maximum(c * c + det, jnp.finfo(c.dtype).tiny)
    slope_c = half_plane_angle(c, root, radius) + c * root / product
    return mean_abs_product(c, det, radius), slope_c * dc + root / (2.0 * product) * ddet


def _power_of_two(variance: jax.Array) -> jax.Array:
    """The power of two nearest to √variance; 1 for a variance of zero."""
    bits = jnp.finfo(variance.dtype)
    root = jnp.sqrt(jnp.where(variance > 0, lax.stop_gradient(variance), 1.0))
    return lax.reduce_precision(root, exponent_bits=bits.nexp, mantissa_bits=0)


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The high and low half of x's significand; their sum is x."""
    bits = jnp.finfo(x.dtype)
    high = lax.reduce_precision(x, exponent_bits=bits.nexp, mantissa_bits=(bits.nmant + 1) // 2 - 1)
    return high, x - high
