"""The values of scalars, at one input and for all inputs of a batch."""

from collections.abc import Iterable, Mapping
from typing import overload

import jax
import jax.numpy as jnp

from ntk.programs.language.graph import Node
from ntk.programs.language.positions import common_shape
from ntk.programs.language.scalars import OPERATORS, Apply, Constant, Entry, Option, Table, Value


def applied(node: Apply, args: list[Value]) -> Value:
    """The value of a function of scalars at one input."""
    return node.fn(*args) if node.fn in OPERATORS else node.fn(*(jnp.asarray(arg) for arg in args))


@overload
def with_axes(value: jax.Array, rank: int, lead: int = 1) -> jax.Array: ...
@overload
def with_axes(value: Value, rank: int, lead: int = 1) -> Value: ...
def with_axes(value: Value, rank: int, lead: int = 1) -> Value:
    """Values (…, *P) with new first position axes, so that they broadcast against others of `rank`; a number as it is.

    Args:
        value: `lead` axes, that of the inputs say, and then position axes.
        rank: How many position axes there are to be.
        lead: How many axes are not of positions.
    """
    if jnp.ndim(value) == 0:
        return value
    return jnp.expand_dims(value, tuple(range(lead, lead + rank - (jnp.ndim(value) - lead))))


def applied_to_each(node: Apply, args: list[Value], dtype: jnp.dtype) -> Value:
    """The value of a function of scalars for each input of a batch and each position, (N, *P).

    Args:
        node: The function.
        args: Numbers, or arrays (N, *P) with the axes of each argument. N may be 1 where all inputs have one value.
        dtype: Of the arrays.

    Returns:
        (N, *P), with an axis more if the function gives several numbers; a single value if all arguments are numbers.
    """
    return _applied_to_arrays(node, args, dtype) if any(map(jnp.ndim, args)) else applied(node, args)


def _applied_to_arrays(node: Apply, args: list[Value], dtype: jnp.dtype) -> jax.Array:
    shape = common_shape([arg.shape for arg in node.args])
    rank = len(shape)
    num_inputs = max(jnp.shape(arg)[0] for arg in args if jnp.ndim(arg))
    every = []
    for arg in args:
        array = with_axes(jnp.asarray(arg, dtype), rank)
        every.append(jnp.broadcast_to(array, (num_inputs, *shape)).reshape(-1, *shape[rank - node.over :]))
    values = jax.vmap(lambda *args: jnp.asarray(applied(node, list(args))))(*every)
    return values.reshape(num_inputs, *shape[: rank - node.over], *values.shape[1:])


def applied_at_one_input(node: Apply, args: list[Value]) -> Value:
    """The value of a function of scalars where each has its own, with the position axes of each."""
    if not any(map(jnp.ndim, args)):
        return applied(node, args)
    dtype = jnp.result_type(*(arg for arg in args if jnp.ndim(arg)))
    return _applied_to_arrays(node, [jnp.expand_dims(arg, 0) if jnp.ndim(arg) else arg for arg in args], dtype)[0]


@overload
def beside_draws(value: jax.Array) -> jax.Array: ...
@overload
def beside_draws(value: Value) -> Value: ...
def beside_draws(value: Value) -> Value:
    """A scalar of each input, (N,), as a row beside draws (S, N) of vectors; anything else as it is."""
    return jnp.expand_dims(value, 0) if jnp.ndim(value) == 1 else value


def evaluated(
    nodes: Iterable[Node], options: Mapping[str, Value], known: dict[Node, Value], dtype: jnp.dtype | None
) -> dict[Node, Value]:
    """The values of scalars, numbers or arrays (*P), from those of some that are known.

    Args:
        nodes: The scalars, in an order in which they can be computed. Nodes of other kinds are passed over.
        options: The values of options by name.
        known: The values of other scalars.
        dtype: Of tables; None for that of floats.
    """
    values = dict(known)
    for node in nodes:
        match node:
            case Constant(value=value):
                values[node] = value
            case Option(name=name):
                values[node] = options[name]
            case Table(array=array):
                values[node] = jnp.asarray(array, dtype)
            case Apply(args=args):
                values[node] = applied_at_one_input(node, [values[arg] for arg in args])
            case Entry(of=of, place=place):
                values[node] = jnp.asarray(values[of])[..., place]
    return values
