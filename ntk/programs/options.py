"""The options of a program that are numbers, and what is computed from them."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from ntk.checks import check_nonnegative, is_concrete
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.program import Recording, TensorProgram
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Scalar, Table, Value, Width
from ntk.programs.scalar_values import evaluated


def numbers_as(program: TensorProgram, dtype: jnp.dtype) -> dict[str, jax.Array]:
    """The program's numbers in the dtype of the data, so that none of them widens it."""
    return {name: jnp.asarray(value, dtype) for name, value in program.numbers.items()}


def check_options(program: TensorProgram, recording: Recording) -> None:
    """Refuse options that make a standard deviation, or what else must not be, negative; where they are concrete."""
    if is_concrete(program.numbers):
        scalars = [(f"std of {parameter.name!r}", parameter.std) for parameter in recording.parameters.values()]
        scalars += recording.nonnegative
        scalars = [(name, scalar) for name, scalar in scalars if not _depends_on_more(scalar)]
        values = values_of_options([scalar for _, scalar in scalars], program.numbers)
        for name, scalar in scalars:
            check_nonnegative(name, values[scalar])


def _depends_on_more(scalar: Scalar) -> bool:
    """Whether it depends on the input or on the width, and not on options alone."""
    return any(isinstance(node, Moment | Width) for node in reachable([scalar]))


def values_of_options(scalars: Iterable[Scalar], numbers: Mapping[str, Value]) -> dict[Node, Value]:
    """The values of scalars that depend on options alone, and of what they are made from, at concrete options."""
    with jax.ensure_compile_time_eval():
        return evaluated(reachable(scalars), numbers, {}, None)


def fixed_scalars(recording: Recording) -> list[Scalar]:
    """The scalars that do not depend on the inputs, in the order of their making."""
    return recording.once(_fixed_scalars, recording)


def _fixed_scalars(recording: Recording) -> list[Scalar]:
    fixed: dict[Node, None] = {}
    for node in recording.nodes:
        match node:
            case Constant() | Option() | Table():
                fixed[node] = None
            case Apply(args=args) if all(arg in fixed for arg in args):
                fixed[node] = None
            case Entry(of=of) if of in fixed:
                fixed[node] = None
    return [node for node in fixed if isinstance(node, Scalar)]
