"""The members of a sweep: regularizers by name, the grid of members, and the program of each member."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments.regularization.optimizers import Strengths
from ntk.checks import check_choice, check_count


class Regularizer(NamedTuple):
    """A regularizer by name.

    Attributes:
        shares: Fields of `Strengths` or of `Members`, each with its multiple of the strength.
        layers: The layers of the model.
        singular_values: Whether its program has the penalties of singular values.
        largest: Every strength must be below this number.
        may_be_zero: Whether a strength may be 0.
    """

    shares: dict[str, float]
    layers: str = "plain"
    singular_values: bool = False
    largest: float = float("inf")
    may_be_zero: bool = True


# Regularizers with plain layers have two programs: one for penalties of singular values, and one for all others. "none"
# and "batch_norm" have no strength, which is written as 0.
REGULARIZERS = {
    "none": Regularizer({}),
    "l1": Regularizer({"l1": 1.0}),
    "l2": Regularizer({"l2": 1.0}),
    "elastic_net": Regularizer({"l1": 0.5, "l2": 0.5}),
    "weight_decay": Regularizer({"weight_decay": 1.0}),
    "spectral": Regularizer({"spectral": 1.0}, singular_values=True),
    "nuclear": Regularizer({"nuclear": 1.0}, singular_values=True),
    "dropout": Regularizer({"dropout": 1.0}, layers="dropout", largest=1.0),
    "batch_norm": Regularizer({}, layers="batch_norm"),
    "spectral_norm": Regularizer({"gain": 1.0}, layers="spectral_norm", may_be_zero=False),
}


class Member(NamedTuple):
    """One network of the grid. All fields can be written as JSON."""

    regularizer: str
    strength: float
    width: int
    learning_rate: float
    label_noise: float
    num_train: int
    seed: int


class Members(NamedTuple):
    """Members as arrays, each with a leading axis of members, which is absent inside `jax.vmap`.

    Attributes:
        strengths: The strengths of all penalties.
        dropout: The share of hidden units that are dropped.
        gain: The norm ‖W‖_σ of every layer under spectral normalization.
        learning_rate: η.
        label_noise: The share of training labels that are replaced by random classes.
        num_train: The number of training points of the member. It has the first ones.
        seed: The seed of its first parameters, of its noise and of its dropout.
    """

    strengths: Strengths
    dropout: Array
    gain: Array
    learning_rate: Array
    label_noise: Array
    num_train: Array
    seed: Array


class Shape(NamedTuple):
    """The properties that all members of one program share."""

    width: int
    layers: str
    singular_values: bool


def grid(config: ConfigDict) -> dict[Shape, list[Member]]:
    """All members of a config, by program.

    Raises:
        ValueError: A name is unknown, or a value out of range.

    Example:
        >>> config = ConfigDict({"regularizers": {"none": (0.0,), "l1": (0.1, 0.2), "batch_norm": (0.0,)}})
        >>> config.update({"widths": (8,), "learning_rates": (0.1,), "label_noise": (0.0,), "train_sizes": (50,)})
        >>> config.update({"num_seeds": 2, "seed": 0})
        >>> {shape.layers: len(members) for shape, members in grid(config).items()}
        {'batch_norm': 2, 'plain': 6}
    """
    groups: dict[Shape, list[Member]] = {}
    for member in _members(config):
        regularizer = REGULARIZERS[member.regularizer]
        groups.setdefault(Shape(member.width, regularizer.layers, regularizer.singular_values), []).append(member)
    return groups


def _members(config: ConfigDict) -> Iterator[Member]:
    check_count("num_seeds", config.num_seeds)
    check_count("seed", config.seed, minimum=0)
    for name in ("widths", "train_sizes"):
        for value in _each_once(name, config[name]):
            check_count(name, value)
    for rate in _each_once("learning_rates", config.learning_rates):
        if not 0 < rate < np.inf:
            raise ValueError(f"learning_rates holds {rate!r}; expected positive numbers.")
    for share in _each_once("label_noise", config.label_noise):
        if not 0 <= share <= 1:
            raise ValueError(f"label_noise holds {share!r}; expected shares from 0 to 1.")
    for name in _each_once("regularizers", config.regularizers):
        check_choice("regularizers", name, REGULARIZERS)
        _check_strengths(name, _each_once(f"regularizers.{name}", config.regularizers[name]))
    seeds = range(config.seed, config.seed + config.num_seeds)
    for width, (name, strengths) in itertools.product(config.widths, config.regularizers.items()):
        axes = strengths, config.learning_rates, config.label_noise, config.train_sizes, seeds
        for strength, rate, share, size, seed in itertools.product(*axes):
            yield Member(name, float(strength), width, float(rate), float(share), size, seed)


def _each_once(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    values = tuple(values)
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{name} is {values!r}; expected at least one value, each of them once.")
    return values


def _check_strengths(name: str, strengths: tuple[float, ...]) -> None:
    shares, _, _, largest, may_be_zero = REGULARIZERS[name]
    if not shares and strengths != (0,):
        raise ValueError(f"regularizers.{name} is {strengths!r}; expected (0.0,), since it has no strength.")
    for strength in strengths:
        if not 0 <= strength < largest or (strength == 0 and not may_be_zero):
            expected = f"{'[' if may_be_zero else '('}0, {largest:g})"
            raise ValueError(f"regularizers.{name} holds {strength!r}; expected strengths in {expected}.")


def as_arrays(members: Sequence[Member], dtype: DTypeLike = jnp.float32) -> Members:
    """Members of one shape as arrays, floating-point ones in the dtype of the data.

    Example:
        >>> found = as_arrays([Member("elastic_net", 0.2, 8, 0.1, 0.0, 50, 3)])
        >>> print(found.strengths.l1, found.gain, found.num_train, found.seed)
        [0.1] [1.] [50] [3]
    """

    def strength(name: str, neutral: float) -> Array:
        shares = (REGULARIZERS[member.regularizer].shares for member in members)
        values = [
            member.strength * own[name] if name in own else neutral for member, own in zip(members, shares, strict=True)
        ]
        return jnp.asarray(np.array(values), dtype)

    return Members(
        strengths=Strengths(**{name: strength(name, 0.0) for name in Strengths._fields}),
        dropout=strength("dropout", 0.0),
        gain=strength("gain", 1.0),
        learning_rate=jnp.asarray(np.array([member.learning_rate for member in members]), dtype),
        label_noise=jnp.asarray(np.array([member.label_noise for member in members]), dtype),
        num_train=jnp.asarray(np.array([member.num_train for member in members], np.int32)),
        seed=jnp.asarray(np.array([member.seed for member in members], np.uint32)),
    )
