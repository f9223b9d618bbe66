"""The notation of tensor programs: what `net` hands out, and what an input and an output are."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntk.caches.rebinding import as_of_now
from ntk.checks import check_nonnegative
from ntk.duals import Activation, activation
from ntk.programs.language.graph import Graph, Line, Node, reachable, refuse_arrays_of, users_line
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Scalar, Width, as_scalar, graph_of
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

    Parameters are known by their names: the same name is the same parameter, however often it is asked for. Vectors
    take + − * / among each other and with numbers and scalars, `.mean()` is a scalar, `.batch_mean()` a vector.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.prefix = ""
        self.parameters: dict[str, Parameter] = {}
        self.watched: dict[str, tuple[Tap, Vector]] = {}
        self.needs: list[BatchNeed] = []

    def scope(self, name: str) -> "Net":
        """The same, but what is called "w" there is "name/w" here: parameters and watched vectors."""
        scoped = copy.copy(self)
        scoped.prefix = f"{self.prefix}{name}/"
        return scoped

    def matrix(self, name: str, std: Any = 1.0) -> "Matrix":
        """(σ/√n) W with W (n, n): `W @ z`, or `W.T @ z`, of a vector."""
        return Matrix(self.parameter(name, "matrix", std))

    def input_matrix(self, name: str, std: Any = 1.0) -> "InputMatrix":
        """(σ/√d) U with U (n, d): `U @ x` of d entries of the input."""
        return InputMatrix(self, name, std)

    def bias(self, name: str, std: Any = 1.0) -> Vector:
        """The vector σ b."""
        return single(self.graph.make(Bias, self.parameter(name, "bias", std)))

    def output(self, name: str, std: Any = 1.0, mean: Any = 0.0) -> "OutputWeight":
        """(1/√n) (σ v + μ): `v @ z` is an output of the network. It has a limit only where μ = 0."""
        weight = self.graph.make(Bias, self.parameter(name, "output", std, mean))
        return single(weight, OutputWeight)  # type: ignore[return-value]

    def phi(self, name_or_function: Any, *, breakpoints: tuple[float, ...] = (0.0,)) -> Function:
        """A coordinate-wise function: a name of `ntk.activation`, an `Activation`, or a JAX function of scalars.

        A function may take several arguments, vectors and scalars; one of a single vector has `breakpoints`, where it
        bends or jumps, as in `ntk.activation`.
        """
        if isinstance(name_or_function, str | Activation):
            if tuple(breakpoints) != (0.0,):
                raise ValueError(f"breakpoints is {breakpoints!r}; expected none for an activation that has its maps.")
            named = activation(name_or_function)
            return Function(named.fn, (0.0,), named)
        if not callable(name_or_function):
            raise TypeError(f"phi is given {name_or_function!r}; expected a name, an Activation or a function.")
        return Function(as_of_now(name_or_function, jnp.vectorize), tuple(float(point) for point in breakpoints))

    def scalar(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A JAX function of scalars. Where its result is an array (k,), k scalars come back, as of a softmax."""
        fn = as_of_now(fn)

        def applied(*args: Any) -> Any:
            operands = tuple(as_scalar(self.graph, arg) for arg in args)
            shape = jax.eval_shape(fn, *(jnp.zeros(()) for _ in operands)).shape
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
        """A number that the program is given from outside."""
        return self.graph.make(Option, name)

    @property
    def width(self) -> Scalar:
        """N. What depends on it has no limit that the theory covers, and is for finite networks alone."""
        return self.graph.make(Width)

    def needs_batch(self, rank: int, unless: Any = 0.0) -> None:
        """Refuse batches whose inputs, less their mean, span fewer dimensions, unless that scalar is positive."""
        self.needs.append(BatchNeed(rank, as_scalar(self.graph, unless), users_line()))

    def watch(self, name: str, vector: Vector) -> Vector:
        """The same vector; its second moments C and those of the gradient there, D, are reported by that name."""
        name = self.prefix + name
        if name in self.watched:
            raise ValueError(f"watch is given the name {name!r} twice; expected a name of its own for each vector.")
        tap = self.graph.make(Tap, name)
        self.watched[name] = tap, vector
        return vector + single(tap)

    def parameter(self, name: str, kind: str, std: Any, mean: Any = 0.0, fan_in: int | None = None) -> Parameter:
        """The parameter of that name, which must not be another one already."""
        if not isinstance(name, str):
            raise TypeError(f"a parameter has the name {name!r}; expected a string.")
        name = self.prefix + name
        scales = [as_scalar(self.graph, scale) for scale in (std, mean)]
        if any(isinstance(node, Moment) for node in reachable(scales)):
            raise ValueError(f"std of {name!r} depends on the input; expected a number or an option.")
        if isinstance(scales[0], Constant):
            check_nonnegative(f"std of {name!r}", scales[0].value)
        parameter = self.graph.make(Parameter, name, kind, *scales, fan_in)
        first = self.parameters.setdefault(name, parameter)
        if first is not parameter:
            raise ValueError(
                f"parameter {name!r} is asked for as a different one at {parameter.line}; expected the same kind, std"
                f" and number of inputs as at {first.line}."
            )
        return parameter


