"""Networks on which empirical kernels are timed: plain JAX functions and Flax modules, with random inputs."""

from collections.abc import Callable
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ntk.checks import check_choice, check_count
from ntk.trees import Params

HIDDEN_LAYERS = 3


class Workload(NamedTuple):
    """A function f(params, x) → (N, O), and the parameters and inputs at which its kernel is computed.

    Attributes:
        f: The network.
        params: Its parameters, float32.
        x: Its inputs, (N, …).
        product_flops: The operations of the matrix products that its kernel needs; None if they are not counted.
    """

    f: Callable[[Params, jax.Array], jax.Array]
    params: Params
    x: jax.Array
    product_flops: float | None = None


def build_workload(kind: str, *, width: int, num_inputs: int, outputs: int, seed: int = 0) -> Workload:
    """One network of `KINDS` with random parameters, and random inputs for it.

    Args:
        kind: "mlp" (3 hidden layers, ReLU), "cnn" (3 convolutions 3×3, ReLU, global average pooling), "rnn" and
            "rnn_scan" (tanh, 8 steps, unrolled and by `lax.scan`), "transformer" (one block on 16 tokens) or "resnet"
            (3 residual blocks, batch normalization in evaluation mode).
        width: Units of a hidden layer, channels of a convolution (of the first block of the ResNet).
        num_inputs: N.
        outputs: O.
        seed: The seed of parameters and inputs.

    Raises:
        ValueError: kind is not one of these, or a number is not a positive integer.

    Example:
        >>> f, params, x, _ = build_workload("rnn", width=16, num_inputs=4, outputs=2)
        >>> f(params, x).shape
        (4, 2)
    """
    check_choice("kind", kind, KINDS)
    for name, value in (("width", width), ("num_inputs", num_inputs), ("outputs", outputs)):
        check_count(name, value)
    keys_of_params_and_inputs = jax.random.split(jax.random.key(seed))
    return KINDS[kind](width, num_inputs, outputs, keys_of_params_and_inputs)


class CNN(nn.Module):
    """Convolutions 3×3, global average pooling, a dense layer."""

    width: int
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The outputs (N, O) at inputs (N, height, width, channels)."""
        for _ in range(HIDDEN_LAYERS):
            x = nn.relu(nn.Conv(self.width, (3, 3))(x))
        return nn.Dense(self.outputs)(x.mean((1, 2)))


class TransformerBlock(nn.Module):
    """Self-attention of 4 heads and an MLP, each after a layer norm and with a skip connection; mean over tokens."""

    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The outputs (N, O) at inputs (N, T, width)."""
        width = x.shape[-1]
        x = x + nn.MultiHeadDotProductAttention(num_heads=4)(nn.LayerNorm()(x))
        x = x + nn.Dense(width)(nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x))))
        return nn.Dense(self.outputs)(x.mean(1))


