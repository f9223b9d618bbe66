"""One step of a forward recursion, and the pairs of inputs for which its correlation is exactly 1."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from ntk.duals import Activation


def nonlinearity(
    activation: Activation,
    own1: Float[Array, "..."],
    cross: Float[Array, "*entries"],
    own2: Float[Array, "..."],
    same: Bool[Array, "..."],
) -> tuple[Float[Array, "*entries"], Float[Array, "*entries"]]:
    """C = E φφ̄ and Ċ = E φ'φ̄' for pre-activations of variances `own1`, `own2` and covariance `cross`.

    `same` marks the entries that pair a variable with itself. Their correlation is exactly 1; left to itself it would
    be off by the rounding of a matrix product, and ReLU's Ċ by the square root of that.
    """

    def equal_to_own1(q: Array) -> Array:
        # Only the value is replaced: as a function of the inputs, each entry keeps its derivative.
        return jnp.where(same, q + lax.stop_gradient(own1 - q), q)

    q = own1, equal_to_own1(cross), equal_to_own1(own2)
    return activation.dual(*q), activation.dual_derivative(*q)


def own_moment(activation: Activation, variance: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """C of a variable with itself, E φ(u)²."""
    return activation.dual(variance, variance, variance)


def infinite_where_overflowed(value: Float[Array, "..."], overflowed: Bool[Array, "..."]) -> Float[Array, "..."]:
    """∞ in place of the ∞ − ∞ and 0·∞ that a variance beyond the dtype's range leaves; NaN of bad input stays."""
    return jnp.where(overflowed & jnp.isnan(value), jnp.inf, value)


def same_inputs(
    x1: Float[Array, "N1 d"], x2: Float[Array, "N2 d"], products: Float[Array, "N1 N2"]
) -> Bool[Array, "N1 N2"]:
    """Which pairs are the same input twice, given all products x·x̄: the diagonal of one batch, duplicates of two.

    Equal rows have equal checksums. Rows with equal checksums by chance (one pair in 2³²) count as the same only where
    ‖x − x̄‖² is within the rounding of the products, so that nothing is lost by it.
    """
    own1, own2 = (jnp.sum(x**2, axis=-1) for x in (x1, x2))
    rounding = 32 * jnp.finfo(x1.dtype).eps * own1[:, None]
    close = (jnp.abs(products - own1[:, None]) <= rounding) & (jnp.abs(products - own2) <= rounding)
    return (_checksum(x1)[:, None] == _checksum(x2)) & close


def _checksum(x: Float[Array, "N d"]) -> UInt32[Array, " N"]:
    """A number that depends on every bit of a row, but not on the order of summation as a sum of floats would.

    Each 32-bit word is mixed with its position by the finalizer of MurmurHash3 before the sum, for a plain linear
    combination of the bits would be blind to signs and to data of few significant bits.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32)) + 0.0  # 0.0 makes one of the two zeros
    words = lax.bitcast_convert_type(x, jnp.uint32).reshape(len(x), -1)
    mixed = words + jnp.arange(1, words.shape[1] + 1, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(mixed ^ (mixed >> 16), axis=-1, dtype=jnp.uint32)
