"""One step of a forward recursion (theory.md 1.2, 1.3, 2.3), and the pairs that consist of one input twice."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from ntk.dtypes import common_dtype
from ntk.duals import Activation
from ntk.duals.rules import Arrays, with_derivative


class OwnMoments(NamedTuple):
    """Numbers of each input alone at one layer or time: K of the input with itself, and the C and Ċ that follow."""

    K: Float[Array, "*N"]
    C: Float[Array, "*N"]
    dot: Float[Array, "*N"]


def own_moments(activation: Activation, K: Float[Array, "*N"]) -> OwnMoments:
    """C = E φ(u)² and Ċ = E φ'(u)² for pre-activations of variance K."""
    return OwnMoments(K, activation.dual(K, K, K), activation.dual_derivative(K, K, K))


def nonlinearity(
    activation: Activation,
    own1: OwnMoments,
    K: Float[Array, "*entries"],
    own2: OwnMoments,
    same: Bool[Array, "..."],
) -> tuple[Float[Array, "*entries"], Float[Array, "*entries"]]:
    """C = E φφ̄ and Ċ = E φ'φ̄' of pairs with covariance K. `own1` and `own2` broadcast against K.

    `same` marks the entries that pair an input with itself. Their C and Ċ are those of the input alone. The covariance
    from a matrix product has a rounding error, and the error of ReLU's Ċ would be the square root of it. A variance
    that the compiler computes a second time may be rounded differently, with the same effect. Overflow is not checked
    here; see `infinite_where_overflowed`.
    """
    (K,) = _replaced(same, (K,), ((own1.K, own2.K),))
    q = own1.K, K, own2.K
    maps = activation.dual_map(*q), activation.dual_derivative_map(*q)
    C, dot = _replaced(same, maps, ((own1.C, own2.C), (own1.dot, own2.dot)))
    return C, dot


def _replaced(
    same: Bool[Array, "..."], results: tuple[Array, ...], own: tuple[tuple[Array, Array], ...]
) -> tuple[Array, ...]:
    """The results, with the numbers of the input alone where an input is paired with itself.

    A branch skips this pass if no input is paired with itself. The branch also keeps the code before it apart from the
    code after it. Without it, XLA would merge a dual map with the code that reads it, and compute it again for every
    neighbour that a convolution reads.
    """

    def replaced() -> tuple[Array, ...]:
        # The two may differ in the last bit. The larger one is taken: derivatives at the correlation 1 are asked for.
        return tuple(_with_value(each, same, jnp.maximum(*two)) for each, two in zip(results, own, strict=True))

    return lax.cond(jnp.any(same), replaced, lambda: results)


def _slope_of_entries(primals: Arrays, tangents: Arrays) -> Array:
    return tangents[0]


@with_derivative(_slope_of_entries)
def _with_value(
    entries: Float[Array, "*entries"], where: Bool[Array, "..."], value: Float[Array, "..."]
) -> Float[Array, "*entries"]:
    """`value` in place of some entries. The result has the derivatives of `entries` everywhere."""
    return jnp.where(where, value, entries)


def infinite_where_overflowed(value: Float[Array, "..."], overflowed: Bool[Array, "..."]) -> Float[Array, "..."]:
    """∞ in place of NaN where a variance has left the dtype's range (∞ − ∞, 0·∞); NaN of bad input stays."""
    overflowed = jnp.expand_dims(overflowed, range(value.ndim - overflowed.ndim))
    return jnp.where(overflowed & jnp.isnan(value), jnp.inf, value)


class Fingerprint(NamedTuple):
    """64 bits that identify an input, in two arrays of 32 bits, which vectorize."""

    word1: UInt32[Array, "..."]
    word2: UInt32[Array, "..."]


def same_inputs(fingerprint1: Fingerprint, fingerprint2: Fingerprint) -> Bool[Array, "..."]:
    """Which pairs consist of one input twice: the diagonal of a batch, and duplicates. The two broadcast."""
    return (fingerprint1.word1 == fingerprint2.word1) & (fingerprint1.word2 == fingerprint2.word2)


def fingerprints(x: Float[Array, "N T d"]) -> Fingerprint:
    """The fingerprint of each step of a sequence and its place, (N, T). The sum over the first steps identifies them.

    A fingerprint depends on every bit of a step. Unlike a sum of floats, it does not depend on the order of summation.
    Different inputs share a fingerprint with probability 2⁻⁶⁴.
    """
    x = x.astype(common_dtype(x.dtype, jnp.float32)) + 0.0  # −0.0 becomes 0.0
    words = lax.bitcast_convert_type(x, jnp.uint32).reshape(*x.shape[:2], -1)
    positions = jnp.arange(1, words[0].size + 1, dtype=jnp.uint32).reshape(words.shape[1:])
    sums = (
        jnp.sum(mixed_bits(words + positions[None] * jnp.uint32(stride)), axis=-1, dtype=jnp.uint32)
        for stride in (0x9E3779B9, 0xC2B2AE3D)
    )
    return Fingerprint(*sums)


def mixed_bits(words: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The finalizer of MurmurHash3. A plain sum of the words would not distinguish signs, nor data of few bits."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
