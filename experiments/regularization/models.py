"""Flax models for sweeps: MLP, RNN and CNN, each plain or with dropout, batch norm or spectral normalization."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

import ntk
from bounds.networks.weights import WeightMatrices, weight_matrices
from experiments.common.networks import Reader
from experiments.data.images import as_sequences, as_vectors
from ntk.checks import check_choice, check_count
from ntk.trees import Params

LAYERS = ("plain", "dropout", "batch_norm", "spectral_norm")
PARAMETERIZATIONS = ("standard", "ntk")
# Fields of a network that a config may set.
FIELDS = ("width", "depth", "activation", "parameterization", "bias", "w_std")


class Classifier(nn.Module):
    """The fields and layers that all models share.

    Attributes:
        outputs: The number of classes. The outputs are their scores.
        width: n, the units of every hidden layer, or the channels of every convolution.
        depth: Number of hidden layers.
        activation: A name that `ntk.activation` knows.
        parameterization: "standard": weights are N(0, σ_w²/fan-in). "ntk": weights are N(0, 1), and σ_w/√fan-in stands
            in the forward pass. Both have the same functions before training, and differ in training and penalties.
            Spectral normalization sets its own scale, so that both are the same under it.
        layers: "plain", or "dropout" behind every hidden layer, "batch_norm" before every activation, or
            "spectral_norm" of every layer (theory.md 15.4) by `flax.linen.SpectralNorm`.
        bias: Whether layers have biases, which start at 0.
        w_std: σ_w.
        dtype: The dtype of parameters and computations.
    """

    outputs: int
    width: int = 64
    depth: int = 2
    activation: str = "relu"
    parameterization: str = "standard"
    layers: str = "plain"
    bias: bool = False
    w_std: float = 2**0.5
    dtype: DTypeLike = jnp.float32

    def layer(
        self, features: int, train: bool, gain: ArrayLike, kernel_size: tuple[int, ...] = (), num_iterations: int = 10
    ) -> Callable[[Array], Array]:
        """A dense layer, or a convolution that keeps the size of an image; for use inside a compact method.

        Spectral normalization takes `num_iterations` power iterations at every call. With a single one, norms in
        training are wrong by percents where two singular values are close.
        """
        rescaled = self.parameterization == "ntk" and self.layers != "spectral_norm"
        init = nn.initializers.variance_scaling(self.w_std**2, "fan_in", "normal")
        options: dict[str, Any] = {
            "use_bias": self.bias,
            "kernel_init": nn.initializers.normal(1.0) if rescaled else init,
            "dtype": self.dtype,
            "param_dtype": self.dtype,
        }
        linear = nn.Conv(features, kernel_size, **options) if kernel_size else nn.Dense(features, **options)
        if self.layers == "spectral_norm":
            normalized = nn.SpectralNorm(linear, n_steps=num_iterations, param_dtype=self.dtype)
            return lambda z: gain * normalized(z, update_stats=train)
        if rescaled:
            return lambda z: linear(z * (self.w_std / math.sqrt(z.shape[-1] * math.prod(kernel_size))))
        return linear

    def normalize(self, h: Array, train: bool) -> Array:
        """Batch normalization in models with these layers; the identity in others."""
        if self.layers != "batch_norm":
            return h
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype, param_dtype=self.dtype)
        return norm(h)

    def drop(self, z: Array, train: bool, rate: ArrayLike) -> Array:
        """Dropout in models with these layers. `flax.linen.Dropout` takes no traced rate, and sweeps trace the rate."""
        if self.layers != "dropout" or not train:
            return z
        rate = jnp.asarray(rate, jnp.float32)
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate, z.shape)
        return jnp.where(kept, z / (1 - rate).astype(z.dtype), 0)


class MLP(Classifier):
    """Dense layers, on vectors (N, d).

    Example:
        A training loop that is the same for all `layers`. Arguments for other layers, such as dropout here, have no
        effect.

        >>> import optax
        >>> x = jax.random.normal(jax.random.key(0), (60, 5), jnp.float32)
        >>> y = (x[:, 0] > x[:, 1]).astype(jnp.int32)
        >>> model = MLP(outputs=2, width=16, depth=1, layers="batch_norm")
        >>> statistics = model.init(jax.random.key(1), x)  # "params", and "batch_stats" of normalizations
        >>> params = statistics.pop("params")
        >>> optimizer = optax.adam(0.01)
        >>> @jax.jit
        ... def step(params, statistics, state, key):
        ...     def loss(params):
        ...         outputs, moved = model.apply(
        ...             statistics | {"params": params}, x, train=True, dropout=0.5, gain=2.0,
        ...             mutable=["batch_stats"], rngs={"dropout": key})
        ...         return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean(), moved
        ...     gradient, statistics = jax.grad(loss, has_aux=True)(params)
        ...     updates, state = optimizer.update(gradient, state, params)
        ...     return optax.apply_updates(params, updates), statistics, state
        >>> state = optimizer.init(params)
        >>> for key in jax.random.split(jax.random.key(2), 100):
        ...     params, statistics, state = step(params, statistics, state, key)
        >>> bool(jnp.mean(model.apply(statistics | {"params": params}, x, gain=2.0).argmax(1) == y) > 0.9)
        True
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "N d"], train: bool = False, dropout: ArrayLike = 0.0, gain: ArrayLike = 1.0
    ) -> Array:
        """The scores, (N, outputs).

        Args:
            x: Inputs.
            train: Whether dropout is active and normalizations update their statistics ("batch_stats" is mutable then).
            dropout: The share of units that are dropped.
            gain: The norm ‖W‖_σ of every layer under spectral normalization.
        """
        z, phi = x, ntk.activation(self.activation).fn
        for _ in range(self.depth):
            h = self.normalize(self.layer(self.width, train, gain)(z), train)
            z = self.drop(phi(h), train, dropout)
        return self.layer(self.outputs, train, gain)(z)


