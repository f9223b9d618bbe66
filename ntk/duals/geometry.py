"""Two correlated Gaussians as a planar figure, exact where the correlation is ±1.

A pair (u, ū) ~ N(0, [[q11, q12], [q12, q22]]) enters the homogeneous dual maps through its covariance and the
determinant Δ = q11·q22 − q12², whose naive difference loses every digit near |ρ| = 1. Here the three numbers
are first scaled by powers of two, so that no product overflows or underflows and no digit is lost, and Δ is
then summed from products that are exact in floating point.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntk.duals.arcsine import arcsine

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
        inverse_radius: 1/√(v1·v2), of the vector (c, √Δ); 0 where that has no length.
        scale: 1/(s1·s2); a quantity of degree one in (u, ū) is that of the scaled pair times `scale`.
        constant: whether u or ū is the constant 0 (v1 or v2 vanishes).
    """

    v1: jax.Array
    c: jax.Array
    v2: jax.Array
    det: jax.Array
    quiet_det: jax.Array
    inverse_radius: jax.Array
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
    det = quiet_det + (noise2 * v1 + noise1 * b)
    inverse_radius = _inverse_root(v1) * _inverse_root(v2)
    return Pair(v1, c, v2, det, quiet_det, inverse_radius, scale1 * scale2, constant)


def angle_complement(pair: Pair) -> jax.Array:
    """The angle π/2 − arccos ρ in [−π/2, π/2]; the derivative at ρ = ±1 (truly infinite) is 0."""
    return _angle(pair.c, safe_sqrt(pair.det), pair.inverse_radius)


@jax.custom_jvp
def _angle(c: jax.Array, root: jax.Array, inverse_radius: jax.Array) -> jax.Array:
    """atan2(c, root) for root ≥ 0, given 1/√(c² + root²); 0 at the origin, where that is given as 0."""
    return arcsine(c * inverse_radius, root * inverse_radius)


@_angle.defjvp
def _angle_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """That of atan2: the radius says nothing that c and the root do not."""
    (c, root, _), (dc, droot, _) = primals, tangents
    square = jnp.maximum(c * c + root * root, jnp.finfo(c.dtype).tiny)
    return _angle(*primals), (root * dc - c * droot) / square


@jax.custom_jvp
def safe_sqrt(det: jax.Array) -> jax.Array:
    """The square root, 0 with derivative 0 where rounding has left nothing positive; NaN stays NaN."""
    return jnp.sqrt(jnp.where(det < 0, 0.0, det))


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    root = safe_sqrt(*primals)
    nothing = root == 0
    return root, jnp.where(nothing, 0.0, 0.5 / jnp.where(nothing, 1.0, root)) * tangents[0]


@jax.custom_jvp
def determinant(a: jax.Array, c: jax.Array, b: jax.Array) -> jax.Array:
    """a·b − c² for entries of order one, not negative, with an absolute error near ε^{3/2}.

    Each factor is split into two halves of its significand, so that every product below is exact whether or not the
    compiler contracts it into a fused multiply-add (Dekker 1971, with bits cut off in place of the multiplication
    trick, which contraction breaks). In float64 that of two low halves is rounded, far below the error.
    """
    (a1, a0), (c1, c0), (b1, b0) = _halves(a), _halves(c), _halves(b)
    low = (a0 * b0 - c0 * c0) + ((a1 * b0 - c1 * c0) + (a0 * b1 - c1 * c0))
    value = (a1 * b1 - c1 * c1) + low
    return jnp.where(value < 0, 0.0, value)


@determinant.defjvp
def _determinant_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (a, c, b), (da, dc, db) = primals, tangents
    return determinant(a, c, b), b * da + a * db - 2.0 * c * dc


@jax.custom_jvp
def mean_abs_product(c: jax.Array, det: jax.Array, inverse_radius: jax.Array) -> jax.Array:
    """(π/2)·E|u||ū| = √Δ + c·atan2(c, √Δ), the arc-cosine kernel of degree one (Cho & Saul 2009).

    The derivative is written out because the two terms with 1/√Δ of the plain one cancel.
    """
    root = safe_sqrt(det)
    return root + c * _angle(c, root, inverse_radius)


@mean_abs_product.defjvp
def _mean_abs_product_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (c, det, inverse_radius), (dc, ddet, _) = primals, tangents
    root = safe_sqrt(det)
    product = jnp.maximum(c * c + det, jnp.finfo(c.dtype).tiny)
    slope_c = _angle(c, root, inverse_radius) + c * root / product
    return mean_abs_product(*primals), slope_c * dc + root / (2.0 * product) * ddet


def _inverse_root(variance: jax.Array) -> jax.Array:
    """1/√variance, 0 for a variance of zero."""
    zero = variance == 0
    return jnp.where(zero, 0.0, jnp.ones_like(variance)) / jnp.sqrt(jnp.where(zero, 1.0, variance))


def _power_of_two(variance: jax.Array) -> jax.Array:
    """The largest power of two up to √variance; 1 for a variance of zero."""
    return _leading_bits(jnp.sqrt(jnp.where(variance == 0, 1.0, lax.stop_gradient(variance))), 0)


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The high and low half of x's significand; their sum is x."""
    high = _leading_bits(x, (jnp.finfo(x.dtype).nmant + 1) // 2 - 1)
    return high, x - high


def _leading_bits(x: jax.Array, count: int) -> jax.Array:
    """All but the first `count` bits of the fraction cut off: one operation, where rounding takes eight."""
    bits = jnp.finfo(x.dtype)
    words = jnp.dtype(f"uint{bits.bits}")
    mask = np.array(2**bits.bits - 2 ** (bits.nmant - count), words)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(x, words) & mask, x.dtype)
