"""The options of a program that are numbers, and what is computed from them."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from ntk.checks import check_nonnegative, is_concrete
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.program import Recording, TensorProgram
from ntk.programs.language.scalars import Apply, Constant, Entry, Option, Scalar, applied


def numbers_as(program: TensorProgram, dtype: jnp.dtype) -> dict[str, jax.Array]:
    """The program's numbers in the dtype of the data, so that none of them widens it."""
    return {name: jnp.asarray(value, dtype) for name, value in program.numbers.items()}


def check_parameter_stds(program: TensorProgram, recording: Recording) -> None:
    """Refuse options that make a standard deviation negative, where they are concrete."""
    if is_concrete(program.numbers):
        values = values_of_options([parameter.std for parameter in recording.parameters.values()], program.numbers)
        for parameter in recording.parameters.values():
            check_nonnegative(f"std of {parameter.name!r}", values[parameter.std])


def values_of_options(scalars: Iterable[Scalar], numbers: dict[str, Any]) -> dict[Node, Any]:
    """The values of scalars that depend on options alone, and of what they are made from, at concrete options."""
    values: dict[Node, Any] = {}
    with jax.ensure_compile_time_eval():
        for node in reachable(scalars):
            match node:
                case Constant(value=value):
                    values[node] = value
                case Option(name=name):
                    values[node] = numbers[name]
                case Apply():
                    values[node] = applied(node, [values[arg] for arg in node.args])
                case Entry(of=of, place=place):
                    values[node] = values[of][place]
    return values