class RNN(Classifier):
    """A simple recurrent network with a read-out of its last state, on sequences (N, T, d). `depth` is not used.

    Batch normalization acts on the products with the inputs, of all times together (Laurent et al. 2016). Dropout acts
    on the last state.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "N T d"], train: bool = False, dropout: ArrayLike = 0.0, gain: ArrayLike = 1.0
    ) -> Array:
        """The scores, (N, outputs); `MLP` describes the arguments."""
        phi = ntk.activation(self.activation).fn
        drives = self.normalize(self.layer(self.width, train, gain)(x), train)
        recurrent = self.layer(self.width, train, gain, num_iterations=2)  # at every time
        state = jnp.zeros((len(x), self.width), self.dtype)
        for time in range(x.shape[1]):
            state = phi(drives[:, time] + recurrent(state))
        return self.layer(self.outputs, train, gain)(self.drop(state, train, dropout))


class CNN(Classifier):
    """3×3 convolutions with 2×2 means between them, a mean over positions, a dense layer; on images (N, h, w, c)."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "N h w c"], train: bool = False, dropout: ArrayLike = 0.0, gain: ArrayLike = 1.0
    ) -> Array:
        """The scores, (N, outputs); `MLP` describes the arguments."""
        z, phi = x, ntk.activation(self.activation).fn
        for depth in range(self.depth):
            if depth:
                z = nn.avg_pool(z, (2, 2), strides=(2, 2))
            h = self.normalize(self.layer(self.width, train, gain, (3, 3))(z), train)
            z = self.drop(phi(h), train, dropout)
        return self.layer(self.outputs, train, gain)(jnp.mean(z, axis=(1, 2)))


MODELS: dict[str, tuple[type[Classifier], Reader]] = {
    "MLP": (MLP, as_vectors),
    "RNN": (RNN, as_sequences),
    "CNN": (CNN, lambda images: images),
}


def make_model(fields: ConfigDict, outputs: int, layers: str = "plain", dtype: DTypeLike = jnp.float32) -> Classifier:
    """The model that a config describes.

    Raises:
        ValueError: The kind is unknown, it has no such field, or a value is out of range.

    Example:
        >>> make_model(ConfigDict({"kind": "CNN", "width": 8}), outputs=10).width
        8
    """
    arguments = dict(fields)
    kind = arguments.pop("kind", None)
    check_choice("network.kind", kind, MODELS)
    for name in arguments:
        check_choice("a field of network", name, FIELDS)
    model = MODELS[kind][0](outputs=outputs, layers=layers, dtype=dtype, **arguments)
    check_count("network.width", model.width)
    check_count("network.depth", model.depth)
    check_choice("network.parameterization", model.parameterization, PARAMETERIZATIONS)
    check_choice("layers", model.layers, LAYERS)
    ntk.activation(model.activation)
    if not model.w_std > 0:
        raise ValueError(f"network.w_std is {model.w_std!r}; expected a positive number.")
    return model


