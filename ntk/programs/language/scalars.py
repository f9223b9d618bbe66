"""Scalars of a program. A scalar is one number for each input, the same for all coordinates."""

import math
import operator
import sys
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from types import NotImplementedType
from typing import TYPE_CHECKING, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ntk.checks import check_nonnegative, shown
from ntk.programs.language.functions import shape_of_result
from ntk.programs.language.graph import Graph, Node, reachable, refuse_arrays_of, users_line
from ntk.programs.language.positions import Shape, common_shape

if TYPE_CHECKING:  # A vector is made of scalars, and its mean is one.
    from ntk.programs.language.vectors import Vector


class Scalar(Node):
    """A number that is the same for all coordinates, one for each input and, if it has position axes, each position."""

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return ()

    def __add__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.add, self, other)

    def __radd__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.add, other, self)

    def __sub__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.sub, self, other)

    def __rsub__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.sub, other, self)

    def __mul__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.mul, self, other)

    def __rmul__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.mul, other, self)

    def __truediv__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.truediv, self, other)

    def __rtruediv__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.truediv, other, self)

    def __pow__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.pow, self, other)

    def __rpow__(self, other: "Operand") -> "Scalar":
        return _arithmetic(operator.pow, other, self)

    def __neg__(self) -> "Scalar":
        return _arithmetic(operator.mul, -1.0, self)


Summand = TypeVar("Summand", bound=Hashable)
Number = float | Scalar  # of a program's option: what the user gives, and what the program is given
Value = int | float | np.number | np.ndarray | jax.Array  # of a scalar: one real number, or an array of them
ScalarLike = Value | Scalar  # one real number
Operand = Value | Node  # of arithmetic; a node that is not a scalar has an arithmetic of its own


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Scalar):
    """A number written in the program."""

    value: float


@dataclass(frozen=True, eq=False, repr=False)
class Option(Scalar):
    """A number that the program is given from outside, such as a standard deviation."""

    name: str


@dataclass(frozen=True, eq=False, repr=False)
class Width(Scalar):
    """n, which has no limit."""


@dataclass(frozen=True, eq=False, repr=False)
class Table(Scalar):
    """Numbers written in the program, one for each position.

    Attributes:
        entries: All of them in order.
        axes: The sizes of the position axes.
    """

    entries: tuple[float, ...]
    axes: Shape

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return self.axes

    @property
    def array(self) -> Float[np.ndarray, "*P"]:
        """The numbers as an array."""
        return np.reshape(np.array(self.entries), self.axes)


@dataclass(frozen=True, eq=False, repr=False)
class Moment(Scalar):
    """The mean of a vector over its coordinates, at each position."""

    vector: "Vector"

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of the vector."""
        return self.vector.shape


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Scalar):
    """q_i·k_j/√n for all pairs of positions. In the limit it stays random.

    Attributes:
        queries: q, of one position axis.
        keys: k, of one position axis.
        before: How many scores of the program were made before.
    """

    queries: "Vector"
    keys: "Vector"
    before: int

    @property
    def shape(self) -> Shape:
        """The number of queries and that of keys."""
        return (*self.queries.shape, *self.keys.shape)

    @property
    def columns(self) -> Int[np.ndarray, "P Q"]:
        """Where drawn values stand after the entries of an input, counted from the end."""
        size = math.prod(self.shape)
        return np.arange(size).reshape(self.shape) - self.before - size


@dataclass(frozen=True, eq=False, repr=False)
class Apply(Scalar):
    """A function of scalars. It gives a number, or several numbers, of which `Entry` takes one.

    Attributes:
        fn: The function.
        args: Its arguments.
        over: How many of the last position axes it takes at once, as axes of arrays.
        axes: The sizes of the axes of what it then returns.
    """

    fn: Callable[..., Value]
    args: tuple[Scalar, ...]
    over: int = 0
    axes: Shape = ()

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes, by NumPy's rule of broadcasting."""
        shape = common_shape([arg.shape for arg in self.args])
        return (*shape[: len(shape) - self.over], *self.axes)


