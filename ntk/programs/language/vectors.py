"""Vectors of n coordinates, as linear combinations of atoms (theory.md 3.1).

An atom is the vector of ones, a Gaussian vector or a coordinate-wise function of vectors. A matrix, an embedding and a
bias give Gaussian vectors.
"""

import functools
import operator
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from ntk.checks import shown
from ntk.duals import Activation
from ntk.programs.language.graph import Graph, Node, refuse_arrays_of
from ntk.programs.language.scalars import (
    Constant,
    Moment,
    Scalar,
    as_scalar,
    graph_of,
    is_number,
    shape_of_result,
)

Summand = TypeVar("Summand", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Parameter(Node):
    """A trained parameter, of which all entries are N(0, 1) before they are scaled.

    Attributes:
        name: Its key in `params`.
        kind: "matrix", "input_matrix", "bias" or "output".
        std: σ.
        mean: μ of an output weight. The limit exists only where it is 0.
        fan_in: d of an input matrix, and of an output weight that reads d entries of the input. None for all others.
    """

    name: str
    kind: str
    std: Scalar
    mean: Scalar
    fan_in: int | None


class Atom(Node):
    """A vector that is not a linear combination of others."""


class One(Atom):
    """The vector of ones."""


class Gaussian(Atom):
    """A vector of coordinates that become Gaussian. Given what they read, vectors of two families are independent."""

    parameter: Parameter  # of all but taps

    @property
    def family(self) -> Any:
        """What all Gaussian vectors share that are correlated: the matrix, its transpose, or the bias."""
        return getattr(self, "parameter", self), getattr(self, "transposed", False)


@dataclass(frozen=True, eq=False)
class MatMul(Gaussian):
    """(σ/√n) W z, or (σ/√n) Wᵀz."""

    parameter: Parameter
    transposed: bool
    vector: "Vector"


@dataclass(frozen=True, eq=False)
class Embed(Gaussian):
    """(σ/√d) U ξ for d entries ξ of the input, by their places in it."""

    parameter: Parameter
    entries: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Bias(Gaussian):
    """σ b of a bias, or σ v of an output weight that is used as a vector."""

    parameter: Parameter


@dataclass(frozen=True, eq=False)
class Tap(Gaussian):
    """Zero. It is added to a watched vector, so that the gradient there can be taken."""

    name: str


@dataclass(frozen=True, eq=False)
class Nonlin(Atom):
    """A coordinate-wise function of vectors and scalars."""

    function: "Function"
    args: "tuple[Vector | Scalar, ...]"


@dataclass(frozen=True, eq=False)
class BatchMean(Atom):
    """The mean of a vector over all inputs of the batch, coordinate by coordinate."""

    vector: "Vector"


@dataclass(frozen=True, eq=False)
class Vector(Node):
    """n coordinates: a linear combination of atoms in order, without those of coefficient 0."""

    terms: tuple[tuple[Atom, Scalar], ...]

    def mean(self) -> Scalar:
        """The mean over coordinates, a scalar: (1/n) Σ_α x_α."""
        return self.graph.make(Moment, self)

    def batch_mean(self) -> "Vector":
        """The mean over all inputs of the batch, coordinate by coordinate."""
        return single(self.graph.make(BatchMean, self)) if self.terms else self

    def __add__(self, other: Any) -> "Vector":
        return combination(self.graph, (1.0, self), (1.0, other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Vector":
        return combination(self.graph, (1.0, self), (-1.0, other))

    def __rsub__(self, other: Any) -> "Vector":
        return combination(self.graph, (1.0, other), (-1.0, self))

    def __neg__(self) -> "Vector":
        return combination(self.graph, (-1.0, self))

    def __mul__(self, other: Any) -> "Vector":
        if not isinstance(other, Vector):
            return combination(self.graph, (other, self))
        if not (self.terms and other.terms):
            return combination(self.graph)
        return PRODUCT(*sorted((self, other), key=lambda vector: vector.index))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Vector":
        if not isinstance(other, Vector):
            return combination(self.graph, (1.0 / as_scalar(self.graph, other), self))
        return QUOTIENT(self, other) if self.terms else self

    def __rtruediv__(self, other: Any) -> "Vector":
        return as_vector(self.graph, other) / self

    def __pow__(self, exponent: Any) -> "Vector":
        if isinstance(exponent, Vector):
            return _POWER(self, exponent)
        exponent = as_scalar(self.graph, exponent)
        if is_number(exponent, 1.0):
            return self
        if is_number(exponent, 2.0):
            return self * self
        if isinstance(exponent, Constant) and exponent.value < 0:
            return (1.0 / self) ** -exponent
        return _power(exponent.value)(self) if isinstance(exponent, Constant) else _POWER(self, exponent)

    def __rpow__(self, base: Any) -> "Vector":
        return _POWER(as_scalar(self.graph, base), self)


@dataclass(frozen=True)
class Function:
    """A coordinate-wise function of vectors and scalars. `Net.phi` makes it.

    Attributes:
        fn: The function of arrays.
        breakpoints: Where a function of a single vector bends or jumps.
        activation: The function with its dual maps, if it was given by name or as an `Activation`.
    """

    fn: Callable[..., Any]
    breakpoints: tuple[float, ...] = (0.0,)
    activation: Activation | None = None

    @property
    def name(self) -> str:
        """The name that messages use."""
        return self.activation.name if self.activation else getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(self, *args: Any) -> "Vector":
        """The vector of the function's values at the coordinates of the arguments.

        Args:
            *args: Vectors, at least one, and scalars.

        Raises:
            TypeError: There is no vector, or an argument is neither a vector nor a scalar.
            ValueError: The function does not take so many numbers, or does not return a number.
        """
        if not any(isinstance(arg, Vector) for arg in args):
            given = ", ".join(map(shown, args)) or "nothing"
            raise TypeError(
                f"a function of a tensor program, {self.name}, is applied to {given}; expected one vector at least, or"
                " net.scalar for scalars."
            )
        graph = graph_of(*args)
        operands = tuple(arg if isinstance(arg, Vector) else as_scalar(graph, arg) for arg in args)
        graph.once(_check_coordinatewise, self, len(args))
        return single(graph.make(Nonlin, self, operands))


PRODUCT = Function(operator.mul)
QUOTIENT = Function(operator.truediv)
_POWER = Function(operator.pow)


def _check_coordinatewise(function: Function, count: int) -> None:
    """Refuse a function that is not one of so many numbers."""
    shape = shape_of_result(function.fn, count, function.name)
    if shape:
        raise ValueError(f"{function.name} gives an array of shape {shape} at one coordinate; expected a number.")


@functools.cache
def _power(exponent: float) -> Function:
    return Function(lambda x: x**exponent)


def combination(graph: Graph, *weighted: tuple[Any, Any]) -> Vector:
    """Σ c·z of pairs (c, z), where c is a scalar or a number. If z is one too, it stands for a constant vector."""
    found = coefficients(graph, *((factor, as_vector(graph, summand).terms) for factor, summand in weighted))
    return graph.make(Vector, tuple(sorted(found.items(), key=lambda term: term[0].index)))


def coefficients(graph: Graph, *weighted: tuple[Any, Iterable[tuple[Summand, Scalar]]]) -> dict[Summand, Scalar]:
    """The coefficients, none of them 0, of a weighted sum of linear combinations, each given by its terms."""
    found: dict[Summand, Scalar] = {}
    for factor, terms in weighted:
        for summand, coefficient in terms:
            term = as_scalar(graph, factor) * coefficient
            found[summand] = found[summand] + term if summand in found else term
    return {summand: coefficient for summand, coefficient in found.items() if not is_number(coefficient, 0.0)}


def as_vector(graph: Graph, value: Any) -> Vector:
    """`value`, or the constant vector of that number or scalar."""
    if isinstance(value, Vector):
        return value
    factor = as_scalar(graph, value)
    return graph.make(Vector, () if is_number(factor, 0.0) else ((graph.make(One), factor),))


def single(atom: Atom, kind: type[Vector] = Vector) -> Vector:
    """The vector that is that atom."""
    return atom.graph.make(kind, ((atom, as_scalar(atom.graph, 1.0)),))


refuse_arrays_of(Vector, "a vector of a program", "net.phi(function)(vector)")
