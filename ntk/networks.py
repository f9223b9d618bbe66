"""Descriptions of networks. Nothing is computed here.

A description is a frozen dataclass and a pytree. Its leaves are the standard deviations, so that a kernel can be
differentiated or vmapped in them. `ntk.infinite_kernels` and `ntk.finite` both read descriptions.
"""

import copy
import functools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey

from ntk.checks import check_choice, check_count, check_nonnegative, shown
from ntk.duals import Activation, activation


class Description:
    """A description of a network, which `ntk.infinite_kernels`, `ntk.finite` and `ntk.empirical_kernels` read."""


Std: TypeAlias = Any  # a number, or an array of shape (); whatever JAX rebuilds the network with
SomeDescription = TypeVar("SomeDescription", bound=Description)


def _register(cls: type[SomeDescription], *, leaves: tuple[str, ...], static: tuple[str, ...]) -> type[SomeDescription]:
    """Make a description a pytree. JAX rebuilds it with placeholders for leaves, so it is not checked again."""

    def flatten(net: SomeDescription) -> tuple[tuple[tuple[GetAttrKey, Std], ...], tuple[Hashable, ...]]:
        children = [(GetAttrKey(name), getattr(net, name)) for name in leaves]
        return tuple(children), tuple(getattr(net, name) for name in static)

    def unflatten(static_values: tuple[Hashable, ...], leaf_values: Iterable[Std]) -> SomeDescription:
        net = object.__new__(cls)
        for name, value in zip(leaves + static, (*leaf_values, *static_values), strict=True):
            object.__setattr__(net, name, value)
        return net

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


def _settle(net: "MLP | RNN") -> None:
    """Turn the activation into an `Activation` and check the standard deviations."""
    object.__setattr__(net, "activation", activation(net.activation))
    check_stds(net)


def check_stds(net: "MLP | RNN") -> None:
    """Refuse standard deviations that are not one finite number of at least 0 each."""
    for name in (field.name for field in fields(net) if field.name.endswith("_std")):
        std = getattr(net, name)
        if isinstance(std, bool) or not isinstance(std, int | float | np.number | np.ndarray | jax.Array):
            raise TypeError(f"{name} is {shown(std)}; expected a real number.")
        dtype = getattr(std, "dtype", float)
        if np.shape(std) != () or not any(jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.floating)):
            raise ValueError(f"{name} is {shown(std)}; expected one real number.")
        check_nonnegative(name, std)


def with_activation(net: SomeDescription, activation: Activation | None) -> SomeDescription:
    """The network with another activation, or None in its place. Nothing is checked."""
    changed = copy.copy(net)
    object.__setattr__(changed, "activation", activation)
    return changed


@functools.partial(_register, leaves=("w_std", "b_std", "v_std"), static=("depth", "activation"))
@dataclass(frozen=True, kw_only=True)
class MLP(Description):
    """A multilayer perceptron in NTK parameterization (theory.md 1.1, 1.7; Jacot et al. 2018).

        h¹ = (σ_w/√d) w¹ξ + σ_b b¹,   hˡ = (σ_w/√n) wˡxˡ⁻¹ + σ_b bˡ,   xˡ = φ(hˡ),   f = (σ_v/√n) v·x^L

    All parameters are N(0, 1) and trained. The output has no bias. With L = 0 the network has no hidden layer. It is
    then the linear model f = (σ_v/√d) v·ξ, and its kernels are Θ = Σ = σ_v² ξ·ξ̄/d.

    Attributes:
        depth: L, the number of hidden layers, at least 0.
        activation: φ, given by name, as a coordinate-wise function or as an `ntk.Activation`, which it becomes.
        w_std: σ_w, a scalar.
        b_std: σ_b, a scalar.
        v_std: σ_v, a scalar.

    Raises:
        ValueError: The depth is a negative number or not an integer, the activation is unknown, or a standard deviation
            is not one finite number of at least 0.
        TypeError: The activation is not a name or function, or a standard deviation is not a number.

    Example:
        >>> import ntk
        >>> ntk.MLP(depth=3, activation="erf", w_std=1.5).activation.name
        'erf'
    """

    depth: int
    activation: Activation | Any = "relu"  # given as an `ActivationLike`; an `Activation` once the network is made
    w_std: Std = 1.0
    b_std: Std = 1.0
    v_std: Std = 1.0

    def __post_init__(self) -> None:
        check_count("depth", self.depth, minimum=0)
        _settle(self)


@functools.partial(_register, leaves=("w_std", "u_std", "b_std", "v_std"), static=("activation", "pooling"))
@dataclass(frozen=True, kw_only=True)
class RNN(Description):
    """A simple recurrent network in NTK parameterization (theory.md 2.1; Yang 2020, arXiv:2006.14548).

        sᵗ = φ((σ_w/√n) W sᵗ⁻¹ + (σ_u/√d) U ξᵗ + σ_b b),   s⁰ = 0
        f = (σ_v/√n) v·s^T   (pooling "last")   or   f = (σ_v/√n) v·(1/T)Σₜ sᵗ   (pooling "mean")

    W, U and b are the same at all times; all parameters are N(0, 1) and trained.

    Attributes:
        activation: φ, given by name, as a coordinate-wise function or as an `ntk.Activation`, which it becomes.
        w_std: σ_w of the recurrent weights, a scalar.
        u_std: σ_u of the input weights, a scalar.
        b_std: σ_b, a scalar.
        v_std: σ_v, a scalar.
        pooling: "last" or "mean".

    Raises:
        ValueError: The activation or the pooling is unknown, or a standard deviation is not one finite number of
            at least 0.
        TypeError: The activation is not a name or function, or a standard deviation is not a number.

    Example:
        >>> import ntk
        >>> ntk.RNN(activation="erf", pooling="mean").pooling
        'mean'
    """

    activation: Activation | Any = "erf"  # given as an `ActivationLike`; an `Activation` once the network is made
    w_std: Std = 1.0
    u_std: Std = 1.0
    b_std: Std = 1.0
    v_std: Std = 1.0
    pooling: str = "last"

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, ("last", "mean"))
        _settle(self)
