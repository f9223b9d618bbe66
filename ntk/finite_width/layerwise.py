"""Kernels of a finite network, layer by layer: no Jacobian is formed (theory.md 5.1).

One forward and one backward pass over the batch give every layer's x and ∇_h f. Their Gram matrices are the empirical
C and D. The exact decomposition adds them up to the NTK. That takes O(N n² + N² n) operations instead of O(N² n²).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, PyTree

from ntk.caches.lifetimes import compiled
from ntk.checks import check_results
from ntk.decomposition import Kernels, gram, mlp_kernels, rnn_kernels, unit_scaled
from ntk.duals import Activation
from ntk.finite_width.models import FiniteMLP, FiniteRNN, model_of
from ntk.inputs import Batch, Network, checked_network_inputs
from ntk.learning_rates import Rates, Trained, fan_ins_of, learning_rates
from ntk.linalg import highest_einsum
from ntk.networks import MLP, with_activation
from ntk.trees import Params, leaf_paths


def kernels_of(
    net: Network,
    params: Params,
    x1: Float[ArrayLike, "N1 ..."],
    x2: Float[ArrayLike, "N2 ..."] | None,
    lengths1: Integer[ArrayLike, " N1"] | None,
    lengths2: Integer[ArrayLike, " N2"] | None,
    trained: Trained | None = None,
) -> Kernels:
    """C, D, NNGP and NTK of an MLP or an RNN at these parameters.

    `ntk.empirical_kernels` documents the arguments and the errors.
    """
    net, batch1, batch2 = checked_network_inputs(net, x1, x2, lengths1, lengths2)
    size = _size_of(params)
    rates = learning_rates(trained, fan_ins_of(net, batch1.x.shape[-1]), batch1.x.dtype)
    result = _measure(net.activation, size, with_activation(net, None), params, batch1, batch2, rates)
    check_results(vars(result), lambda: {f"params '{path}'": leaf for path, leaf in _leaves(params).items()})
    return result


def _size_of(params: Params) -> tuple[int, int | None]:
    """Width and number of outputs of the network that has these parameters. At depth 0 the width has no effect."""
    try:
        shape = jnp.shape(params["params"]["v"])
    except (KeyError, TypeError, IndexError, AttributeError):
        message = "params has no 'params/v'; expected what `ntk.finite(net, width).init` returns."
        raise ValueError(message) from None
    if len(shape) not in (1, 2):
        raise ValueError(f"params 'params/v' has shape {shape}; expected (n,) or (n, O).")
    return shape if len(shape) == 2 else (shape[0], None)


def _check_params(model: FiniteMLP | FiniteRNN, params: Params, batch: Batch) -> None:
    """Refuse parameters whose paths, shapes or dtypes are not those of the model for these inputs."""
    expected = _leaves(jax.eval_shape(model.init, jax.random.key(0), batch.x[:1]))
    found = _leaves(params)
    wanted = f"for {type(model.net).__name__} of width {model.width} on {batch.x.shape[-1]} features"
    for path in sorted(found.keys() | expected.keys()):
        shapes = [jnp.shape(leaves[path]) if path in leaves else None for leaves in (found, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"params '{path}' has shape {shapes[0]}; expected {shapes[1]} {wanted}.")
        if jnp.result_type(found[path]) != batch.x.dtype:
            raise TypeError(f"params '{path}' has dtype {found[path].dtype}; expected {batch.x.dtype} as x1 with x2.")


def _leaves(tree: PyTree) -> dict[str, PyTree]:
    """The leaves of a pytree by path."""
    return dict(zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True))


@compiled(static=1)
def _measure(
    activation: Activation,
    size: tuple[int, int | None],
    net: Network,
    params: Params,
    batch1: Batch,
    batch2: Batch | None,
    rates: Rates | None,
) -> Kernels:
    net = with_activation(net, activation)
    model = model_of(net, *size)
    _check_params(model, params, batch1)
    side1 = _forward_backward(model, params, batch1)
    side2 = side1 if batch2 is None else _forward_backward(model, params, batch2)
    other = batch1 if batch2 is None else batch2
    (x1, g1), (x2, g2) = side1, side2
    if isinstance(net, MLP):
        C0 = gram(unit_scaled(batch1.x), unit_scaled(other.x))[None]
        C = jnp.concatenate([C0, highest_einsum("lin,ljn->lij", x1, x2) / model.width])
        return mlp_kernels(net, C, _mean_over_outputs("lin,ljn->lij", g1, g2), rates)
    C = highest_einsum("tin,rjn->itjr", x1, x2) / model.width
    return rnn_kernels(net, batch1, other, C, _mean_over_outputs("tin,rjn->itjr", g1, g2), rates)


def _mean_over_outputs(
    subscripts: str, gradients1: Float[Array, "O T1 N1 n"], gradients2: Float[Array, "O T2 N2 n"]
) -> Float[Array, "..."]:
    """The mean over outputs of the Gram matrices of their gradients. One output follows the other, to save memory."""

    def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        return total + highest_einsum(subscripts, *pair), None

    shape = jax.eval_shape(functools.partial(highest_einsum, subscripts), gradients1[0], gradients2[0])
    total, _ = lax.scan(add, jnp.zeros(shape.shape, shape.dtype), (gradients1, gradients2))
    return total / len(gradients1)


def _forward_backward(
    model: FiniteMLP | FiniteRNN, params: Params, batch: Batch
) -> tuple[Float[Array, "l N n"], Float[Array, "O l N n"]]:
    """The activations of every layer (or time), and the gradients of each output in their pre-activations."""
    x = batch if isinstance(model, FiniteRNN) else batch.x
    layers = batch.x.shape[1] if isinstance(model, FiniteRNN) else model.net.depth
    taps = jnp.zeros((layers, len(batch.x), model.width), batch.x.dtype)
    f, pull_back, activations = jax.vjp(lambda taps: model.apply(params, x, taps, method="trace"), taps, has_aux=True)
    # Inputs do not interact, so one backward pass for each output serves all inputs.
    if model.outputs is None:
        cotangents = jnp.ones((1, *f.shape), f.dtype)
    else:
        cotangents = jnp.broadcast_to(jnp.eye(model.outputs, dtype=f.dtype)[:, None], (model.outputs, *f.shape))
    return activations, jax.vmap(pull_back)(cotangents)[0]
