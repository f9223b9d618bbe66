"""What `net` hands out to a program: parameters and functions."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ntk.caches.rebinding import as_of_now
from ntk.checks import check_count, check_nonnegative, shown
from ntk.duals import Activation, activation, check_breakpoints
from ntk.programs.language.graph import Graph, Line, reachable, users_line
from ntk.programs.language.inputs import entries_of
from ntk.programs.language.outputs import OutputWeight
from ntk.programs.language.scalars import (
    Apply,
    Constant,
    Entry,
    Moment,
    Option,
    Scalar,
    ScalarLike,
    Width,
    as_scalar,
    coordinatewise,
    promoting,
    shape_of_result,
)
from ntk.programs.language.vectors import (
    Bias,
    Embed,
    Function,
    MatMul,
    Parameter,
    Tap,
    Vector,
    as_vector,
    combination,
    single,
)


class Net:
    """Parameters and functions for a program to use; the first argument of a `tensor_program`.

    A name stands for one parameter, however often the program asks for it. Vectors take + − * / ** with each other,
    with numbers and with scalars. `vector.mean()` is a scalar and `vector.batch_mean()` a vector.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.prefix = ""
        self.parameters: dict[str, Parameter] = {}
        self.watched: dict[str, tuple[Tap, Vector]] = {}
        self.needs: list[BatchNeed] = []
        self.nonnegative: list[tuple[str, Scalar]] = []

    def scope(self, name: str) -> "Net":
        """The same net under a prefix: its parameter and its watched vector "w" are "name/w" here.

        Args:
            name: The prefix.
        """
        scoped = copy.copy(self)
        scoped.prefix = f"{self.prefix}{_checked(name)}/"
        return scoped

    def matrix(self, name: str, std: ScalarLike = 1.0) -> "Matrix":
        """(σ/√n) W with W (n, n), for `W @ vector` and `W.T @ vector`.

        Args:
            name: Of W.
            std: σ.
        """
        return Matrix(self.parameter(name, "matrix", std))

    def input_matrix(self, name: str, std: ScalarLike = 1.0) -> "InputMatrix":
        """(σ/√d) U with U (n, d), for `U @ x` of d entries of the input.

        Args:
            name: Of U.
            std: σ.
        """
        return InputMatrix(self, _checked(name), self._std(name, std))

    def bias(self, name: str, std: ScalarLike = 1.0) -> Vector:
        """The vector σ b.

        Args:
            name: Of b.
            std: σ.
        """
        return single(self.graph.make(Bias, self.parameter(name, "bias", std)))

    def output(self, name: str, std: ScalarLike = 1.0, mean: ScalarLike = 0.0) -> OutputWeight:
        """(1/√m)(σ v + μ), for an output `v @ vector` (m = n) or `v @ x` of d entries of the input (m = d).

        Args:
            name: Of v.
            std: σ.
            mean: μ. The output has a limit only where it is 0.
        """
        weight = self.graph.make(Bias, self.parameter(name, "output", std, mean))
        return single(weight, OutputWeight)  # type: ignore[return-value]

    def phi(self, name_or_function: Any, *, breakpoints: tuple[float, ...] = (0.0,)) -> Function:
        """A coordinate-wise function of vectors and scalars.

        Args:
            name_or_function: A name of `ntk.activation`, an `Activation`, or a JAX function of numbers.
            breakpoints: Where a function of a single vector bends or jumps, as in `ntk.activation`.

        Raises:
            TypeError: The function is neither a name nor a function.
            ValueError: The name is unknown, or `breakpoints` is not a tuple of numbers.
        """
        if isinstance(name_or_function, str | Activation) or not callable(name_or_function):
            named = activation(name_or_function, breakpoints=breakpoints)
            return Function(named.fn, (0.0,), named)
        points = check_breakpoints(breakpoints)
        return Function(as_of_now(name_or_function, coordinatewise), points)

    def scalar(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A JAX function of numbers, to be applied to scalars of the program.

        Args:
            fn: It returns a number, for one scalar, or an array (k,), for a tuple of k scalars, as a softmax does.

        Raises:
            TypeError: `fn` is not a function.
        """
        if not callable(fn):
            raise TypeError(f"fn is {shown(fn)}; expected a function of numbers.")
        fn = as_of_now(fn, promoting)

        def applied(*args: Any) -> Any:
            operands = tuple(as_scalar(self.graph, arg) for arg in args)
            shape = shape_of_result(fn, len(operands), "a function of scalars")
            if len(shape) > 1:
                raise ValueError(f"a function of scalars returns shape {shape}; expected a number or a vector of them.")
            value = self.graph.make(Apply, fn, operands)
            return tuple(self.graph.make(Entry, value, place) for place in range(shape[0])) if shape else value

        return applied

    def zero(self) -> Vector:
        """The vector of zeros."""
        return combination(self.graph)

    def one(self) -> Vector:
        """The vector of ones."""
        return as_vector(self.graph, 1.0)

    def option(self, name: str) -> Scalar:
        """A number that the program is given from outside.

        Args:
            name: Of the option.
        """
        return self.graph.make(Option, _checked(name))

    @property
    def width(self) -> Scalar:
        """n. What depends on it has no limit that the theory covers, and is for finite networks alone."""
        return self.graph.make(Width)

    def needs_batch(self, rank: int, unless: ScalarLike = 0.0) -> None:
        """Refuse batches of which the inputs, less their mean, span too few dimensions.

        Args:
            rank: How many dimensions they must span.
            unless: A scalar. Where it is positive nothing is refused.
        """
        check_count("rank", rank)
        self.needs.append(BatchNeed(rank, as_scalar(self.graph, unless, "unless is"), users_line()))

    def needs_nonnegative(self, name: str, value: ScalarLike) -> Scalar:
        """The value as a scalar; refused where it is negative, once the options that it depends on are known.

        Args:
            name: What messages call it.
            value: A number or a scalar. A scalar that depends on the input or the width is not looked at.
        """
        scalar = as_scalar(self.graph, value, f"{_checked(name)} is")
        self.nonnegative.append((name, scalar))
        return scalar

    def watch(self, name: str, vector: Vector) -> Vector:
        """The same vector. The kernels report its second moments C, and those of the gradient there, D, by the name.

        Args:
            name: One that no other vector has.
            vector: The vector to use from here on is the one returned.
        """
        name = self.prefix + _checked(name)
        if not isinstance(vector, Vector):
            raise TypeError(f"watch is given the vector {shown(vector)}; expected a vector of the program.")
        if name in self.watched:
            raise ValueError(f"watch is given the name {name!r} twice; expected a name of its own for each vector.")
        tap = self.graph.make(Tap, name)
        self.watched[name] = tap, vector
        return vector + single(tap)

    def parameter(
        self, name: str, kind: str, std: ScalarLike, mean: ScalarLike = 0.0, fan_in: int | None = None
    ) -> Parameter:
        """The parameter of that name, which must not be another one already."""
        name, std = self.prefix + _checked(name), self._std(name, std)
        shift = as_scalar(self.graph, mean, f"mean of {name!r} is")
        if any(isinstance(node, Moment) for node in reachable([shift])):
            raise ValueError(f"mean of {name!r} depends on the input; expected a number or an option.")
        parameter = self.graph.make(Parameter, name, kind, std, shift, fan_in)
        first = self.parameters.setdefault(name, parameter)
        if first is not parameter:
            raise ValueError(
                f"parameter {name!r} is asked for as a different one at {parameter.line}; expected the same kind, std"
                f" and number of inputs as at {first.line}."
            )
        return parameter

    def _std(self, name: str, std: ScalarLike) -> Scalar:
        """A standard deviation, which must be the same for all inputs."""
        said = f"std of {self.prefix + name!r}"
        scalar = as_scalar(self.graph, std, f"{said} is")
        if any(isinstance(node, Moment) for node in reachable([scalar])):
            raise ValueError(f"{said} depends on the input; expected a number or an option.")
        if isinstance(scalar, Constant):
            check_nonnegative(said, scalar.value)
        return scalar


def _checked(name: str) -> str:
    """A name of a parameter, of a vector or of a scope."""
    if not isinstance(name, str):
        raise TypeError(f"name is {shown(name)}; expected a string.")
    return name


class BatchNeed(NamedTuple):
    """The number of dimensions that the inputs of a batch, less their mean, must span, unless a scalar is positive."""

    rank: int
    unless: Scalar
    line: Line


@dataclass(frozen=True)
class Matrix:
    """(σ/√n) W, or its transpose."""

    parameter: Parameter
    transposed: bool = False

    @property
    def T(self) -> "Matrix":
        """The transpose, the same parameter."""
        return Matrix(self.parameter, not self.transposed)

    def __matmul__(self, vector: Any) -> Vector:
        graph = self.parameter.graph
        vector = as_vector(graph, vector)
        if not vector.terms:
            return vector
        return single(graph.make(MatMul, self.parameter, self.transposed, vector))


@dataclass(frozen=True)
class InputMatrix:
    """(σ/√d) U, to be applied to entries of the input."""

    net: Net
    name: str
    std: Scalar

    def __matmul__(self, x: Any) -> Vector:
        entries = entries_of(x, f"input matrix {self.name!r}")
        parameter = self.net.parameter(self.name, "input_matrix", self.std, fan_in=len(entries))
        return single(self.net.graph.make(Embed, parameter, entries))
