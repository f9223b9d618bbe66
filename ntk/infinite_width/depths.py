"""The kernels of an infinitely wide MLP from the moments of its layers, and those of the networks of fewer layers."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.checks import check_count
from ntk.decomposition import Kernels, mlp_kernels
from ntk.learning_rates import Rates
from ntk.networks import MLP


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["ntk", "nngp", "C", "D", "C_dot", "w_std", "b_std", "v_std"],
    meta_fields=["all_trained"],
)
@dataclass(frozen=True)
class MLPKernels(Kernels):
    """The kernels of an infinitely wide MLP, from which those of fewer layers follow.

    Attributes:
        ntk: Θ, (N1, N2).
        nngp: Σ, (N1, N2).
        C: Second moments of activations, C⁰…C^L, (L+1, N1, N2).
        D: Second moments of dh = √n ∇_h f, D¹…D^L, (L, N1, N2).
        C_dot: Ċ¹…Ċ^L, E φ'φ̄' of each layer, (L, N1, N2).
        w_std: σ_w, a scalar.
        b_std: σ_b, a scalar.
        v_std: σ_v, a scalar.
        all_trained: Whether Θ is that of all parameters, with one learning rate.
    """

    C_dot: Array
    w_std: Array
    b_std: Array
    v_std: Array
    all_trained: bool

    def up_to(self, depth: int) -> "MLPKernels":
        """The kernels of the MLP that has only the first hidden layers of this one, and their activations read out.

        C and Ċ of these layers are the same there. D and Θ follow by products alone (theory.md 1.3 to 1.5): no dual map
        is computed.

        Args:
            depth: From 0, the linear model, to L.

        Returns:
            What `ntk.infinite_kernels` returns for that network, up to rounding.

        Raises:
            ValueError: `depth` is not an integer from 0 to L, or some parameters are not trained or have learning rates
                of their own.

        Example:
            >>> import jax.numpy as jnp
            >>> import ntk
            >>> k = ntk.infinite_kernels(ntk.MLP(depth=3, activation="identity"), jnp.array([[1.0, 1.0]]))
            >>> [round(float(k.up_to(depth).ntk[0, 0]), 4) for depth in range(4)]
            [1.0, 4.0, 8.0, 13.0]
        """
        check_count("depth", depth, minimum=0, maximum=len(self.C_dot))
        if not self.all_trained:
            raise ValueError("the kernels are those of some parameters; expected those of all, trained=None.")
        net = MLP(depth=depth, w_std=self.w_std, b_std=self.b_std, v_std=self.v_std)
        return kernels_of_layers(net, self.C[: depth + 1], self.C_dot[:depth])


def kernels_of_layers(
    net: MLP, C: Float[Array, "L1 N1 N2"], C_dot: Float[Array, "L N1 N2"], rates: Rates | None = None
) -> MLPKernels:
    """D, Σ and Θ from C⁰…C^L and Ċ¹…Ċ^L: D^L = σ_v² Ċ^L, D^l = σ_w² D^{l+1} Ċ^l. The activation is not read."""

    def backward(arriving: Array, dot: Array) -> tuple[Array, Array]:
        D = arriving * dot
        return net.w_std**2 * D, D

    _, D = lax.scan(backward, jnp.full_like(C[0], net.v_std**2), C_dot, reverse=True)
    return MLPKernels(
        **vars(mlp_kernels(net, C, D, rates)),
        C_dot=C_dot,
        w_std=net.w_std,
        b_std=net.b_std,
        v_std=net.v_std,
        all_trained=rates is None,
    )
