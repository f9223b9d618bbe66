"""Two correlated Gaussians as a planar figure, exact where the correlation is ±1.

A pair (u, ū) ~ N(0, [[q11, q12], [q12, q22]]) enters the homogeneous dual maps through its covariance and the
determinant Δ = q11·q22 − q12². The naive difference loses every digit near |ρ| = 1. Here the three numbers are first
scaled by powers of two, so that no product overflows or underflows and no digit is lost. Δ is then summed from products
that are exact in floating point. It is 0 where ρ is ±1, however it is compiled.

Derivatives. √Δ has the slope ∞ at ρ = ±1, where the angle between u and ū has a kink. The derivative there is set to 0,
the mean over the two sides. Derivatives in directions that keep ρ at ±1 are then exact. Examples are derivatives in
hyperparameters, and in a point that is paired with itself or its opposite. If Δ ≤ ε·q11·q22, one rounding of a
covariance could have made the angle (1.5e-8 in float64, 3.5e-4 in float32), and the pair counts as ρ = ±1. At larger
angles the derivatives are exact for the three given numbers. A relative error ε of these numbers changes a derivative
of the angle θ by a relative ε/θ².
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntk.duals.arcsine import acute_arcsine, right_angle_minus
from ntk.duals.rules import Arrays, with_derivative

Variance = float | jax.Array


class Pair(NamedTuple):
    """A pair of Gaussians, noise included, in units where its variances are between 1 and 4.

    s1 and s2 are the powers of two that bring the variances into this range. n1 and n2 are the variances of independent
    noise.

    Attributes:
        v1: (q11 + n1)·s1².
        c: q12·s1·s2.
        v2: (q22 + n2)·s2².
        det: v1·v2 − c².
        quiet_det: (q11·q22 − q12²)·s1²·s2², the same without the noise.
        root: √det.
        inverse_radius: 1/√(v1·v2), the inverse length of the vector (c, √Δ); 0 where the length is 0.
        scale: 1/(s1·s2); a quantity of degree one in (u, ū) is that of the scaled pair times `scale`.
        constant: whether u or ū is the constant 0 (v1 or v2 vanishes).
    """

    v1: jax.Array
    c: jax.Array
    v2: jax.Array
    det: jax.Array
    quiet_det: jax.Array
    root: jax.Array
    inverse_radius: jax.Array
    scale: jax.Array
    constant: jax.Array


def scaled_pair(q11: jax.Array, q12: jax.Array, q22: jax.Array, n1: Variance = 0.0, n2: Variance = 0.0) -> Pair:
    """The pair (u + √n1·ε, ū + √n2·ε̄) with independent standard normal ε, ε̄, scaled by powers of two."""
    scale1, scale2 = _power_of_two(q11 + n1), _power_of_two(q22 + n2)
    # Divisions and not products. The compiler divides once for each variance, and would multiply again for each pair.
    a, c, b = q11 / scale1 / scale1, q12 * (1.0 / scale1) * (1.0 / scale2), q22 / scale2 / scale2
    noise1, noise2 = n1 / scale1 / scale1, n2 / scale2 / scale2
    v1, v2 = a + noise1, b + noise2
    constant = (v1 == 0) | (v2 == 0)
    quiet_det = determinant(a, c, b)
    noise = noise2 * v1 + noise1 * b
    det = quiet_det + noise
    # With noise all digits of the determinant are right. Without noise, one rounding of c changes it by this much.
    rounding = jnp.where(noise > 0, 0.0, jnp.finfo(c.dtype).eps * (v1 * v2))
    inverse_radius = _inverse_root(v1) * _inverse_root(v2)
    return Pair(v1, c, v2, det, quiet_det, safe_sqrt(det, rounding), inverse_radius, scale1 * scale2, constant)


def _square(c: jax.Array, det: jax.Array) -> jax.Array:
    """v1·v2 = c² + Δ, or 1 where it is 0."""
    square = c * c + det
    return jnp.where(square == 0, 1.0, square)


def _determinant_slope(primals: Arrays, tangents: Arrays) -> jax.Array:
    (a, c, b), (da, dc, db) = primals, tangents
    return b * da + a * db - 2.0 * c * dc


@with_derivative(_determinant_slope)
def determinant(a: jax.Array, c: jax.Array, b: jax.Array) -> jax.Array:
    """a·b − c² for entries of order one, or 0 if it is negative. The relative error is a few roundings; 0 is exact.

    Each factor is split into two halves of its significand. Every product below is then exact, whether or not the
    compiler contracts it into a fused multiply-add. Dekker 1971 splits by a multiplication, which contraction breaks;
    here bits are cut off instead. The products are summed from the largest to the smallest. A sum that cancels is exact
    too (Sterbenz 1974), except for one unit of ε^{3/2} in the rare case that a middle product fills its last bit.
    """
    (a1, a0), (c1, c0), (b1, b0) = _halves(a), _halves(c), _halves(b)
    value = (((a1 * b1 - c1 * c1) + (a1 * b0 - c1 * c0)) + (a0 * b1 - c1 * c0)) + (a0 * b0 - c0 * c0)
    return jnp.where(value < 0, 0.0, value)


def _root_slope(primals: Arrays, tangents: Arrays) -> jax.Array:
    """ddet/(2√det), and 0 where rounding hides the difference of the determinant from 0."""
    root, (det, rounding) = safe_sqrt(*primals), primals
    nothing = (root == 0) | (det <= rounding)
    return jnp.where(nothing, 0.0, 0.5 / jnp.where(nothing, 1.0, root)) * tangents[0]


@with_derivative(_root_slope)
def safe_sqrt(det: jax.Array, rounding: jax.Array) -> jax.Array:
    """The square root. Its derivative is 0 up to `rounding`, negative numbers have the root 0, and NaN stays NaN."""
    return jnp.sqrt(jnp.where(det < 0, 0.0, det))


def angle_complement(pair: Pair) -> jax.Array:
    """The angle π/2 − arccos ρ in [−π/2, π/2]."""
    return _angle(pair.c, pair.root, pair.inverse_radius)


def _angle_slope(primals: Arrays, tangents: Arrays) -> jax.Array:
    """The derivative of atan2. The radius needs no term, because it is a function of c and the root."""
    (c, root, _), (dc, droot, _) = primals, tangents
    return (root * dc - c * droot) / _square(c, root * root)


@with_derivative(_angle_slope)
def _angle(c: jax.Array, root: jax.Array, inverse_radius: jax.Array) -> jax.Array:
    """atan2(c, root) for root ≥ 0, given 1/√(c² + root²). At the origin that number is 0, and so is the result."""
    near_axis, acute = acute_arcsine(jnp.abs(c), root, inverse_radius)
    angle = jnp.where(near_axis, right_angle_minus(acute), acute)
    return jnp.where(c < 0, -angle, angle)


def mean_abs_product(pair: Pair) -> jax.Array:
    """E|u||ū| = (2/π)(√Δ + c·atan2(c, √Δ)) of the scaled pair, arc-cosine kernel of degree one (Cho & Saul 2009)."""
    return _mean_abs_product(pair.c, pair.det, pair.root, pair.inverse_radius)


def _mean_abs_product_slope(primals: Arrays, tangents: Arrays) -> jax.Array:
    """The derivative, written out because two terms with 1/√Δ cancel in it."""
    (c, det, root, inverse_radius), (dc, ddet, _, _) = primals, tangents
    square = _square(c, det)
    slope_c = _angle(c, root, inverse_radius) + c * root / square
    return 2.0 / math.pi * (slope_c * dc + root / (2.0 * square) * ddet)


@with_derivative(_mean_abs_product_slope)
def _mean_abs_product(c: jax.Array, det: jax.Array, root: jax.Array, inverse_radius: jax.Array) -> jax.Array:
    """Computed as |c| + (2/π)(√Δ − |c|·θ), θ the angle from the nearer of ρ = ±1, so that only small terms round."""
    size = jnp.abs(c)
    near_axis, acute = acute_arcsine(size, root, inverse_radius)
    angle = jnp.where(near_axis, acute, right_angle_minus(acute))
    return size + 2.0 / math.pi * (root - size * angle)


def _inverse_root(variance: jax.Array) -> jax.Array:
    """1/√variance, 0 for a variance of zero."""
    zero = variance == 0
    return jnp.where(zero, 0.0, jnp.ones_like(variance)) / jnp.sqrt(jnp.where(zero, 1.0, variance))


def _power_of_two(variance: jax.Array) -> jax.Array:
    """The largest power of two up to √variance; 1 for a variance of zero."""
    return _leading_bits(jnp.sqrt(jnp.where(variance == 0, 1.0, lax.stop_gradient(variance))), 0)


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The high and low half of x's significand; their sum is x.

    float64 has 53 bits, an odd number. The high half is therefore rounded to 26 bits, and the sign of the low half
    stands for the missing bit.
    """
    digits = jnp.finfo(x.dtype).nmant + 1
    high = _leading_bits(x, digits // 2 - 1, nearest=digits % 2 == 1)
    return high, x - high


def _leading_bits(x: jax.Array, count: int, nearest: bool = False) -> jax.Array:
    """x with the first `count` bits of its fraction. The other bits are cut off, or rounded if `nearest`."""
    bits = jnp.finfo(x.dtype)
    dtype = jnp.dtype(f"uint{bits.bits}")
    unit = 2 ** (bits.nmant - count)
    words = lax.bitcast_convert_type(x, dtype)
    if nearest:
        words = words + np.array(unit // 2, dtype)
    return lax.bitcast_convert_type(words & np.array(2**bits.bits - unit, dtype), x.dtype)
