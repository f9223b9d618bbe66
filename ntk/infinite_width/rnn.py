"""The C/D recursions of an infinitely wide RNN over all pairs of times (THEORY section 2; Yang 2020).

    K^{t,r} = σ_w² C^{t−1,r−1} + σ_u² ξᵗ·ξ̄ʳ/d + σ_b²,   C^{t,r} = E φφ̄,   Ċ^{t,r} = E φ'φ̄'
    D^{t,r} = B^{t,r} Ċ^{t,r},   B^{t,r} = σ_v² p_t p̄_r + σ_w² D^{t+1,r+1}

with p the pooling weights of the times (one at the last time, or 1/T each). C is zero before the first time. The
recursion follows the diagonals t − r = const and never mixes two of them, nor two pairs of inputs.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from ntk.decomposition import Kernels, gram, pooling_weights, rnn_kernels, time_mask, unit_scaled
from ntk.infinite_width.moments import OwnMoments, fingerprints, nonlinearity, own_moments, same_inputs
from ntk.infinite_width.tiling import by_tiles, scan_times
from ntk.inputs import Batch
from ntk.networks import RNN

# Inputs to a tile: one step of all its pairs stays in a core's cache, with one or with all times r of the other side.
_TILE = {"last": 250, "mean": 40}


SequencesOrTimes = TypeVar("SequencesOrTimes")


class _Sequences(NamedTuple):
    """What the recursion reads of a batch at each time; any of the leading axes may be in another order.

    Attributes:
        x: ξ/√d.
        own: K^{t,t} of each sequence with itself, and the C and Ċ that follow; K is 0 where nothing counts.
        fingerprint: of all steps up to this one.
        counts: whether the sequence has this step.
    """

    x: Float[Array, "*entries d"]
    own: OwnMoments
    fingerprint: UInt32[Array, "*entries 2"]
    counts: Bool[Array, "*entries"]


def kernels(net: RNN, batch1: Batch, batch2: Batch | None) -> Kernels:
    """C and D at all pairs of times, and the NNGP and NTK they add up to."""
    sequences1 = _sequences(net, batch1)
    sequences2 = sequences1 if batch2 is None else _sequences(net, batch2)
    pooling1, pooling2 = (pooling_weights(net, batch) for batch in (batch1, batch1 if batch2 is None else batch2))
    start = jnp.zeros((len(sequences1.x), *sequences2.counts.shape), sequences1.x.dtype)

    def forward(C: Array, row: _Sequences) -> tuple[Array, tuple[Array, Array]]:
        previous = jnp.pad(C, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
        _, C, dot = _step(net, previous, _with_axes(row, 2), sequences2)
        return C, (C, dot)

    def backward(arriving: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        dot, pooling = row
        D = (net.v_std**2 * pooling[:, None, None] * pooling2 + arriving) * dot
        later = jnp.pad(D, ((0, 0), (0, 0), (0, 1)))[:, :, 1:]
        return net.w_std**2 * later, D

    _, (C, dot) = lax.scan(forward, start, _time_first(sequences1))
    _, D = lax.scan(backward, start, (dot, pooling1.T), reverse=True)
    C, D = (jnp.moveaxis(rows_of_time, 0, 1) for rows_of_time in (C, D))
    return rnn_kernels(net, batch1, batch1 if batch2 is None else batch2, C, D)


def ntk_only(net: RNN, batch1: Batch, batch2: Batch | None) -> Float[Array, "N1 N2"]:
    """Θ alone, forward only: θ^{t,r} = Ċ^{t,r} (K^{t,r} + σ_w² θ^{t−1,r−1}), Θ = σ_v² Σ p_t p̄_r (C + θ)^{t,r}."""
    batches = (batch1,) if batch2 is None else (batch1, batch2)
    sides = [_sequences(net, batch) for batch in batches]
    if net.pooling == "last":
        num_steps = min(batch.x.shape[1] for batch in batches)
        sides = [_aligned_at_end(side, batch, num_steps) for side, batch in zip(sides, batches, strict=True)]

    def tile(sequences1: _Sequences, sequences2: _Sequences) -> Float[Array, "n1 n2"]:
        pooled = _last_state if net.pooling == "last" else _mean_over_times
        return net.v_std**2 * pooled(net, sequences1, sequences2)

    return by_tiles(tile, sides[0], None if batch2 is None else sides[1], _TILE[net.pooling])


def _last_state(net: RNN, sequences1: _Sequences, sequences2: _Sequences) -> Float[Array, "n1 n2"]:
    """C + θ at the two last times, along the one diagonal that ends there: O(1) memory and work per pair and step.

    All sequences are shifted so that they end together; a pair starts when both of its sequences have.
    """

    def forward(state: tuple[Array, Array], now: tuple[_Sequences, _Sequences]) -> tuple[Array, Array]:
        C, theta = state
        K, C, dot = _step(net, C, _with_axes(now[0], 1), now[1])
        return C, dot * (K + net.w_std**2 * theta)

    start = jnp.zeros((len(sequences1.x), len(sequences2.x)), sequences1.x.dtype)
    C, theta = scan_times(forward, (start, start), (sequences1, sequences2))
    return C + theta


def _mean_over_times(net: RNN, sequences1: _Sequences, sequences2: _Sequences) -> Float[Array, "n1 n2"]:
    """Σ p_t p̄_r (C + θ)^{t,r}, all r of the other side at once: an axis of columns (r, input), r = 0 in front.

    Columns are written one r after those that they come from, and those of r = 0 stay zero.
    """
    num_inputs = len(sequences2.x)
    columns = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), _time_first(sequences2))

    def one_on(moment: Array) -> Array:
        return jnp.concatenate([jnp.zeros_like(moment[:, :num_inputs]), moment[:, :-num_inputs]], axis=1)

    def forward(state: tuple[Array, Array, Array], now: _Sequences) -> tuple[Array, Array, Array]:
        C, theta, total = state
        K, C, dot = _step(net, one_on(C), _with_axes(now, 1), columns)
        theta = dot * (K + net.w_std**2 * one_on(theta))
        return C, theta, total + C + theta

    length1, length2 = (jnp.sum(sequences.counts, axis=1) for sequences in (sequences1, sequences2))
    start = jnp.zeros((len(sequences1.x), len(columns.x)), sequences1.x.dtype)
    _, _, total = scan_times(forward, (start, start, start), sequences1)
    return jnp.sum(total.reshape(len(start), -1, num_inputs), axis=1) / (length1[:, None] * length2)


def _step(
    net: RNN, C: Float[Array, "*pairs"], sequences1: _Sequences, sequences2: _Sequences
) -> tuple[Float[Array, "*pairs"], Float[Array, "*pairs"], Float[Array, "*pairs"]]:
    """K, C and Ċ at one time of each side, from C one step before at both; zero where a sequence has no such step."""
    products = gram(sequences1.x, sequences2.x).reshape(C.shape)
    counts = sequences1.counts & sequences2.counts
    # What does not count may not overflow.
    K = jnp.where(counts, net.w_std**2 * C + net.u_std**2 * products + net.b_std**2, 0.0)
    same = same_inputs(sequences1.fingerprint, sequences2.fingerprint)
    C, dot = nonlinearity(net.activation, sequences1.own, K, sequences2.own, same)
    return K, jnp.where(counts, C, 0.0), jnp.where(counts, dot, 0.0)


def _with_axes(row: _Sequences, count: int) -> _Sequences:
    """One time of every sequence, with `count` axes after that of the sequences, for those of the other side."""

    def spread(leaf: Array) -> Array:
        return leaf.reshape(len(leaf), *(1,) * count, *leaf.shape[1:])

    return jax.tree.map(spread, row)


def _time_first(sequences: SequencesOrTimes) -> SequencesOrTimes:
    """The axes (N, T) of all leaves exchanged, either way."""
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), sequences)


def _sequences(net: RNN, batch: Batch) -> _Sequences:
    """All that the recursion reads of a batch, leaves (N, T, …)."""
    x, counts = unit_scaled(batch.x), time_mask(batch)

    def step(state: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], tuple[OwnMoments, Array]]:
        C, fingerprint = state
        moment, counts, its_fingerprint = inputs
        # Zero past the length, where it might overflow.
        K = jnp.where(counts, net.w_std**2 * C + net.u_std**2 * moment + net.b_std**2, 0.0)
        own = own_moments(net.activation, K)
        fingerprint = fingerprint + its_fingerprint
        return (own.C, fingerprint), (own, fingerprint)

    inputs = _time_first((jnp.sum(x**2, axis=-1), counts, fingerprints(x)))
    start = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), (inputs[0], inputs[2]))
    own, fingerprint = _time_first(lax.scan(step, start, inputs)[1])
    return _Sequences(x, own, fingerprint, counts)


def _aligned_at_end(sequences: _Sequences, batch: Batch, num_steps: int) -> _Sequences:
    """The last `num_steps` steps of sequences shifted to end together; `counts` is whether they have started."""
    max_length = batch.x.shape[1]
    times = jnp.arange(max_length) - (max_length - jnp.asarray(batch.lengths))[:, None]

    def shifted(leaf: Array) -> Array:
        rows = jnp.maximum(times, 0).reshape(*times.shape, *(1,) * (leaf.ndim - 2))
        return jnp.take_along_axis(leaf, rows, axis=1)[:, -num_steps:]

    return jax.tree.map(shifted, sequences)._replace(counts=(times >= 0)[:, -num_steps:])
