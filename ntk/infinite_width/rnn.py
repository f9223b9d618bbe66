"""The C/D recursions of an infinitely wide RNN over all pairs of times (THEORY section 2; Yang 2020).

    K^{t,r} = σ_w² C^{t−1,r−1} + σ_u² ξᵗ·ξ̄ʳ/d + σ_b²,   C^{t,r} = E φφ̄,   Ċ^{t,r} = E φ'φ̄'
    D^{t,r} = B^{t,r} Ċ^{t,r},   B^{t,r} = σ_v² p_t p̄_r + σ_w² D^{t+1,r+1}

with p the pooling weights of the times (one at the last time, or 1/T each). C is zero before the first time. The
recursion follows the diagonals t − r = const and never mixes two of them, nor two pairs of inputs.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ntk.decomposition import Kernels, gram, pooling_weights, rnn_kernels, time_mask, unit_scaled
from ntk.infinite_width.moments import nonlinearity, own_moment, same_inputs
from ntk.inputs import Batch
from ntk.networks import RNN


def kernels(net: RNN, batch1: Batch, batch2: Batch | None) -> Kernels:
    """C and D at all pairs of times, and the NNGP and NTK they add up to."""
    rows = _Rows(net, batch1, batch2)

    def forward(state: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        _, C, dot, same = rows.step(*state, t)
        return (C, same), (C, dot)

    def backward(arriving: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        dot, pooling1 = row
        D = (net.v_std**2 * pooling1[:, None, None] * rows.pooling2 + arriving) * dot
        later = jnp.pad(D, ((0, 0), (0, 0), (0, 1)))[:, :, 1:]
        return net.w_std**2 * later, D

    _, (C, dot) = lax.scan(forward, (rows.start, rows.all_same), jnp.arange(batch1.x.shape[1]))
    _, D = lax.scan(backward, rows.start, (dot, pooling_weights(net, batch1).T), reverse=True)
    C, D = (jnp.moveaxis(rows_of_time, 0, 1) for rows_of_time in (C, D))
    return rnn_kernels(net, batch1, rows.batch2, C, D)


def ntk_only(net: RNN, batch1: Batch, batch2: Batch | None) -> Float[Array, "N1 N2"]:
    """Θ alone, forward only: θ^{t,r} = Ċ^{t,r} (K^{t,r} + σ_w² θ^{t−1,r−1}), Θ = σ_v² Σ p_t p̄_r (C + θ)^{t,r}."""
    if net.pooling == "last":
        return _last_state_ntk(net, batch1, batch2)
    rows = _Rows(net, batch1, batch2)

    def forward(state: tuple, time: tuple[Array, Array]) -> tuple[tuple, None]:
        C, same, theta, total = state
        t, pooling1 = time
        K, C, dot, same = rows.step(C, same, t)
        theta = dot * (K + net.w_std**2 * _one_step_on(theta))
        total = total + pooling1[:, None] * jnp.sum(rows.pooling2 * (C + theta), axis=-1)
        return (C, same, theta, total), None

    times = (jnp.arange(batch1.x.shape[1]), pooling_weights(net, batch1).T)
    start = (rows.start, rows.all_same, rows.start, rows.start[:, :, 0])
    (_, _, _, total), _ = lax.scan(forward, start, times)
    return net.v_std**2 * total


def _last_state_ntk(net: RNN, batch1: Batch, batch2: Batch | None) -> Float[Array, "N1 N2"]:
    """Along the one diagonal that ends at the two last times: O(1) memory and work per pair and step.

    All sequences are shifted so that they end together; a pair starts when both of its sequences have.
    """
    num_steps = batch1.x.shape[1] if batch2 is None else min(batch1.x.shape[1], batch2.x.shape[1])
    side1 = _aligned_at_end(net, batch1, num_steps)
    side2 = side1 if batch2 is None else _aligned_at_end(net, batch2, num_steps)

    def forward(state: tuple[Array, Array, Array], step: tuple) -> tuple[tuple[Array, Array, Array], None]:
        C, theta, same = state
        (x1, own1, started1), (x2, own2, started2) = step
        products = gram(x1, x2)
        same = same & (same_inputs(x1, x2, products) | ~started1[:, None])
        started = started1[:, None] & started2
        K = jnp.where(started, net.w_std**2 * C + net.u_std**2 * products + net.b_std**2, 0.0)
        C, dot = nonlinearity(net.activation, own1[:, None], K, own2, same)
        theta = jnp.where(started, dot * (K + net.w_std**2 * theta), 0.0)
        return (jnp.where(started, C, 0.0), theta, same), None

    start = jnp.zeros((side1[0].shape[1], side2[0].shape[1]), batch1.x.dtype)
    # Only sequences of one length can be the same; these start together.
    other = batch1 if batch2 is None else batch2
    same = jnp.asarray(batch1.lengths)[:, None] == jnp.asarray(other.lengths)
    (C, theta, _), _ = lax.scan(forward, (start, start, same), (side1, side2))
    return net.v_std**2 * (C + theta)


def _aligned_at_end(net: RNN, batch: Batch, num_steps: int) -> tuple[Array, Array, Array]:
    """The last `num_steps` steps, time first, of sequences shifted to end together.

    Returns the inputs /√d (num_steps, N, d), the variances K^{t,t} (num_steps, N), and which sequences have started.
    """
    max_length = batch.x.shape[1]
    shift = max_length - jnp.asarray(batch.lengths)
    times = jnp.arange(max_length) - shift[:, None]
    started = times >= 0
    times = jnp.maximum(times, 0)
    own = jnp.take_along_axis(_own_variances(net, batch), times, axis=1)
    x = jnp.take_along_axis(unit_scaled(batch.x), times[:, :, None], axis=1)
    own = jnp.where(started, own, 0.0)
    return x.swapaxes(0, 1)[-num_steps:], own.T[-num_steps:], started.T[-num_steps:]


def _own_variances(net: RNN, batch: Batch) -> Float[Array, "N T"]:
    """K^{t,t} of every sequence with itself, at every time; zero past its length, where it might overflow."""

    def step(C: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        moment, counts = inputs
        K = jnp.where(counts, net.w_std**2 * C + net.u_std**2 * moment + net.b_std**2, 0.0)
        return own_moment(net.activation, K), K

    moments = jnp.sum(unit_scaled(batch.x) ** 2, axis=-1).T
    _, K = lax.scan(step, jnp.zeros_like(moments[0]), (moments, time_mask(batch).T))
    return K.T


class _Rows:
    """The forward recursion from all times r at one t to all r at t + 1."""

    def __init__(self, net: RNN, batch1: Batch, batch2: Batch | None) -> None:
        self.net = net
        self.batch2 = batch1 if batch2 is None else batch2
        self.x1, self.x2 = unit_scaled(batch1.x), unit_scaled(self.batch2.x)
        self.mask1, self.mask2 = time_mask(batch1), time_mask(self.batch2)
        self.own1 = _own_variances(net, batch1)
        self.own2 = self.own1 if batch2 is None else _own_variances(net, batch2)
        self.pooling2 = pooling_weights(net, self.batch2)
        self.start = jnp.zeros((len(batch1.x), *self.batch2.x.shape[:2]), batch1.x.dtype)
        self.all_same = jnp.ones(self.start.shape[:2], bool)

    def step(
        self, C: Float[Array, "N1 N2 T2"], same: Bool[Array, "N1 N2"], t: Array
    ) -> tuple[Array, Array, Array, Bool[Array, "N1 N2"]]:
        """K, C and Ċ of row t (N1, N2, T2) from C of row t − 1, and which sequences are the same up to time t."""
        net, x1, x2 = self.net, self.x1[:, t], self.x2
        products = gram(x1, x2)
        same = same & same_inputs(x1, x2[:, t], products[:, :, t])
        K = net.w_std**2 * _one_step_on(C) + net.u_std**2 * products + net.b_std**2
        # Past the lengths nothing counts, and nothing may overflow.
        K = jnp.where(self.mask1[:, t, None, None] & self.mask2, K, 0.0)
        same_entries = same[:, :, None] & (jnp.arange(x2.shape[1]) == t)
        C, dot = nonlinearity(net.activation, self.own1[:, t, None, None], K, self.own2, same_entries)
        return K, C, dot, same


def _one_step_on(row: Float[Array, "N1 N2 T2"]) -> Float[Array, "N1 N2 T2"]:
    """The entries at r − 1, zero at the first time."""
    return jnp.pad(row, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
