"""The NTK as a sum over weights of forward times backward second moments (theory.md 1.5, 2.5, 5.1).

A network uses a matrix W as y_k = (σ/√m) W z_k. At every width,
    ⟨∇_W f(ξ), ∇_W f(ξ̄)⟩ = Σ_{k,k'} D^{k,k'} · σ² z_k·z̄_k'/m,   D^{k,k'} = ∇_{y_k} f · ∇_{ȳ_k'} f,
exactly. Similar sums hold for biases and input weights. The terms of one layer add up to D ∘ K, where K is the second
moment of the layer's pre-activations. Both readings of a network end with this sum. One puts the limits of C and D into
it, the other the C and D that are measured at finite width.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntk.inputs import Batch
from ntk.learning_rates import Rates
from ntk.linalg import highest_tensordot
from ntk.networks import MLP, RNN


@functools.partial(jax.tree_util.register_dataclass, data_fields=["ntk", "nngp", "C", "D"], meta_fields=[])
@dataclass(frozen=True)
class Kernels:
    """The kernels of a network between two batches of inputs.

    Attributes:
        ntk: Θ, (N1, N2), ⟨∇f(ξ), ∇f(ξ̄)⟩ over all parameters, averaged over outputs.
        nngp: Σ, (N1, N2), σ_v² times the second moment of the vector that the output weight reads.
        C: Second moments of activations, E x x̄ (in the limit) or x·x̄/n (measured). MLP: (L+1, N1, N2), C⁰ of the
            inputs first. RNN: (N1, T1, N2, T2) at times 1..T, zero past a sequence's length.
        D: Second moments of dh = √n ∇_h f. MLP: (L, N1, N2), D¹ first. RNN: (N1, T1, N2, T2).
    """

    ntk: Array
    nngp: Array
    C: Array
    D: Array


def unit_scaled(x: Float[Array, "*N d"]) -> Float[Array, "*N d"]:
    """x/√d. The division comes before any product, because ξ·ξ̄ may overflow where ξ·ξ̄/d does not."""
    return x / x.shape[-1] ** 0.5


def gram(x1: Float[Array, "*N1 d"], x2: Float[Array, "*N2 d"]) -> Float[Array, "..."]:
    """The products x·x̄ of all pairs, at highest precision: (*N1, *N2)."""
    return highest_tensordot(x1, x2, axes=(-1, -1))


class MLPVariances(NamedTuple):
    """ησ² of each layer, which its own term of Θ has in place of σ² (theory.md 1.8).

    Attributes:
        w: Of w¹…w^L, (L, 1, 1); or one number for all.
        b: Of b¹…b^L, as w.
        v: Of the output weight.
    """

    w: Array
    b: Array
    v: Array


def mlp_variances(net: MLP, rates: Rates | None) -> MLPVariances:
    """ησ² of the parameters of an MLP; σ² if no learning rates are given."""
    if rates is None:
        return MLPVariances(net.w_std**2, net.b_std**2, net.v_std**2)
    of_layers = [
        [rates[f"params/{name}{layer}"].times_variance(std) for layer in range(1, net.depth + 1)]
        for name, std in (("w", net.w_std), ("b", net.b_std))
    ]
    w, b = (jnp.array(each, jnp.result_type(net.v_std)).reshape(-1, 1, 1) for each in of_layers)
    return MLPVariances(w, b, rates["params/v"].times_variance(net.v_std))


def mlp_kernels(
    net: MLP, C: Float[Array, "L1 N1 N2"], D: Float[Array, "L N1 N2"], rates: Rates | None = None
) -> Kernels:
    """Σ = σ_v² C^L and Θ = Σ + Σ_l D^l K^l with K^l = σ_w² C^{l−1} + σ_b². In Θ, learning rates multiply these σ²."""
    trained = mlp_variances(net, rates)
    ntk = trained.v * C[-1] + jnp.sum(D * (trained.w * C[:-1] + trained.b), axis=0)
    return Kernels(ntk, net.v_std**2 * C[-1], C, D)


class RNNVariances(NamedTuple):
    """ησ² of W, U, b and v, which their own terms of Θ have in place of σ² (theory.md 2.7)."""

    w: Array
    u: Array
    b: Array
    v: Array


def rnn_variances(net: RNN, rates: Rates | None) -> RNNVariances:
    """ησ² of the parameters of an RNN; σ² if no learning rates are given."""
    stds = {"w": net.w_std, "u": net.u_std, "b": net.b_std, "v": net.v_std}
    if rates is None:
        return RNNVariances(*(std**2 for std in stds.values()))
    return RNNVariances(*(rates[f"params/{name}"].times_variance(std) for name, std in stds.items()))


def rnn_kernels(
    net: RNN,
    batch1: Batch,
    batch2: Batch,
    C: Float[Array, "N1 T1 N2 T2"],
    D: Float[Array, "N1 T1 N2 T2"],
    rates: Rates | None = None,
) -> Kernels:
    """Θ = Σ + Σ_{t,r} D^{t,r} K^{t,r} with K^{t,r} = σ_w² C^{t−1,r−1} + σ_u² ξᵗ·ξ̄ʳ/d + σ_b².

    Σ is σ_v² times C at the last times, or its average over times. C is set to zero past the sequences' lengths. In Θ,
    learning rates multiply these σ².
    """
    C = jnp.where(time_mask(batch1)[:, :, None, None] & time_mask(batch2)[None, None], C, 0.0)
    pooling = pooling_weights(net, batch1)[:, :, None, None] * pooling_weights(net, batch2)[None, None]
    pooled, trained = jnp.sum(pooling * C, axis=(1, 3)), rnn_variances(net, rates)
    previous = jnp.pad(C, ((0, 0), (1, 0), (0, 0), (1, 0)))[:, :-1, :, :-1]
    inputs = gram(unit_scaled(batch1.x), unit_scaled(batch2.x))
    K = trained.w * previous + trained.u * inputs + trained.b
    return Kernels(trained.v * pooled + jnp.sum(D * K, axis=(1, 3)), net.v_std**2 * pooled, C, D)


def time_mask(batch: Batch) -> Bool[Array, "N T"]:
    """True at the times up to each sequence's length."""
    return jnp.arange(batch.x.shape[1])[None] < jnp.asarray(batch.lengths)[:, None]


def pooling_weights(net: RNN, batch: Batch) -> Float[Array, "N T"]:
    """The weight of each time in the vector that the output weight reads. Each row sums to 1."""
    lengths = jnp.asarray(batch.lengths)[:, None]
    if net.pooling == "last":
        return (jnp.arange(batch.x.shape[1])[None] == lengths - 1).astype(batch.x.dtype)
    return time_mask(batch).astype(batch.x.dtype) / lengths.astype(batch.x.dtype)
