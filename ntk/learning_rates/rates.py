"""The learning rate of each parameter, from what a user says of it (theory.md 3.16 and 3.17)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import jax
from jax.typing import ArrayLike, DTypeLike

from ntk.checks import as_nonnegative_number, as_positive_number, shown
from ntk.learning_rates.fan_ins import FanIn, FanIns
from ntk.networks import Std
from ntk.trees import is_chosen


class Rate(NamedTuple):
    """The learning rate of a parameter σω with ω from N(0, 1): η of ω, plus η of σω itself.

    Attributes:
        of_normal: That of ω.
        of_scaled: That of σω. It moves the network also where σ = 0.
    """

    of_normal: jax.Array | float
    of_scaled: jax.Array | float

    def times_variance(self, std: Std) -> jax.Array:
        """What stands in place of σ² in the parameter's own term of Θ (theory.md 3.16)."""
        return self.of_normal * std**2 + self.of_scaled


Rates = dict[str, Rate]  # of all parameters, by name


@dataclass(frozen=True)
class StandardParameterization:
    """Weights that start with standard deviation σ/√m, m their fan-in, and are trained as they are (theory.md 3.17).

    Passed as `trained`, it gives the NTK of that parameterization at a width: in the term of a weight, m stands in
    place of σ², and 1 in that of a bias (Sohl-Dickstein et al. 2020, arXiv:2001.07301). Parameters with σ = 0 are
    trained too. The kernel is of order n, so learning rates are of order 1/n. Neural-tangents calls this
    `parameterization="standard"`; widths N with its option s are widths N/s here.

    Attributes:
        width: n of all vectors, a scalar. Or, for layers of several widths, by the name of each weight that reads
            vectors, the width of what it reads.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 1.0]])
        >>> linear = ntk.MLP(depth=1, activation="identity", w_std=2**0.5, b_std=0.0)
        >>> print(ntk.infinite_ntk(linear, x, trained=ntk.StandardParameterization(width=100)))  # n C¹ + d C⁰ + 1
        [[203.]]
    """

    width: ArrayLike | Mapping[str, ArrayLike]

    def rates(self, fan_ins: FanIns, dtype: DTypeLike) -> Rates:
        """The learning rates of all parameters.

        Raises:
            TypeError: A width is not a number.
            ValueError: A width is not positive, or the widths are not those of the weights that read vectors.
        """
        reading = [name for name, fan_in in fan_ins.items() if fan_in.of_width]
        if isinstance(self.width, Mapping):
            if self.width.keys() != set(reading):
                raise ValueError(f"width has the names {_listed(self.width)}; expected those of {_listed(reading)}.")
            widths = {name: as_positive_number(f"width[{name!r}]", self.width[name], dtype) for name in reading}
        else:
            widths = dict.fromkeys(reading, as_positive_number("width", self.width, dtype))

        def rate(name: str, fan_in: FanIn) -> Rate:
            return Rate(_number(0.0, dtype), fan_in.size * widths.get(name, _number(1.0, dtype)))

        return {name: rate(name, fan_in) for name, fan_in in fan_ins.items()}


# Names of parameters; or a function that says of a name whether it is trained; or learning rates by name.
Trained: TypeAlias = (
    str | Collection[str] | Mapping[str, ArrayLike | Rate] | Callable[[str], bool] | StandardParameterization
)


def learning_rates(trained: Trained | None, fan_ins: FanIns, dtype: DTypeLike) -> Rates | None:
    """The learning rate of each parameter. None means 1 for all.

    Args:
        trained: What a user says. Parameters that it does not name are not trained.
        fan_ins: Of all parameters of the network, by name.
        dtype: Of the numbers.

    Raises:
        TypeError: `trained` is something else, or a learning rate is not a number.
        ValueError: A name is not that of a parameter, a learning rate is negative or not finite, or no parameter is
            named.

    Example:
        >>> from ntk.learning_rates import FanIn, learning_rates
        >>> rates = learning_rates("v", {"w": FanIn(2, False), "v": FanIn(1, True)}, float)
        >>> {name: float(rate.of_normal) for name, rate in rates.items()}
        {'w': 0.0, 'v': 1.0}
    """
    if trained is None:
        return None
    if isinstance(trained, StandardParameterization):
        return trained.rates(fan_ins, dtype)
    named = _named(trained, fan_ins)
    if unknown := [name for name in named if not isinstance(name, str) or name not in fan_ins]:
        raise ValueError(f"trained has {shown(unknown[0])}; expected names among {_listed(fan_ins)}.")
    if not named:
        raise ValueError(f"trained has none of {_listed(fan_ins)}; expected at least one of them.")
    rates = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named, 1.0)
    return {name: _rate(name, rates.get(name, 0.0), dtype) for name in fan_ins}


def _named(
    trained: str | Collection[str] | Mapping[str, ArrayLike | Rate] | Callable[[str], bool], fan_ins: FanIns
) -> Collection[str] | Mapping[str, ArrayLike | Rate]:
    """Names, or learning rates by name."""
    if isinstance(trained, str):
        return [trained]
    if isinstance(trained, Collection):
        return trained
    if callable(trained):
        return [name for name in fan_ins if is_chosen(trained, name, "trained")]
    raise TypeError(
        f"trained is {shown(trained)}; expected names of parameters, a function of a name that returns True or False,"
        " learning rates by name, or an ntk.StandardParameterization."
    )


def _rate(name: object, rate: ArrayLike | Rate, dtype: DTypeLike) -> Rate:
    if isinstance(rate, Rate):
        return rate
    return Rate(as_nonnegative_number(f"trained[{name!r}]", rate, dtype), _number(0.0, dtype))


def _number(value: float, dtype: DTypeLike) -> jax.Array:
    return as_nonnegative_number("rate", value, dtype)


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