def effective_weights(model: Classifier, variables: PyTree, x: Array, gain: ArrayLike = 1.0) -> WeightMatrices:
    """The matrices (in, out) by which the layers multiply, after NTK scaling or spectral normalization.

    They have the names of the parameters.

    Args:
        model: The model.
        variables: The variables of the model, with "params".
        x: One input or more. Spectral normalization needs a forward pass to find its norms.
        gain: The norm that it sets.

    Example:
        >>> model = MLP(outputs=2, width=4, depth=1, parameterization="ntk")
        >>> variables = {"params": {"Dense_0": {"kernel": jnp.ones((9, 4))}, "Dense_1": {"kernel": jnp.ones((4, 2))}}}
        >>> print(effective_weights(model, variables, jnp.ones((1, 9))).matrices[0][0].round(4))  # √2/√9
        [0.4714 0.4714 0.4714 0.4714]
    """
    weights = weight_matrices(variables["params"])
    if model.layers == "spectral_norm":
        fresh = model.apply(variables, x[:1], train=True, mutable=["batch_stats"])[1]["batch_stats"]
        norms = {name: sigma for layer in fresh.values() for name, sigma in layer.items() if name.endswith("/sigma")}
        scales = [gain / norms[f"{name}/sigma"] for name in weights.names]
    elif model.parameterization == "ntk":
        scales = [model.w_std / math.sqrt(len(w)) for w in weights.matrices]
    else:
        return weights
    return dataclasses.replace(weights, matrices=tuple(c * w for c, w in zip(scales, weights.matrices, strict=True)))


@functools.lru_cache(maxsize=64)
def model_function(model: Classifier) -> Callable[[Params, Array], Array]:
    """The model in evaluation mode as f(whole, x). Equal models give the same function object.

    Example:
        >>> model = MLP(outputs=2, width=4)
        >>> whole = {"variables": model.init(jax.random.key(0), jnp.ones((1, 9))), "gain": 1.0}
        >>> model_function(model)(whole, jnp.ones((5, 9))).shape
        (5, 2)
    """

    def apply(whole: Params, x: Array) -> Array:
        scores: Any = model.apply(whole["variables"], x, gain=whole["gain"])
        return scores

    return apply


def network_ntk(model: Classifier, whole: Params, x: Array) -> Float[Array, "N N"]:
    """The NTK of the parameters in evaluation mode, averaged over outputs. `model_function` describes `whole`."""
    return ntk.empirical_ntk(model_function(model), whole, x, param_filter=_is_parameter)


def _is_parameter(path: str) -> bool:
    return path.startswith("variables/params")


def is_chain(model: Classifier) -> bool:
    """Whether the network only alternates products with the effective weights and activations.

    Example:
        >>> is_chain(MLP(outputs=2)), is_chain(MLP(outputs=2, layers="batch_norm")), is_chain(RNN(outputs=2))
        (True, False, False)
    """
    return isinstance(model, MLP) and model.layers != "batch_norm" and not model.bias


@functools.lru_cache(maxsize=16)
def chain_apply(activation: str) -> Callable[[WeightMatrices, Array], Array]:
    """f(weights, x) of a model for which `is_chain` holds. Equal activations give the same function object.

    Example:
        >>> weights = WeightMatrices((jnp.eye(2), jnp.ones((2, 1))), ("a", "b"), (1, 1))
        >>> print(chain_apply("relu")(weights, jnp.array([[3.0, -1.0]])))
        [[3.]]
    """
    phi = ntk.activation(activation).fn

    def apply(weights: WeightMatrices, x: Array) -> Array:
        *hidden, readout = weights.matrices
        for w in hidden:
            x = phi(x @ w)
        return x @ readout

    return apply
