"""The C/D recursions of an infinitely wide RNN over all pairs of times (theory.md 2.2 to 2.6; Yang 2020).

    K^{t,r} = σ_w² C^{t−1,r−1} + σ_u² ξᵗ·ξ̄ʳ/d + σ_b²,   C^{t,r} = E φφ̄,   Ċ^{t,r} = E φ'φ̄'
    D^{t,r} = B^{t,r} Ċ^{t,r},   B^{t,r} = σ_v² p_t p̄_r + σ_w² D^{t+1,r+1}

p are the pooling weights of the times (1 at the last time, or 1/T each). C is zero before the first time. The recursion
follows the diagonals t − r = const. It never mixes two diagonals, nor two pairs of inputs.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ntk.decomposition import (
    Kernels,
    RNNVariances,
    gram,
    pooling_weights,
    rnn_kernels,
    rnn_variances,
    time_mask,
    unit_scaled,
)
from ntk.infinite_width.moments import Fingerprint, OwnMoments, fingerprints, nonlinearity, own_moments, same_inputs
from ntk.inputs import Batch
from ntk.learning_rates import Rates
from ntk.networks import RNN
from ntk.tiles import kernel_by_tiles

# Inputs of a tile: few enough for one step of all its pairs to stay in a core's cache. A pair has one time r of the
# other side with pooling "last", and all times with "mean".
TILE = {"last": 250, "mean": 40}


State = TypeVar("State")
Times = TypeVar("Times")
SequencesOrTimes = TypeVar("SequencesOrTimes")


class _Sequences(NamedTuple):
    """The numbers that the recursion reads of a batch at each time. The leading axes may come in any order.

    Attributes:
        x: ξ/√d.
        own: K^{t,t} of each sequence with itself, and the C and Ċ that follow.
        fingerprint: The fingerprint of all steps up to this one.
        counts: Whether the sequence has this step.
    """

    x: Float[Array, "*entries d"]
    own: OwnMoments
    fingerprint: Fingerprint
    counts: Bool[Array, "*entries"]


def kernels(net: RNN, batch1: Batch, batch2: Batch | None, rates: Rates | None = None) -> Kernels:
    """C and D at all pairs of times, and the NNGP and NTK they add up to."""
    sequences1 = _sequences(net, batch1)
    sequences2 = sequences1 if batch2 is None else _sequences(net, batch2)
    pooling1, pooling2 = (pooling_weights(net, batch) for batch in (batch1, batch1 if batch2 is None else batch2))
    start = jnp.zeros((len(sequences1.x), *sequences2.counts.shape), sequences1.x.dtype)

    def forward(C: Array, row: _Sequences) -> tuple[Array, tuple[Array, Array]]:
        previous = jnp.pad(C, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
        _, C, dot = _step(net, None, previous, row, sequences2)
        return C, (C, dot)

    def backward(arriving: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        dot, pooling = row
        D = (net.v_std**2 * pooling[:, None, None] * pooling2[None] + arriving) * dot
        later = jnp.pad(D, ((0, 0), (0, 0), (0, 1)))[:, :, 1:]
        return net.w_std**2 * later, D

    _, (C, dot) = lax.scan(forward, start, _time_first(sequences1))
    _, D = lax.scan(backward, start, (dot, pooling1.T), reverse=True)
    C, D = (jnp.moveaxis(rows_of_time, 0, 1) for rows_of_time in (C, D))
    return rnn_kernels(net, batch1, batch1 if batch2 is None else batch2, C, D, rates)


def ntk_only(net: RNN, batch1: Batch, batch2: Batch | None, rates: Rates | None = None) -> Float[Array, "N1 N2"]:
    """Θ alone, forward only: θ^{t,r} = Ċ^{t,r} (K^{t,r} + σ_w² θ^{t−1,r−1}), Θ = σ_v² Σ p_t p̄_r (C + θ)^{t,r}.

    In C and in K here, but not in those of the recursion, learning rates multiply σ² (theory.md 2.7).
    """
    trained = None if rates is None else rnn_variances(net, rates)
    batches = (batch1,) if batch2 is None else (batch1, batch2)
    sides = [_sequences(net, batch) for batch in batches]
    if net.pooling == "last":
        num_steps = min(batch.x.shape[1] for batch in batches)
        sides = [_aligned_at_end(side, batch, num_steps) for side, batch in zip(sides, batches, strict=True)]

    def tile(sequences1: _Sequences, sequences2: _Sequences) -> Float[Array, "n1 n2"]:
        pooled = _last_state if net.pooling == "last" else _mean_over_times
        return pooled(net, trained, sequences1, sequences2)

    sequences1, sequences2 = sides[0], None if batch2 is None else sides[1]
    return kernel_by_tiles((lambda x: x, lambda x: x), tile, jnp.transpose, sequences1, sequences2, TILE[net.pooling])


def _last_state(
    net: RNN, trained: RNNVariances | None, sequences1: _Sequences, sequences2: _Sequences
) -> Float[Array, "n1 n2"]:
    """Θ from the two last times, along the one diagonal that ends there: O(1) memory and work per pair and step.

    All sequences are shifted so that they end together. A pair starts when both of its sequences have started.
    """

    def at(time: int | jax.Array) -> tuple[_Sequences, _Sequences]:
        return _at_time(sequences1, time), _at_time(sequences2, time)

    # θ stands before C, so that the loop updates both in place: θ is the last to read the previous C.
    def forward(state: tuple[Array, Array], now: tuple[_Sequences, _Sequences]) -> tuple[Array, Array]:
        theta, C = state
        K, C, dot = _step(net, trained, C, *now)
        return dot * (K + net.w_std**2 * theta), C

    start = jnp.zeros((len(sequences1.x), len(sequences2.x)), sequences1.x.dtype)
    theta, C = _scan_times(forward, (start, start), at, sequences1.counts.shape[1])
    return _read_out(net, trained, C, theta)


def _mean_over_times(
    net: RNN, trained: RNNVariances | None, sequences1: _Sequences, sequences2: _Sequences
) -> Float[Array, "n1 n2"]:
    """Θ from all pairs of times. All r of the other side are computed at once, as an axis of columns (r, input).

    A column stays on its diagonal r = t + const, so that no matrix is shifted. It begins anew after the last r. All
    columns are written twice in a row, and the columns of time t are a window of them.
    """
    num_inputs, num_steps = sequences2.counts.shape
    width = num_inputs * num_steps
    begins = jnp.zeros_like(sequences2.counts).at[:, 0].set(True)

    def twice(leaf: Array) -> Array:
        columns = leaf.swapaxes(0, 1).reshape(width, *leaf.shape[2:])
        return jnp.concatenate([columns, columns])

    all_columns = jax.tree.map(twice, (begins, sequences2))

    def at(time: int | jax.Array) -> tuple[_Sequences, tuple[Array, _Sequences]]:
        start = time % num_steps * num_inputs
        columns = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, start, width), all_columns)
        return _at_time(sequences1, time), columns

    def forward(
        state: tuple[Array, Array, Array], now: tuple[_Sequences, tuple[Array, _Sequences]]
    ) -> tuple[Array, Array, Array]:
        theta, total, C = state
        row, (begins, columns) = now
        K, C, dot = _step(net, trained, jnp.where(begins[None], 0.0, C), row, columns)
        theta = dot * (K + net.w_std**2 * jnp.where(begins[None], 0.0, theta))
        return theta, total + _read_out(net, trained, C, theta), C

    length1, length2 = (jnp.sum(sequences.counts, axis=1) for sequences in (sequences1, sequences2))
    num_pairs = (length1[:, None] * length2[None]).astype(sequences1.x.dtype)
    start = jnp.zeros((len(sequences1.x), width), sequences1.x.dtype)
    _, total, _ = _scan_times(forward, (start, start, start), at, sequences1.counts.shape[1])
    return jnp.sum(total.reshape(len(start), -1, num_inputs), axis=1) / num_pairs


def _read_out(
    net: RNN, trained: RNNVariances | None, C: Float[Array, "*pairs"], theta: Float[Array, "*pairs"]
) -> Float[Array, "*pairs"]:
    """σ_v² (C + θ), where the learning rate of v multiplies C."""
    return net.v_std**2 * (C + theta) if trained is None else trained.v * C + net.v_std**2 * theta


def _step(
    net: RNN,
    trained: RNNVariances | None,
    C: Float[Array, "*pairs"],
    sequences1: _Sequences,
    sequences2: _Sequences,
) -> tuple[Float[Array, "*pairs"], Float[Array, "*pairs"], Float[Array, "*pairs"]]:
    """K as it stands in Θ, C and Ċ of one time of `sequences1` with `sequences2`, from C one step before at both.

    C has the axis of `sequences1` first, then those of `sequences2`. C and Ċ are zero past the end of a sequence.
    """
    sequences1 = _with_axes(sequences1, C.ndim - 1)
    sequences2 = jax.tree.map(lambda leaf: leaf[None], sequences2)
    products = gram(sequences1.x, sequences2.x).reshape(C.shape)
    counts = sequences1.counts & sequences2.counts
    K = net.w_std**2 * C + (net.u_std**2 * products + net.b_std**2)
    source = K if trained is None else trained.w * C + (trained.u * products + trained.b)
    same = same_inputs(sequences1.fingerprint, sequences2.fingerprint)
    C, dot = nonlinearity(net.activation, sequences1.own, K, sequences2.own, same)
    return source, jnp.where(counts, C, 0.0), jnp.where(counts, dot, 0.0)


def _with_axes(row: _Sequences, count: int) -> _Sequences:
    """One time of every sequence, with `count` axes after the first one, for the axes of the other side."""

    def spread(leaf: Array) -> Array:
        return leaf.reshape(len(leaf), *(1,) * count, *leaf.shape[1:])

    return jax.tree.map(spread, row)


def _scan_times(
    step: Callable[[State, Times], State], state: State, at: Callable[[int | jax.Array], Times], num_steps: int
) -> State:
    """`state` after `step(state, at(t))` for all t. The loop reads each time one step ahead, into its state.

    Otherwise the compiled loop would read `at(t)` again for every entry that it broadcasts against.
    """

    def body(time: jax.Array, carry: tuple[State, Times]) -> tuple[State, Times]:
        state, now = carry
        return step(state, now), at(time + 1)

    return lax.fori_loop(0, num_steps, body, (state, at(0)))[0]


def _at_time(sequences: _Sequences, time: int | jax.Array) -> _Sequences:
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, time, axis=1, keepdims=False), sequences)


def _time_first(sequences: SequencesOrTimes) -> SequencesOrTimes:
    """The axes (N, T) of all leaves exchanged, either way."""
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), sequences)


def _sequences(net: RNN, batch: Batch) -> _Sequences:
    """The numbers that the recursion reads of a batch, leaves (N, T, …)."""
    x, counts = unit_scaled(batch.x), time_mask(batch)

    def step(
        state: tuple[Array, Fingerprint], inputs: tuple[Array, Array, Fingerprint]
    ) -> tuple[tuple[Array, Fingerprint], tuple[OwnMoments, Fingerprint]]:
        C, fingerprint = state
        moment, counts, its_fingerprint = inputs
        own = own_moments(net.activation, net.w_std**2 * C + (net.u_std**2 * moment + net.b_std**2))
        fingerprint = jax.tree.map(jnp.add, fingerprint, its_fingerprint)
        # The state is set to zero past the length, where it might overflow.
        return (jnp.where(counts, own.C, 0.0), fingerprint), (own, fingerprint)

    inputs = _time_first((jnp.sum(x**2, axis=-1), counts, fingerprints(x)))
    start = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), (inputs[0], inputs[2]))
    own, fingerprint = _time_first(lax.scan(step, start, inputs)[1])
    return _Sequences(x, own, fingerprint, counts)


def _aligned_at_end(sequences: _Sequences, batch: Batch, num_steps: int) -> _Sequences:
    """The last `num_steps` steps of sequences shifted to end together; `counts` is whether they have started."""
    max_length = batch.x.shape[1]
    times = jnp.arange(max_length)[None] - (max_length - jnp.asarray(batch.lengths))[:, None]

    def shifted(leaf: Array) -> Array:
        rows = jnp.maximum(times, 0).reshape(*times.shape, *(1,) * (leaf.ndim - 2))
        return jnp.take_along_axis(leaf, rows, axis=1)[:, -num_steps:]

    return jax.tree.map(shifted, sequences)._replace(counts=(times >= 0)[:, -num_steps:])
