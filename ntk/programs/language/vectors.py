"""Vectors of n coordinates, as linear combinations of atoms (theory.md 3.1).

A vector may have position axes, such as the steps of a sequence or the pixels of an image. It is a field then, with n
coordinates at each position.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from jaxtyping import Array

from ntk.checks import shown
from ntk.duals import Activation
from ntk.programs.language.atoms import Atom, BatchMean, Mixed, Moved, Nonlin, One, Rearranged, Transposed
from ntk.programs.language.functions import shape_of_result
from ntk.programs.language.graph import Graph, Node, refuse_arrays_of
from ntk.programs.language.positions import (
    AxisMap,
    Index,
    Pad,
    Shape,
    axis_order,
    common_shape,
    indexed,
    padding,
    pooling,
    stretched,
)
from ntk.programs.language.scalars import (
    Constant,
    Moment,
    Operand,
    Scalar,
    as_scalar,
    coefficients,
    graph_of,
    is_number,
)


@dataclass(frozen=True, eq=False, repr=False)
class Vector(Node):
    """n coordinates, at each position: a linear combination of atoms in order, without those of coefficient 0.

    Attributes:
        terms: Atoms with the position axes of the vector, and their coefficients.
        shape: The sizes of its position axes. It is () for a vector without.
    """

    terms: tuple[tuple[Atom, Scalar], ...]
    shape: Shape

    def mean(self) -> Scalar:
        """The mean over coordinates, a scalar: (1/n) Σ_α x_α."""
        return self.graph.make(Moment, self)

    def batch_mean(self) -> "Vector":
        """The mean over all inputs of the batch, coordinate by coordinate."""
        return single(self.graph.make(BatchMean, self)) if self.terms else self

    def __getitem__(self, index: Index) -> "Vector":
        """The field at some positions.

        Args:
            index: Integers, slices, None and Ellipsis, as NumPy takes them.

        Raises:
            TypeError: There is another kind of index.
            ValueError: There are too many, or one leads to no position.
        """
        return moved(self, *indexed(self.shape, index))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"a vector without position axes has no length ({self.line}).")
        return self.shape[0]

    def __iter__(self) -> Iterator["Vector"]:
        return (self[place] for place in range(len(self)))

    def transposed(self, *order: int) -> "Vector":
        """The field with its position axes in another order, as `numpy.transpose`.

        Args:
            *order: The axes in their new order; all in reverse if there are none.

        Raises:
            ValueError: These are not all axes once.
        """
        order = axis_order(self.shape, order)
        if order == tuple(range(len(order))):
            return self
        return rearranged(self, tuple(self.shape[axis] for axis in order), Transposed, order)

    def padded(self, *widths: tuple[int, int] | tuple[int, int, int]) -> "Vector":
        """The field between positions of zeros.

        With s − 1 zeros between each two positions a "valid" convolution is a transposed one of stride s.

        Args:
            *widths: For each position axis, the numbers of zeros before and after, and between each two positions (0 if
                it is left out), as in `jax.lax.pad`.

        Raises:
            ValueError: These are not two or three counts for each axis.
        """
        return moved(self, *padding(self.shape, widths))

    def pooled(self, *windows: int, strides: tuple[int, ...] | None = None) -> "Vector":
        """The means over windows of positions, or over all positions. Windows that are not full are left out.

        Args:
            *windows: The size of the windows along each position axis. Without any, the mean is over all positions.
            strides: How far the next window is, along each axis; None for windows side by side.

        Raises:
            ValueError: These are not positive integers, one for each axis, or a window does not fit.
        """
        return moved(self, *pooling(self.shape, windows, windows if strides is None else strides))

    def __rmatmul__(self, weights: Scalar) -> "Vector":
        """Σ_q w_pq z_q over the last position axis, for scalars with axes (…, p, q)."""
        if not isinstance(weights, Scalar):
            return NotImplemented
        if len(weights.shape) < 2 or not self.shape or weights.shape[-1] != self.shape[-1]:
            raise ValueError(
                f"scalars with axes {weights.shape} are multiplied with a field with axes {self.shape}; expected"
                " (…, p, q) and (…, q)."
            )
        lead = common_shape([weights.shape[:-2], self.shape[:-1]])
        z = broadcast(self, (*lead, self.shape[-1]))
        terms = [(self.graph.make(Mixed, weights, part), factor) for part, factor in _summands(z)]
        return _linear(self.graph, terms, (*lead, weights.shape[-2]))

    def __add__(self, other: Operand) -> "Vector":
        return combination(self.graph, (1.0, self), (1.0, other))

    __radd__ = __add__

    def __sub__(self, other: Operand) -> "Vector":
        return combination(self.graph, (1.0, self), (-1.0, other))

    def __rsub__(self, other: Operand) -> "Vector":
        return combination(self.graph, (1.0, other), (-1.0, self))

    def __neg__(self) -> "Vector":
        return combination(self.graph, (-1.0, self))

    def __mul__(self, other: Operand) -> "Vector":
        if not isinstance(other, Vector):
            return combination(self.graph, (other, self))
        if not (self.terms and other.terms):
            return zeros(self.graph, common_shape([self.shape, other.shape]))
        return PRODUCT(*sorted((self, other), key=lambda vector: vector.index))

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> "Vector":
        if not isinstance(other, Vector):
            return combination(self.graph, (1.0 / as_scalar(self.graph, other), self))
        return QUOTIENT(self, other) if self.terms else broadcast(self, common_shape([self.shape, other.shape]))

    def __rtruediv__(self, other: Operand) -> "Vector":
        return as_vector(self.graph, other) / self

    def __pow__(self, exponent: Operand) -> "Vector":
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

    def __rpow__(self, base: Operand) -> "Vector":
        return _POWER(as_scalar(self.graph, base), self)


@dataclass(frozen=True)
class Function:
    """A coordinate-wise function of vectors and scalars. `Net.phi` makes it.

    Attributes:
        fn: The function of arrays.
        breakpoints: Where a function of a single vector bends or jumps.
        activation: The function with its dual maps, if it was given by name or as an `Activation`.
    """

    fn: Callable[..., Array]
    breakpoints: tuple[float, ...] = (0.0,)
    activation: Activation | None = None

    @property
    def name(self) -> str:
        """The name that messages use."""
        return self.activation.name if self.activation else getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(self, *args: Operand) -> "Vector":
        """The vector of the function's values at the coordinates of the arguments.

        Args:
            *args: Vectors, at least one, and scalars.

        Raises:
            TypeError: No argument is a vector, or one is neither a vector nor a scalar.
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
        shape = common_shape([operand.shape for operand in operands])
        operands = tuple(broadcast(arg, shape) if isinstance(arg, Vector) else arg for arg in operands)
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


