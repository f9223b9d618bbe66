"""The effect of rounding on a function, by evaluating it with random errors (Monte Carlo arithmetic, Parker 1997)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bounds.arrays import epsilon
from bounds.batches import numbers_made
from ntk.jaxprs import WRAPPERS, Program, evaluate, initial_values, inner_programs, read_atom

# Equations whose values are those of one program inside them.
_CALLS = (*WRAPPERS, "custom_jvp_call", "custom_vjp_call")


def rounded_at_random(function: Callable[..., Any], arguments: tuple[Any, ...], key: jax.Array, units: float) -> Any:
    """`function(*arguments)`, where every number, given or computed, is moved by up to `units` units in the last place.

    The moves are uniform and independent. A number is moved once, however often it is read. The results of a loop, of
    branches and of a product of matrices are moved when they are complete.

    Args:
        function: A pure function of JAX.
        arguments: Its arguments, pytrees.
        key: A PRNG key for the moves.
        units: The largest move, in units of the machine's precision ε relative to each number.
    """
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    leaves = jax.tree.leaves(arguments)
    count = sum(map(jnp.size, leaves)) + numbers_made(function, *arguments)
    errors = _Errors(jax.random.uniform(key, (count,), jnp.float32, -units, units))
    outputs = _run(program, [errors.added(leaf) for leaf in leaves], errors)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


class _Errors:
    """Independent errors in units of the last place. They are drawn at once, and each is used once."""

    def __init__(self, drawn: jax.Array) -> None:
        self.drawn, self.used = drawn, 0

    def added(self, value: Any) -> Any:
        """The value with errors relative to its numbers, if it is floating-point."""
        if value is None or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            return value
        value = jnp.asarray(value)
        first, self.used = self.used, self.used + value.size
        errors = self.drawn[first : self.used].reshape(value.shape).astype(value.dtype)
        return value * (1 + epsilon(value.dtype) * errors)


def _run(program: Program, inputs: list[Any], errors: _Errors) -> list[Any]:
    """The outputs of a program, with errors added to the results of its equations."""
    values = initial_values(program, inputs)
    for equation in program.jaxpr.eqns:
        found = [read_atom(atom, values) for atom in equation.invars]
        if equation.primitive.name in _CALLS:
            outputs = _run(inner_programs(equation)[0], found, errors)
        else:
            outputs = [errors.added(output) for output in evaluate(program, equation, found)]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read_atom(atom, values) for atom in program.jaxpr.outvars]
