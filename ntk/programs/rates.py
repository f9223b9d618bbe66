"""The learning rates of a program's parameters, and their fan-ins (theory.md 3.16 and 3.17)."""

import math
from collections.abc import Sequence

from jax.typing import DTypeLike

from ntk.learning_rates import FanIn, FanIns, Rate, Rates, StandardParameterization, Trained, learning_rates
from ntk.programs.language.atoms import Parameter
from ntk.programs.language.program import Recording


def rates_of_program(trained: Trained | None, recordings: Sequence[Recording], dtype: DTypeLike) -> Rates | None:
    """The learning rates of all parameters of a program, by name.

    Args:
        trained: What a user says.
        recordings: The program at each shape of its inputs.
        dtype: Of the numbers.

    Raises:
        TypeError: `trained` is of the wrong kind.
        ValueError: A name or a number is not as `ntk.infinite_ntk` takes it, or the fan-in of a parameter depends on
            the shape of the input in standard parameterization.
    """
    fan_ins: FanIns = {}
    for recording in recordings:
        for name, fan_in in _fan_ins(recording).items():
            first = fan_ins.setdefault(name, fan_in)
            if first != fan_in and isinstance(trained, StandardParameterization):
                raise ValueError(
                    f"{name!r} reads {first.size} positions of some inputs and {fan_in.size} of others; expected"
                    " inputs of one shape in standard parameterization."
                )
    return learning_rates(trained, fan_ins, dtype)


def _fan_ins(recording: Recording) -> FanIns:
    positions = {weight: math.prod(vector.shape) for weight, vector in recording.output.vectors}
    return {name: _fan_in(each, positions.get(each, 1)) for name, each in recording.parameters.items()}


def _fan_in(parameter: Parameter, positions: int) -> FanIn:
    if parameter.kind == "bias" or parameter.is_looked_up:
        return FanIn(1, False)
    size = parameter.offsets * positions
    return FanIn(size, True) if parameter.fan_in is None else FanIn(size * parameter.fan_in, False)


def unrolled_rates(rates: Rates | None, written: Recording, unrolled: Recording) -> Rates | None:
    """The learning rates in an unrolled recording, where a parameter w may be many, w[0] and w[1] say.

    A convolution with k offsets is k matrices of variance σ²/k.
    """
    if rates is None or unrolled is written:
        return rates
    found: Rates = {}
    for name in unrolled.parameters:
        whole = name.partition("[")[0]
        of_normal, of_scaled = rates[whole]
        found[name] = Rate(of_normal, of_scaled / written.parameters[whole].offsets)
    return found