def combination(graph: Graph, *weighted: tuple[Operand, Operand]) -> Vector:
    """Σ c·z of pairs (c, z), where c is a scalar or a number. If z is one too, it stands for a constant vector."""
    pairs = [(as_scalar(graph, factor), as_vector(graph, summand)) for factor, summand in weighted]
    shape = common_shape([part.shape for pair in pairs for part in pair])
    found = coefficients(graph, *((factor, broadcast(summand, shape).terms) for factor, summand in pairs))
    return _linear(graph, found.items(), shape)


def zeros(graph: Graph, shape: Shape = ()) -> Vector:
    """The vector of zeros, at each position."""
    return graph.make(Vector, (), shape)


def moved(vector: Vector, *maps: AxisMap) -> Vector:
    """The field after linear maps of its positions, one after another. Each acts on every term by itself."""
    for move in maps:
        vector = rearranged(vector, move.shape(vector.shape), Moved, move, keeps_ones=not isinstance(move, Pad))
    return vector


def rearranged(vector: Vector, shape: Shape, kind: type[Rearranged], how: object, keeps_ones: bool = True) -> Vector:
    """The field after a linear map of its positions, which has position axes of these sizes."""
    graph, terms = vector.graph, []
    for part, factor in _summands(vector):
        ((atom, within),) = part.terms
        stays_one = keeps_ones and isinstance(atom, One) and not within.shape
        terms.append((graph.make(One, shape) if stays_one else graph.make(kind, how, part), factor))
    return _linear(graph, terms, shape)


def _summands(vector: Vector) -> list[tuple[Vector, Scalar]]:
    """Vectors of one atom each and their coefficients. One that differs between positions stays with its atom."""
    one = as_scalar(vector.graph, 1.0)
    return [
        (vector.graph.make(Vector, (term,), vector.shape), one) if term[1].shape else (single(term[0]), term[1])
        for term in vector.terms
    ]


def _linear(graph: Graph, terms: Iterable[tuple[Atom, Scalar]], shape: Shape) -> Vector:
    """The linear combination of different atoms."""
    return graph.make(Vector, tuple(sorted(terms, key=lambda term: term[0].index)), shape)


def broadcast(vector: Vector, shape: Shape) -> Vector:
    """The field with more position axes, by NumPy's rule of broadcasting."""
    return vector if vector.shape == shape else moved(vector, *stretched(vector.shape, shape))


def as_vector(graph: Graph, value: object) -> Vector:
    """`value`, or the constant vector of that number or scalar."""
    if isinstance(value, Vector):
        return value
    factor = as_scalar(graph, value)
    terms = () if is_number(factor, 0.0) else ((graph.make(One, factor.shape), factor),)
    return graph.make(Vector, terms, factor.shape)


def single(atom: Atom, kind: type[Vector] = Vector) -> Vector:
    """The vector that is that atom."""
    return atom.graph.make(kind, ((atom, as_scalar(atom.graph, 1.0)),), atom.shape)


refuse_arrays_of(Vector, "a vector of a program", "net.phi(function)(vector)")
