"""The C/D recursions of an infinitely wide MLP (theory.md 1.2 to 1.7; Jacot et al. 2018, Yang 2020).

    K^l = σ_w² C^{l−1} + σ_b²,   C^l = E φφ̄,   Ċ^l = E φ'φ̄',   D^L = σ_v² Ċ^L,   D^l = σ_w² D^{l+1} Ċ^l

An entry of C depends on the same entry one layer before and on the variances of its two inputs. The layers are
therefore one `lax.scan`. The NTK alone is computed tile by tile, and a tile stays in cache through all layers.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ntk.decomposition import gram, mlp_variances, unit_scaled
from ntk.infinite_width.depths import MLPKernels, kernels_of_layers
from ntk.infinite_width.moments import (
    Fingerprint,
    OwnMoments,
    fingerprints,
    infinite_where_overflowed,
    nonlinearity,
    own_moments,
    same_inputs,
)
from ntk.inputs import Batch
from ntk.learning_rates import Rates
from ntk.networks import MLP
from ntk.tiles import kernel_by_tiles

# Inputs of a tile: few enough for its layers to stay in a core's cache, and many enough for a fast Gram product.
TILE = 250

_PerInput = TypeVar("_PerInput", Fingerprint, OwnMoments)


class _Inputs(NamedTuple):
    """The numbers that the recursion reads of a batch: ξ/√d, ξ·ξ/d, and a fingerprint that equal inputs share."""

    x: Float[Array, "N d"]
    own: Float[Array, " N"]
    fingerprint: Fingerprint


class _Moments(NamedTuple):
    """C of one layer: between the batches, and of each batch's inputs with themselves."""

    cross: Float[Array, "N1 N2"]
    own1: Float[Array, " N1"]
    own2: Float[Array, " N2"]


def kernels(net: MLP, batch1: Batch, batch2: Batch | None, rates: Rates | None = None) -> MLPKernels:
    """Every layer's C and D, and the NNGP and NTK they add up to."""

    def forward(C: _Moments, step: None) -> tuple[_Moments, tuple[Array, Array]]:
        _, C, dot = _layer(net, C, same)
        return C, (C.cross, dot)

    inputs1 = _inputs(batch1)
    C0, same = _input_moments(inputs1, inputs1 if batch2 is None else _inputs(batch2))
    last, (C, dot) = lax.scan(forward, C0, length=net.depth)
    found = kernels_of_layers(net, jnp.concatenate([C0.cross[None], C]), dot, rates)
    overflowed = _overflowed(last)
    return jax.tree.map(lambda leaf: infinite_where_overflowed(leaf, overflowed) if jnp.ndim(leaf) else leaf, found)


def ntk_only(net: MLP, batch1: Batch, batch2: Batch | None, rates: Rates | None = None) -> Float[Array, "N1 N2"]:
    """Θ alone, forward only: θ^l = Ċ^l (K^l + σ_w² θ^{l−1}), Θ = σ_v² (C^L + θ^L).

    In C^L and in K^l here, but not in those of the recursion, learning rates multiply σ² (theory.md 1.8).
    """
    trained = mlp_variances(net, rates)
    of_layers = None if rates is None else (trained.w, trained.b)

    def tile(inputs1: _Inputs, inputs2: _Inputs) -> Float[Array, "n1 n2"]:
        def forward(
            state: tuple[Array, _Moments], of_layer: tuple[Array, Array] | None
        ) -> tuple[tuple[Array, _Moments], None]:
            theta, C = state
            source = None if of_layer is None else of_layer[0] * C.cross + of_layer[1]
            K, C, dot = _layer(net, C, same)
            return (dot * ((K if source is None else source) + net.w_std**2 * theta), C), None

        C0, same = _input_moments(inputs1, inputs2)
        # θ stands before C, so that the loop updates both in place: θ is the last to read the previous C.
        (theta, C), _ = lax.scan(forward, (jnp.zeros_like(C0.cross), C0), of_layers, length=net.depth)
        return infinite_where_overflowed(trained.v * C.cross + net.v_std**2 * theta, _overflowed(C))

    inputs1, inputs2 = _inputs(batch1), None if batch2 is None else _inputs(batch2)
    return kernel_by_tiles((lambda x: x, lambda x: x), tile, jnp.transpose, inputs1, inputs2, TILE)


def _overflowed(C: _Moments) -> Bool[Array, "N1 N2"]:
    """Which pairs have a variance that left the range of the dtype in some layer. It stays infinite in later layers."""
    return jnp.isinf(C.own1)[:, None] | jnp.isinf(C.own2)[None]


def _inputs(batch: Batch) -> _Inputs:
    x = unit_scaled(batch.x)
    fingerprint = jax.tree.map(jnp.ravel, fingerprints(x[:, None]))
    return _Inputs(x, jnp.sum(x**2, axis=-1), fingerprint)


def _input_moments(inputs1: _Inputs, inputs2: _Inputs) -> tuple[_Moments, Bool[Array, "N1 N2"]]:
    """C⁰ = ξ·ξ̄/d, and which pairs are one input twice."""
    C0 = _Moments(gram(inputs1.x, inputs2.x), inputs1.own, inputs2.own)
    return C0, same_inputs(*_rows_and_columns(inputs1.fingerprint, inputs2.fingerprint))


def _layer(net: MLP, C: _Moments, same: Bool[Array, "N1 N2"]) -> tuple[Array, _Moments, Array]:
    """K^l between the batches, C^l, and Ċ^l between the batches."""
    K = _Moments(*(net.w_std**2 * c + net.b_std**2 for c in C))
    own1, own2 = (own_moments(net.activation, k) for k in (K.own1, K.own2))
    rows, columns = _rows_and_columns(own1, own2)
    cross, dot = nonlinearity(net.activation, rows, K.cross, columns, same)
    return K.cross, _Moments(cross, own1.C, own2.C), dot


def _rows_and_columns(inputs1: _PerInput, inputs2: _PerInput) -> tuple[_PerInput, _PerInput]:
    """Numbers of each input, (N1,) and (N2,), as (N1, 1) and (1, N2)."""
    return jax.tree.map(lambda leaf: leaf[:, None], inputs1), jax.tree.map(lambda leaf: leaf[None], inputs2)
