"""One step of a forward recursion, and the pairs of inputs for which its correlation is exactly 1."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, UInt

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


def same_inputs(
    x1: Float[Array, "N1 d"], x2: Float[Array, "N2 d"], products: Float[Array, "N1 N2"]
) -> Bool[Array, "N1 N2"]:
    """Which pairs are the same input twice, given all products x·x̄: the diagonal of one batch, duplicates of two.

    Equal rows have equal checksums of their bits, and other rows almost never do; those that do by chance are told
    apart by their product, unless they are closer than rounding can tell anyway.
    """
    check1, check2 = _checksum(x1), _checksum(x2)
    own = jnp.sum(x1**2, axis=-1)[:, None]
    close = jnp.abs(products - own) <= 32 * jnp.finfo(x1.dtype).eps * own
    return (check1[:, None] == check2) & close


def _checksum(x: Float[Array, "N d"]) -> UInt[Array, " N"]:
    """A number that depends on every bit of a row but not, as a floating-point sum would, on the order of summation."""
    unsigned = jnp.dtype(f"uint{8 * x.dtype.itemsize}")
    bits = lax.bitcast_convert_type(x + 0.0, unsigned)  # 0.0 makes one of the two zeros
    odd = 2 * jax.random.bits(jax.random.key(0), x.shape[-1:], unsigned) + 1
    return jnp.sum(bits * odd, axis=-1, dtype=unsigned)
