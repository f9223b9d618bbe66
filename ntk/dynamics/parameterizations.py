"""One network in several parameterizations, which train differently with one learning rate for all parameters.

Let the parameters ω be N(0, 1), and f as in theory.md 1.1 and 2.1. An abc-parameterization (Yang & Hu 2021,
arXiv:2011.14522) trains θ, a multiple of ω, with a learning rate that may depend on the width:

    "ntk"       θ = ω, η.                  As n → ∞, Θ and the features stay where they start.
    "standard"  W = (σ/√fan-in) ω, η/n.    As n → ∞, Θ and the features stay where they start. The parts of Θ from input
                                           weights and biases are smaller by 1/n: in the limit, these are not trained.
                                           With σ = 0 parameters start at 0 and are trained. In the other two
                                           parameterizations they have no effect.
    "mup"       θ = ω/√n, f/√n, η.         The maximal update parameterization (Table 1 of that paper, for SGD).
                                           Features and Θ move by order one at any width, so the kernel has no limit.
                                           A network with one hidden layer has the mean-field limit.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, PyTree

from ntk import infinite_width
from ntk.checks import as_floating, check_choice, check_key, shown
from ntk.finite_width import model_of
from ntk.finite_width.models import FiniteMLP, FiniteRNN
from ntk.inputs import Network
from ntk.learning_rates import Rate, fan_ins_of
from ntk.networks import MLP, RNN, Std
from ntk.trees import Params

PARAMETERIZATIONS = ("ntk", "standard", "mup")


@dataclass(frozen=True)
class ParameterizedModel:
    """A network of finite width in a parameterization; made by `parameterized_model` and used like a Flax model.

    Attributes:
        net: The `ntk.MLP` or `ntk.RNN`.
        width: n.
        outputs: O. None means one output without an axis.
        parameterization: "ntk", "standard" or "mup".
    """

    net: Network
    width: int
    outputs: int | None
    parameterization: str

    @property
    def learning_rate_scale(self) -> float:
        """The factor of a learning rate at this width: 1/n in standard parameterization, else 1."""
        return 1 / self.width if self.parameterization == "standard" else 1.0

    def init(self, key: jax.Array, x: Float[ArrayLike, "N ..."]) -> PyTree:
        """Random parameters, a pytree like that of `ntk.finite(net, width, outputs).init`.

        Args:
            key: A PRNG key.
            x: Inputs, (N, d) for an MLP, (N, T, d) for an RNN.

        Raises:
            TypeError: `key` is not a PRNG key, or x is not floating-point.
            ValueError: A shape does not fit, or a value is not finite.
        """
        check_key(key)
        params = self._model().init(key, x)
        if self.parameterization == "mup":
            return jax.tree.map(lambda leaf: leaf / self.width**0.5, params)
        if self.parameterization == "standard":
            return _map_named(lambda name, leaf: _std(self.net, name) / _root_fan_in(name, leaf) * leaf, params)
        return params

    def apply(
        self, params: Params, x: Float[ArrayLike, "N ..."], lengths: Integer[ArrayLike, " N"] | None = None
    ) -> Float[Array, "N ..."]:
        """The outputs, (N,) or (N, O).

        Args:
            params: The parameters that `init` returns, before or after training.
            x: Inputs, (N, d) for an MLP, (N, T, d) for an RNN.
            lengths: For an RNN: (N,) integers, the number of steps that count in each sequence. None means all.

        Raises:
            TypeError: `params` is not a dictionary of `init`, or an array is not floating-point.
            ValueError: A shape or a length does not fit, a value is not finite, or an MLP is given lengths.
        """
        if lengths is not None and isinstance(self.net, MLP):
            raise ValueError("lengths is given; expected None for an MLP, whose inputs are not sequences.")
        if not isinstance(params, Mapping) or not isinstance(params.get("params"), Mapping):
            raise TypeError(f"params is {shown(params)}; expected those of init, {{'params': …}}.")
        params = jax.tree.map(functools.partial(as_floating, "params"), params)
        options = {} if lengths is None else {"lengths": lengths}
        root = self.width**0.5
        if self.parameterization == "mup":
            return self._model().apply(jax.tree.map(lambda leaf: leaf * root, params), x, **options) / root
        if self.parameterization == "standard":
            params = _map_named(lambda name, leaf: _root_fan_in(name, leaf) * leaf, params)
        return self._model().apply(params, x, **options)

    def kernel_limit(
        self, x1: Float[ArrayLike, "N1 ..."], x2: Float[ArrayLike, "N2 ..."] | None = None
    ) -> Float[Array, "N1 N2"]:
        """The limit as n → ∞ of Θ times `learning_rate_scale`, (N1, N2). Training does not change it.

        In standard parameterization it is the limit of Θ/n, the sum of the parts of hidden and output weights, each
        divided by its σ²: C^L + Σ_{l ≥ 2} D^l C^{l−1} for an MLP, and the same sum over pairs of times for an RNN. An
        MLP of depth 0 has input weights alone, and its limit is 0. `ntk.infinite_ntk` with
        `trained=ntk.StandardParameterization(width)` is Θ with all parts.

        Args:
            x1: Inputs, (N1, d) for an MLP, (N1, T, d) for an RNN.
            x2: The other inputs. None means `x1` itself.

        Raises:
            TypeError: An array is not floating-point.
            ValueError: A shape does not fit, a value is not finite, a kernel is too large for the dtype, or the
                parameterization is "mup", which has no such limit.
        """
        if self.parameterization == "mup":
            raise ValueError("parameterization is 'mup', whose kernel has no limit; expected 'ntk' or 'standard'.")
        if self.parameterization == "ntk":
            return infinite_width.ntk_of(self.net, x1, x2, None, None)
        # Of Θ/n, fan-ins that do not grow with n leave nothing.
        fan_ins = fan_ins_of(self.net, features=1)
        rates = {name: Rate(0.0, float(fan_in.of_width)) for name, fan_in in fan_ins.items()}
        return infinite_width.ntk_of(self.net, x1, x2, None, None, rates)

    def _model(self) -> FiniteMLP | FiniteRNN:
        """The model in NTK parameterization. For the standard one, `init` applies the standard deviations instead."""
        net = self.net
        if self.parameterization == "standard":
            ones: dict[str, Std] = {field.name: 1.0 for field in fields(net) if field.name.endswith("_std")}
            net = replace(net, **ones)
        return model_of(net, self.width, self.outputs)


def parameterized_model(
    net: Network, width: int, outputs: int | None = None, *, parameterization: str = "ntk"
) -> ParameterizedModel:
    """The network at finite width in NTK, standard or maximal-update parameterization (Yang & Hu 2021).

    Multiply the learning rate of gradient descent by `learning_rate_scale`: outputs then move by order one in a time of
    order one, at every width. "ntk" and "standard" are the same function at the start, and have kernel limits. "mup" is
    that function divided by √n, and learns features at any width (arXiv:2011.14522, Table 1).

    Args:
        net: An `ntk.MLP` or an `ntk.RNN`.
        width: n.
        outputs: O. None means one output without an axis.
        parameterization: "ntk", "standard" or "mup".

    Returns:
        A `ParameterizedModel` with `init(key, x)`, `apply(params, x)`, `learning_rate_scale` and `kernel_limit`.

    Raises:
        TypeError: `net` is not an MLP or an RNN.
        ValueError: `width` or `outputs` is not a positive integer, or the parameterization is unknown.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net, x = ntk.MLP(depth=2), jnp.ones((2, 3))
        >>> models = [ntk.dynamics.parameterized_model(net, 64, parameterization=p) for p in ("ntk", "standard", "mup")]
        >>> f = [model.apply(model.init(jax.random.key(0), x), x)[0] for model in models]
        >>> print(f"{f[1] / f[0]:.4f} {f[2] / f[0]:.4f}")  # the same, and divided by √64
        1.0000 0.1250
    """
    if not isinstance(net, MLP | RNN):
        raise TypeError(f"net is {shown(net)}; expected an ntk.MLP or an ntk.RNN.")
    check_choice("parameterization", parameterization, PARAMETERIZATIONS)
    model_of(net, width, outputs)  # It refuses a bad width or number of outputs.
    return ParameterizedModel(net, width, outputs, parameterization)


def _map_named(change: Callable[[str, jax.Array], jax.Array], params: Params) -> Params:
    return {"params": {name: change(name, leaf) for name, leaf in params["params"].items()}}


def _std(net: Network, name: str) -> Std:
    """The standard deviation of the parameter of that name, such as w2."""
    return getattr(net, f"{name[0]}_std")


def _root_fan_in(name: str, leaf: jax.Array) -> float:
    return 1.0 if name.startswith("b") else leaf.shape[0] ** 0.5