class ResNet(nn.Module):
    """A stem and three residual blocks; each after the first halves the image and doubles the channels."""

    width: int
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The outputs (N, O) at inputs (N, height, width, channels)."""

        def normalized(x: jax.Array) -> jax.Array:
            return nn.BatchNorm(use_running_average=True)(x)

        x = nn.relu(normalized(nn.Conv(self.width, (3, 3), use_bias=False)(x)))
        for block in range(3):
            channels, stride = self.width * 2**block, 1 if block == 0 else 2
            h = nn.relu(normalized(nn.Conv(channels, (3, 3), stride, use_bias=False)(x)))
            h = normalized(nn.Conv(channels, (3, 3), use_bias=False)(h))
            skip = x if block == 0 else normalized(nn.Conv(channels, (1, 1), stride, use_bias=False)(x))
            x = nn.relu(h + skip)
        return nn.Dense(self.outputs)(x.mean((1, 2)))


def mlp_product_flops(input_dim: int, width: int, num_inputs: int, outputs: int) -> float:
    """The operations that the NTK of an MLP takes, averaged over outputs, by Gram matrices (theory.md 5.1, 5.2).

    Each layer has one forward product, one backward product per output, the full Gram matrix of its operands, and the
    full Gram matrix of its δ for every output.

    Example:
        >>> mlp_product_flops(1, 1, 1, 1)  # 4 products forward, 3 back, 4 and 4 Gram matrices
        30.0
    """
    fans_in, fans_out = [input_dim] + [width] * HIDDEN_LAYERS, [width] * HIDDEN_LAYERS + [outputs]
    layers = list(zip(fans_in, fans_out, strict=True))
    forward = sum(fan_in * fan_out for fan_in, fan_out in layers)
    backward = outputs * sum(fan_in * fan_out for fan_in, fan_out in layers[1:])
    grams = sum(fans_in) + outputs * sum(fans_out)
    return 2.0 * (num_inputs * (forward + backward) + num_inputs**2 * grams)


def _mlp(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> Workload:
    input_dim = 784
    sizes = [input_dim] + [width] * HIDDEN_LAYERS + [outputs]
    layers = list(zip(jax.random.split(keys[0], len(sizes) - 1), sizes, sizes[1:], strict=False))
    params = [{"w": _weight(*layer), "b": jnp.zeros(layer[-1], jnp.float32)} for layer in layers]

    def f(params: Params, x: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"][None])
        return x @ params[-1]["w"] + params[-1]["b"][None]

    flops = mlp_product_flops(input_dim, width, num_inputs, outputs)
    return Workload(f, params, _inputs(keys[1], num_inputs, input_dim), flops)


def _rnn(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> Workload:
    params, x = _recurrent(width, num_inputs, outputs, keys)

    def f(params: Params, x: jax.Array) -> jax.Array:
        s = jnp.zeros((len(x), width), x.dtype)
        for t in range(x.shape[1]):
            s = _step(params, s, x[:, t])
        return s @ params["v"]

    return Workload(f, params, x)


def _rnn_scan(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> Workload:
    params, x = _recurrent(width, num_inputs, outputs, keys)

    def f(params: Params, x: jax.Array) -> jax.Array:
        start = jnp.zeros((len(x), width), x.dtype)
        s, _ = lax.scan(lambda s, x_t: (_step(params, s, x_t), None), start, x.swapaxes(0, 1))
        return s @ params["v"]

    return Workload(f, params, x)


def _recurrent(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    input_dim, length = 32, 8
    w_key, u_key, v_key = jax.random.split(keys[0], 3)
    params = {
        "w": _weight(w_key, width, width),
        "u": _weight(u_key, input_dim, width),
        "b": jnp.zeros(width, jnp.float32),
        "v": _weight(v_key, width, outputs),
    }
    return params, _inputs(keys[1], num_inputs, length, input_dim)


def _step(params: dict[str, jax.Array], s: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.tanh(s @ params["w"] + x @ params["u"] + params["b"][None])


def _cnn(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> Workload:
    return _flax(CNN(width, outputs), keys[0], _inputs(keys[1], num_inputs, 32, 32, 3))


def _transformer(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> Workload:
    return _flax(TransformerBlock(outputs), keys[0], _inputs(keys[1], num_inputs, 16, width))


def _resnet(width: int, num_inputs: int, outputs: int, keys: jax.Array) -> Workload:
    return _flax(ResNet(width, outputs), keys[0], _inputs(keys[1], num_inputs, 32, 32, 3))


def _flax(model: nn.Module, key: jax.Array, x: jax.Array) -> Workload:
    """A module as a function of its parameters. Running statistics are constants."""
    variables = jax.jit(model.init)(key, x)
    constants = {name: leaves for name, leaves in variables.items() if name != "params"}

    def f(params: Params, x: jax.Array) -> jax.Array:
        return cast(jax.Array, model.apply({"params": params, **constants}, x))

    return Workload(f, variables["params"], x)


def _weight(key: jax.Array, fan_in: int, fan_out: int) -> jax.Array:
    return jax.random.normal(key, (fan_in, fan_out), jnp.float32) / fan_in**0.5


def _inputs(key: jax.Array, *shape: int) -> jax.Array:
    return jax.random.normal(key, shape, jnp.float32)


KINDS: dict[str, Callable[..., Workload]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "rnn": _rnn,
    "rnn_scan": _rnn_scan,
    "transformer": _transformer,
    "resnet": _resnet,
}
