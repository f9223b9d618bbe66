"""The described networks as Flax models in NTK parameterization: parameters N(0, 1), scales in the forward pass."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, PyTree

from ntk.checks import check_key, check_sizes, shown
from ntk.decomposition import pooling_weights, time_mask
from ntk.inputs import Batch, Network, check_batch, with_dtype
from ntk.networks import MLP, RNN


def model_of(net: Network, width: int, outputs: int | None) -> "FiniteMLP | FiniteRNN":
    """The Flax model of an MLP or an RNN, as `ntk.finite` documents it."""
    check_sizes(width, outputs)
    return FiniteMLP(net, width, outputs) if isinstance(net, MLP) else FiniteRNN(net, width, outputs)


class FiniteNetwork(nn.Module):
    """The base of the networks of finite width. It checks arguments before Flax reads them."""

    @nn.nowrap
    def init(self, rngs: PyTree, *args: PyTree, **options: PyTree) -> PyTree:
        """Parameters for inputs like x, as Flax returns them.

        Args:
            rngs: A key, or a dictionary of keys.
            *args: The arguments of the model.
            **options: Options of Flax.

        Raises:
            TypeError: `rngs` is neither a key nor a dictionary with "params".
        """
        if not isinstance(rngs, Mapping) or "params" not in rngs:
            check_key(rngs)
        return super().init(rngs, *args, **options)

    @nn.nowrap
    def apply(self, variables: PyTree, *args: PyTree, **options: PyTree) -> PyTree:
        """The outputs, as Flax returns them.

        Args:
            variables: {"params": …} as `init` returned it.
            *args: The arguments of the model.
            **options: Options of Flax.

        Raises:
            TypeError: `variables` is not a dictionary.
        """
        if not isinstance(variables, Mapping):
            raise TypeError(f"variables is {shown(variables)}; expected what init returns, a dictionary with 'params'.")
        return super().apply(variables, *args, **options)


class FiniteMLP(FiniteNetwork):
    """An MLP of finite width; `ntk.finite` makes it.

    Its parameters, with weights (in, out), are w1 (d, n), w2…wL (n, n), b1…bL (n,), and v (n,) or (n, O). At depth 0
    there is only v, (d,) or (d, O).
    """

    net: MLP
    width: int
    outputs: int | None

    def __call__(self, x: Float[ArrayLike, "N d"]) -> Float[Array, " N *O"]:
        """The network's outputs, (N,) or (N, O), at inputs x of shape (N, d)."""
        return self.trace(x, jnp.zeros(self.net.depth, jnp.float32))[0]

    @nn.compact
    def trace(
        self, x: Float[ArrayLike, "N d"], taps: Float[Array, "L ..."]
    ) -> tuple[Float[Array, " N *O"], Float[Array, "L N n"]]:
        """The outputs and the activations x¹…x^L, with `taps` added to the pre-activations h¹…h^L.

        The gradient in a tap of zeros is the gradient in the pre-activation.
        """
        z = check_batch(self.net, x, None, "").x
        net = with_dtype(self.net, z.dtype)
        activations = []
        for layer, tap in enumerate(taps.astype(z.dtype), start=1):
            w = _parameter(self, f"w{layer}", (z.shape[-1], self.width), z.dtype)
            b = _parameter(self, f"b{layer}", (self.width,), z.dtype)
            h = net.w_std / z.shape[-1] ** 0.5 * (z @ w) + net.b_std * b[None]
            z = net.activation.fn(h + tap)
            activations.append(z)
        shape = (len(activations), len(z), self.width)
        return _read_out(self, net, z), jnp.stack(activations) if activations else jnp.zeros(shape, z.dtype)


class FiniteRNN(FiniteNetwork):
    """A simple RNN of finite width; `ntk.finite` makes it.

    Its parameters, with weights (in, out), are w (n, n), u (d, n), b (n,), and v (n,) or (n, O).
    """

    net: RNN
    width: int
    outputs: int | None

    def __call__(
        self, x: Float[ArrayLike, "N T d"], lengths: Integer[ArrayLike, " N"] | None = None
    ) -> Float[Array, " N *O"]:
        """The network's outputs, (N,) or (N, O), at inputs (N, T, d). Of each input the first `lengths` steps count."""
        batch = check_batch(self.net, x, lengths, "")
        return self.trace(batch, jnp.zeros(batch.x.shape[1], batch.x.dtype))[0]

    @nn.compact
    def trace(self, batch: Batch, taps: Float[Array, "T ..."]) -> tuple[Float[Array, " N *O"], Float[Array, "T N n"]]:
        """The outputs and the states s¹…s^T, with `taps` added to the pre-activations at times 1…T."""
        x = batch.x
        net = with_dtype(self.net, x.dtype)
        w = _parameter(self, "w", (self.width, self.width), x.dtype)
        u = _parameter(self, "u", (x.shape[-1], self.width), x.dtype)
        b = _parameter(self, "b", (self.width,), x.dtype)

        def step(s: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            drive, tap, counts = inputs
            # Past its length a sequence keeps its state. Steps that are not read must not overflow either.
            h = jnp.where(counts[:, None], net.w_std / self.width**0.5 * (s @ w) + drive + tap, 0.0)
            s = jnp.where(counts[:, None], net.activation.fn(h), s)
            return s, s

        drives = net.u_std / x.shape[-1] ** 0.5 * (x @ u) + net.b_std * b[None, None]
        start = jnp.zeros((len(x), self.width), x.dtype)
        times = (drives.swapaxes(0, 1), taps.astype(x.dtype), time_mask(batch).T)
        states = lax.scan(step, start, times)[1]
        return _read_out(self, net, jnp.einsum("it,tin->in", pooling_weights(net, batch), states)), states


def _read_out(model: FiniteMLP | FiniteRNN, net: Network, z: Float[Array, "N n"]) -> Float[Array, " N *O"]:
    """(σ_v/√n) v·z of the last layer, or of the input of a network without layers."""
    fan_in = z.shape[-1]
    v = _parameter(model, "v", (fan_in,) if model.outputs is None else (fan_in, model.outputs), z.dtype)
    return net.v_std / fan_in**0.5 * (z @ v)


def _parameter(module: nn.Module, name: str, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """A parameter with entries N(0, 1). If it exists already, it must have this shape and this dtype."""
    if not module.is_initializing():
        if not module.has_variable("params", name):
            raise ValueError(f"variables has no '{name}' in 'params'; expected {dtype} of shape {shape}, as by init.")
        found: PyTree = module.get_variable("params", name)
        if jnp.shape(found) != shape:
            raise ValueError(f"params has '{name}' of shape {jnp.shape(found)}; expected {shape} for this x.")
        if jnp.result_type(found) != dtype:
            raise TypeError(f"params has '{name}' of dtype {jnp.result_type(found)}; expected {dtype} as x has.")
    return module.param(name, nn.initializers.normal(1.0), shape, dtype)