class BatchNeed(NamedTuple):
    """How many dimensions the inputs of a batch, less their mean, must span unless a scalar is positive."""

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
    std: Any

    def __matmul__(self, x: Any) -> Vector:
        if not isinstance(x, Input) or len(x.shape) != 1 or not len(x):
            found = f"shape {x.shape}" if isinstance(x, Input) else "a vector" if isinstance(x, Vector) else repr(x)
            raise ValueError(f"input matrix {self.name!r} is applied to {found}; expected a vector of input entries.")
        graph = self.net.graph
        parameter = self.net.parameter(self.name, "input_matrix", self.std, fan_in=len(x))
        return single(graph.make(Embed, parameter, tuple(int(place) for place in x.places)))


class Input:
    """One input of the network, or a part of it; indexed, iterated over and reshaped as a NumPy array.

    Attributes:
        places: Where its entries stand in the whole input, of the part's shape.
    """

    def __init__(self, places: np.ndarray):
        self.places = places

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of this part."""
        return self.places.shape

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        return f"the input, of shape {self.shape}, which is for an input_matrix to read"

    def __iter__(self) -> Iterator["Input"]:
        return (Input(part) for part in self.places)

    def __getitem__(self, index: Any) -> "Input":
        return Input(np.asarray(self.places[index]))

    def reshape(self, *shape: Any) -> "Input":
        """The same entries in another shape."""
        return Input(self.places.reshape(*shape))


@dataclass(frozen=True, eq=False)
class Output(Node):
    """What a network returns: Σ (1/√n)(σ v + μ)·x over output weights v, and scalars besides.

    Attributes:
        readouts: Pairs of an output weight and the vector that it reads.
        offset: A scalar added.
    """

    readouts: tuple[tuple[Parameter, Vector], ...]
    offset: Scalar

    def __add__(self, other: Any) -> "Output":
        return _sum_of_outputs((1.0, self), (1.0, other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Output":
        return _sum_of_outputs((1.0, self), (-1.0, other))

    def __rsub__(self, other: Any) -> "Output":
        return _sum_of_outputs((1.0, other), (-1.0, self))

    def __neg__(self) -> "Output":
        return _sum_of_outputs((-1.0, self))

    def __mul__(self, factor: Any) -> "Output":
        return _sum_of_outputs((factor, self))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "Output":
        return _sum_of_outputs((1.0 / as_scalar(self.graph, divisor), self))


def as_output(graph: Graph, value: Any) -> Output:
    """`value`, or the output that is nothing but that scalar."""
    if isinstance(value, Output):
        return value
    if isinstance(value, Vector):
        raise TypeError(f"the program returns a vector at {value.line}; expected an output, net.output(name) @ vector.")
    return graph.make(Output, (), as_scalar(graph, value))


def _sum_of_outputs(*weighted: tuple[Any, Any]) -> Output:
    graph = graph_of(*(output for _, output in weighted))
    readouts: dict[Parameter, Vector] = {}
    offset = as_scalar(graph, 0.0)
    for factor, summand in weighted:
        output = as_output(graph, summand)
        for weight, vector in output.readouts:
            before = readouts.get(weight, combination(graph))
            readouts[weight] = combination(graph, (1.0, before), (factor, vector))
        offset = offset + as_scalar(graph, factor) * output.offset
    return graph.make(Output, tuple(readouts.items()), offset)


@dataclass(frozen=True, eq=False)
class OutputWeight(Vector):
    """(1/√n) (σ v + μ): `v @ x` is an output. Used as a vector, σ v, it fails the Simple GIA Check."""

    @property
    def parameter(self) -> Parameter:
        """V."""
        bias = self.terms[0][0]
        assert isinstance(bias, Bias)
        return bias.parameter

    def __matmul__(self, vector: Any) -> Output:
        return self.graph.make(Output, ((self.parameter, as_vector(self.graph, vector)),), as_scalar(self.graph, 0.0))


refuse_arrays_of(Input, "the input of a program", "net.input_matrix(name) @ input")
refuse_arrays_of(Output, "an output of a program", "sums of outputs, and products with numbers and scalars")
refuse_arrays_of(OutputWeight, "an output weight of a program", "net.output(name) @ vector")
