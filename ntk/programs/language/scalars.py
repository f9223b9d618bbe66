"""Scalars of a program. A scalar is one number for each input, the same for all coordinates."""

import functools
import math
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntk.calls import of_user
from ntk.checks import shown
from ntk.programs.language.graph import Graph, Node, refuse_arrays_of, users_line


class Scalar(Node):
    """A number that is the same for all coordinates, one for each input."""

    def __add__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.add, self, other)

    def __radd__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.add, other, self)

    def __sub__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.sub, self, other)

    def __rsub__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.sub, other, self)

    def __mul__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.mul, self, other)

    def __rmul__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.mul, other, self)

    def __truediv__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.truediv, other, self)

    def __pow__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.pow, self, other)

    def __rpow__(self, other: Any) -> "Scalar":
        return _arithmetic(operator.pow, other, self)

    def __neg__(self) -> "Scalar":
        return _arithmetic(operator.mul, -1.0, self)


Number = float | Scalar  # of a program's option: what the user gives, and what the program is given
ScalarLike = int | float | np.number | np.ndarray | jax.Array | Scalar  # one real number


@dataclass(frozen=True, eq=False)
class Constant(Scalar):
    """A number written in the program."""

    value: float


@dataclass(frozen=True, eq=False)
class Option(Scalar):
    """A number that the program is given from outside, such as a standard deviation."""

    name: str


@dataclass(frozen=True, eq=False)
class Width(Scalar):
    """n, which has no limit."""


@dataclass(frozen=True, eq=False)
class Moment(Scalar):
    """The mean of a vector over its coordinates."""

    vector: Any


@dataclass(frozen=True, eq=False)
class Apply(Scalar):
    """A function of scalars. It gives a number, or several numbers, of which `Entry` takes one."""

    fn: Callable[..., Any]
    args: tuple[Scalar, ...]


@dataclass(frozen=True, eq=False)
class Entry(Scalar):
    """One of several numbers that a function of scalars gives."""

    of: Apply
    place: int


def as_scalar(graph: Graph, value: Any, said: str = "a tensor program uses") -> Scalar:
    """`value`, or the constant of that number. A refusal of anything else begins with `said`."""
    if isinstance(value, Scalar):
        return value
    if isinstance(value, jax.core.Tracer):
        raise TypeError(f"{said} a traced array; expected it among the program's options.")
    if isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray | jax.Array):
        raise TypeError(f"{said} {shown(value)}; expected its own vectors and scalars, or a real number.")
    dtype = getattr(value, "dtype", float)
    if np.shape(value) != () or not any(jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.floating)):
        raise ValueError(f"{said} an array of shape {np.shape(value)} and dtype {dtype}; expected one real number.")
    if (isinstance(value, int) and abs(value) > sys.float_info.max) or value != value:
        raise ValueError(f"{said} {shown(value)}; expected a number that is not NaN and has a float.")
    return graph.make(Constant, float(value))


def promoting(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function with JAX's usual promotions, also where the user has JAX refuse them."""

    @functools.wraps(fn)
    def promoted(*args: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return fn(*args)

    return promoted


def coordinatewise(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers as one of arrays, with JAX's usual promotions."""
    return jnp.vectorize(promoting(fn))


def shape_of_result(fn: Callable[..., Any], count: int, name: str) -> tuple[int, ...]:
    """The shape of what a function returns for so many numbers; refused where it cannot be applied to them."""
    numbers = f"{count} number{'s' * (count != 1)}"
    result = of_user(f"{name} of {numbers}", f"a function of {numbers}", jax.eval_shape, fn, *[jnp.zeros(())] * count)
    if not isinstance(result, jax.ShapeDtypeStruct):
        raise TypeError(f"{name} returns {shown(result)}; expected an array.")
    return result.shape


def _number(fn: Callable[..., Any], left: float, right: float) -> float:
    try:
        value = fn(left, right)
    except ArithmeticError:
        value = math.nan
    if isinstance(value, complex) or not math.isfinite(value):
        raise ValueError(
            f"a tensor program computes {fn.__name__}({left}, {right}) at {users_line()}; expected a number."
        )
    return value


def is_number(scalar: Scalar, value: float) -> bool:
    """Whether the scalar is that constant."""
    return isinstance(scalar, Constant) and scalar.value == value


def graph_of(*values: Any) -> Graph:
    """The graph that the nodes among `values` belong to."""
    graphs = {value.graph for value in values if isinstance(value, Node)}
    if len(graphs) != 1:
        raise ValueError(f"values of {len(graphs)} tensor programs meet; expected those of one.")
    return graphs.pop()


OPERATORS = (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow)
# By operator, the numbers that change nothing on the left and on the right.
_NEUTRAL = {
    operator.add: (0.0, 0.0),
    operator.sub: (None, 0.0),
    operator.mul: (1.0, 1.0),
    operator.truediv: (None, 1.0),
}


def _arithmetic(fn: Callable[..., Any], left: Any, right: Any) -> Any:
    """fn(left, right) of scalars, computed at once where both are numbers."""
    if isinstance(right, Node) and not isinstance(right, Scalar):
        return NotImplemented
    graph = graph_of(left, right)
    operands = as_scalar(graph, left), as_scalar(graph, right)
    if all(isinstance(operand, Constant) for operand in operands):
        return as_scalar(graph, _number(fn, *(operand.value for operand in operands)))  # type: ignore[attr-defined]
    if fn is operator.mul and any(is_number(operand, 0.0) for operand in operands):
        return as_scalar(graph, 0.0)
    neutral = _NEUTRAL.get(fn, (None, None))
    for this, other, unit in zip(operands, operands[::-1], neutral, strict=True):
        if unit is not None and is_number(this, unit):
            return other
    return graph.make(Apply, fn, operands)


def applied(node: Apply, args: list[Any]) -> Any:
    """The value of a function of scalars at one input."""
    return node.fn(*args) if node.fn in OPERATORS else node.fn(*(jnp.asarray(arg) for arg in args))


def applied_to_each(node: Apply, args: list[Any], x: Float[Array, "N F"]) -> Any:
    """The value of a function of scalars for each input of a batch; a single one if all arguments are numbers."""
    if all(jnp.ndim(arg) == 0 for arg in args):
        return applied(node, args)
    every = [jnp.broadcast_to(jnp.asarray(arg, x.dtype), (len(x),)) for arg in args]
    return jax.vmap(lambda *args: applied(node, list(args)))(*every)


def beside_draws(value: Any) -> Any:
    """A scalar of each input, (N,), as a row beside draws (S, N) of vectors; anything else as it is."""
    return jnp.expand_dims(value, 0) if jnp.ndim(value) == 1 else value


for scalar in (Constant, Option, Width, Moment, Apply, Entry):
    refuse_arrays_of(scalar, "a scalar of a program", "net.scalar(function)(scalar)")
