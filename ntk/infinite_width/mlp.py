"""The C/D recursions of an infinitely wide MLP (THEORY section 1; Jacot et al. 2018, Yang 2020).

    K^l = σ_w² C^{l−1} + σ_b²,   C^l = E φφ̄,   Ċ^l = E φ'φ̄',   D^L = σ_v² Ċ^L,   D^l = σ_w² D^{l+1} Ċ^l

No entry depends on another, apart from the two variances it lies between, so the layers are one `lax.scan`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.decomposition import Kernels, gram, mlp_kernels
from ntk.infinite_width.moments import nonlinearity, own_moment
from ntk.inputs import Batch
from ntk.networks import MLP


class _Moments(NamedTuple):
    """C of one layer: between the batches, and of each batch's inputs with themselves."""

    cross: Float[Array, "N1 N2"]
    own1: Float[Array, " N1"]
    own2: Float[Array, " N2"]


def kernels(net: MLP, batch1: Batch, batch2: Batch | None) -> Kernels:
    """Every layer's C and D, and the NNGP and NTK they add up to."""

    def forward(C: _Moments, _: None) -> tuple[_Moments, tuple[Array, Array]]:
        C, dot = _layer(net, C, same=batch2 is None)[1:]
        return C, (C.cross, dot)

    def backward(arriving: Array, dot: Array) -> tuple[Array, Array]:
        D = arriving * dot
        return net.w_std**2 * D, D

    C0 = _input_moments(batch1, batch2)
    _, (C, dot) = lax.scan(forward, C0, length=net.depth)
    _, D = lax.scan(backward, jnp.full_like(C0.cross, net.v_std**2), dot, reverse=True)
    return mlp_kernels(net, jnp.concatenate([C0.cross[None], C]), D)


def ntk(net: MLP, batch1: Batch, batch2: Batch | None) -> Float[Array, "N1 N2"]:
    """Θ alone, forward only: θ^l = Ċ^l (K^l + σ_w² θ^{l−1}), Θ = σ_v² (C^L + θ^L)."""

    def forward(state: tuple[_Moments, Array], _: None) -> tuple[tuple[_Moments, Array], None]:
        C, theta = state
        K, C, dot = _layer(net, C, same=batch2 is None)
        return (C, dot * (K + net.w_std**2 * theta)), None

    C0 = _input_moments(batch1, batch2)
    (C, theta), _ = lax.scan(forward, (C0, jnp.zeros_like(C0.cross)), length=net.depth)
    return net.v_std**2 * (C.cross + theta)


def _input_moments(batch1: Batch, batch2: Batch | None) -> _Moments:
    """C⁰ = ξ·ξ̄/d."""
    d = batch1.x.shape[-1]
    if batch2 is None:
        cross = gram(batch1.x, batch1.x) / d
        # From the same product, so that equal inputs have correlation 1 wherever they stand.
        own = jnp.diagonal(cross)
        return _Moments(cross, own, own)
    cross = gram(batch1.x, batch2.x) / d
    return _Moments(cross, *(jnp.sum(batch.x**2, axis=-1) / d for batch in (batch1, batch2)))


def _layer(net: MLP, C: _Moments, same: bool) -> tuple[Array, _Moments, Array]:
    """K^l between the batches, C^l, and Ċ^l between the batches."""
    K = _Moments(*(net.w_std**2 * c + net.b_std**2 for c in C))
    diagonal = jnp.eye(len(K.cross), dtype=bool) if same else None
    cross, dot = nonlinearity(net.activation, K.own1[:, None], K.cross, K.own2, diagonal)
    own1 = own_moment(net.activation, K.own1)
    return K.cross, _Moments(cross, own1, own1 if same else own_moment(net.activation, K.own2)), dot
