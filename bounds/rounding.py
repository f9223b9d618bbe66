"""What rounding may do to a function: it is evaluated with random errors (Monte Carlo arithmetic, Parker 1997)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

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
    keys = _Keys(key)
    leaves = [_moved(leaf, keys, units) for leaf in jax.tree.leaves(arguments)]
    return jax.tree.unflatten(jax.tree.structure(shapes), _run(program, leaves, keys, units))


class _Keys:
    """A new key at every call."""

    def __init__(self, key: jax.Array) -> None:
        self.key, self.count = key, 0

    def __call__(self) -> jax.Array:
        self.count += 1
        return jax.random.fold_in(self.key, self.count)


def _run(program: Any, inputs: list[Any], keys: _Keys, units: float) -> list[Any]:
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
            outputs = [_moved(output, keys, units) for output in evaluate(program, equation, found)]
        else:
            outputs = _run(inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, []), found, keys, units)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _moved(value: Any, keys: _Keys, units: float) -> Any:
    if value is None or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        return value
    value = jnp.asarray(value)
    step = units * float(jnp.finfo(value.dtype).eps)
    return value * (1 + step * jax.random.uniform(keys(), value.shape, value.dtype, -1, 1))
