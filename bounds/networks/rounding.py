"""What rounding may do to a function: it is evaluated with random errors (Monte Carlo arithmetic, Parker 1997)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bounds.batches import numbers_made
from ntk.finite_width.rules.interpreter import evaluate

# Where the program of an equation that only calls another program is to be found.
_INNER_PROGRAM = {
    **{"jit": "jaxpr", "pjit": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr"},
    **{"closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"},
}


def rounded_at_random(function: Callable, arguments: tuple, key: jax.Array, units: float) -> Any:
    """`function(*arguments)`, where all numbers, given or computed, are moved by up to so many units in the last place.

    Each by its own share, uniform and independent, once, however often it is read. What comes of a loop or of branches
    is moved as a whole, and so is each product of matrices.

    Args:
        function: Of JAX, pure.
        arguments: Pytrees.
        key: A PRNG key.
        units: Of the machine's precision ε, relative to each number.
    """
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    leaves = jax.tree.leaves(arguments)
    count = sum(map(jnp.size, leaves)) + numbers_made(function, *arguments)
    errors = _Errors(jax.random.uniform(key, (count,), jnp.float32, -units, units))
    outputs = _run(program, [errors.added(leaf) for leaf in leaves], errors)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


class _Errors:
    """Independent errors in units of the last place, drawn at once, of which each is used once."""

    def __init__(self, drawn: jax.Array) -> None:
        self.drawn, self.used = drawn, 0

    def added(self, value: Any) -> Any:
        """The value with errors relative to its numbers, if it is floating-point."""
        if value is None or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            return value
        value = jnp.asarray(value)
        first, self.used = self.used, self.used + value.size
        errors = self.drawn[first : self.used].reshape(value.shape).astype(value.dtype)
        return value * (1 + float(jnp.finfo(value.dtype).eps) * errors)


def _run(program: Any, inputs: list[Any], errors: _Errors) -> list[Any]:
    from jax.extend.core import ClosedJaxpr, Literal

    jaxpr = program.jaxpr
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *inputs], strict=True))

    def read(atom: Any) -> Any:
        if not isinstance(atom, Literal):
            return values[atom]
        aval: Any = atom.aval
        return jnp.asarray(atom.val, aval.dtype)

    for equation in jaxpr.eqns:
        found = [read(atom) for atom in equation.invars]
        inner = equation.params.get(_INNER_PROGRAM.get(equation.primitive.name, ""))
        if inner is None:
            outputs = [errors.added(output) for output in evaluate(program, equation, found)]
        else:
            outputs = _run(inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, []), found, errors)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