@dataclass(frozen=True, eq=False, repr=False)
class Entry(Scalar):
    """One of several numbers that a function of scalars gives."""

    of: Apply
    place: int

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return self.of.shape


def as_scalar(graph: Graph, value: object, said: str = "a tensor program uses") -> Scalar:
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


def fixed_scalar(graph: Graph, value: object, said: str) -> Scalar:
    """`value` as a scalar that is the same for all inputs."""
    scalar = as_scalar(graph, value, f"{said} is")
    if any(isinstance(node, Moment) for node in reachable([scalar])):
        raise ValueError(f"{said} depends on the input; expected a number or an option.")
    return scalar


def standard_deviation(graph: Graph, value: object, said: str) -> Scalar:
    """`value` as a scalar that is one number for all inputs, and not negative where that is known."""
    scalar = fixed_scalar(graph, value, said)
    check_no_axes(said, scalar)
    if isinstance(scalar, Constant):
        check_nonnegative(said, scalar.value)
    return scalar


def check_no_axes(said: str, scalar: Scalar) -> None:
    """Refuse a scalar with position axes."""
    if scalar.shape:
        raise ValueError(f"{said} has axes {scalar.shape}; expected one number.")


def apply_to_scalars(
    graph: Graph, fn: Callable[..., Value], over: int, args: tuple[Operand, ...]
) -> Scalar | tuple[Scalar, ...]:
    """A function of numbers, or of arrays over the last `over` position axes, of these scalars.

    Raises:
        ValueError: There are fewer axes, or the function does not return one number or a vector of them.
    """
    operands = tuple(as_scalar(graph, arg) for arg in args)
    axes = common_shape([operand.shape for operand in operands])
    if len(axes) < over:
        raise ValueError(f"a function over {over} axes is applied to axes {axes}; expected as many at least.")
    taken = axes[len(axes) - over :]
    shape = shape_of_result(fn, len(operands), "a function of scalars", taken)
    if over:
        return graph.make(Apply, fn, operands, over, shape)
    if len(shape) > 1:
        raise ValueError(f"a function of scalars returns shape {shape}; expected a number or a vector of them.")
    value = graph.make(Apply, fn, operands)
    return tuple(graph.make(Entry, value, place) for place in range(shape[0])) if shape else value


def _number(fn: Callable[..., float], left: float, right: float) -> float:
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


def coefficients(graph: Graph, *weighted: tuple[Operand, Iterable[tuple[Summand, Scalar]]]) -> dict[Summand, Scalar]:
    """The coefficients, none of them 0, of a weighted sum of linear combinations, each given by its terms."""
    found: dict[Summand, Scalar] = {}
    for factor, terms in weighted:
        for summand, coefficient in terms:
            term = as_scalar(graph, factor) * coefficient
            found[summand] = found[summand] + term if summand in found else term
    return {summand: coefficient for summand, coefficient in found.items() if not is_number(coefficient, 0.0)}


def graph_of(*values: object) -> Graph:
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


def _arithmetic(fn: Callable[..., float], left: Operand, right: Operand) -> Scalar | NotImplementedType:
    """fn(left, right) of scalars, computed at once where both are numbers; NotImplemented beside another node."""
    if isinstance(right, Node) and not isinstance(right, Scalar):
        return NotImplemented
    graph = graph_of(left, right)
    operands = as_scalar(graph, left), as_scalar(graph, right)
    if all(isinstance(operand, Constant) for operand in operands):
        return as_scalar(graph, _number(fn, *(operand.value for operand in operands)))  # type: ignore[attr-defined]
    shape = common_shape([operand.shape for operand in operands])
    if fn is operator.mul and not shape and any(is_number(operand, 0.0) for operand in operands):
        return as_scalar(graph, 0.0)
    neutral = _NEUTRAL.get(fn, (None, None))
    for this, other, unit in zip(operands, operands[::-1], neutral, strict=True):
        if unit is not None and is_number(this, unit):
            return other
    return graph.make(Apply, fn, operands)


for scalar in (Constant, Option, Width, Table, Moment, Scores, Apply, Entry):
    refuse_arrays_of(scalar, "a scalar of a program", "net.scalar(function)(scalar)")
