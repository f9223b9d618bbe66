"""What a network returns: read-outs of its vectors and of its input, and scalars (theory.md 3.1)."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntk.decomposition import unit_scaled
from ntk.programs.language.atoms import Bias, Parameter
from ntk.programs.language.graph import Graph, Node, refuse_arrays_of, users_line
from ntk.programs.language.inputs import Input, entries_of
from ntk.programs.language.scalars import Operand, Scalar, Value, as_scalar, coefficients, graph_of
from ntk.programs.language.vectors import Vector, as_vector, combination, zeros


@dataclass(frozen=True, eq=False, repr=False)
class Features(Node):
    """A linear combination of parts of the input, each of d entries: what an output weight reads besides vectors.

    Attributes:
        size: d.
        terms: Pairs of the places of d entries and their coefficient, none with coefficient 0.
    """

    size: int
    terms: tuple[tuple[tuple[int, ...], Scalar], ...]

    def of_each(self, x: Float[Array, "N F"], factors: Sequence[Value]) -> Float[Array, "N d"]:
        """Their values over √d at each input, where each coefficient is one number or one for each input."""
        columns = (jnp.expand_dims(factor, 1) if jnp.ndim(factor) else factor for factor in factors)
        parts = (unit_scaled(x[:, jnp.array(entries)]) for entries, _ in self.terms)
        return sum(map(operator.mul, columns, parts), jnp.zeros((len(x), self.size), x.dtype))


Read = Vector | Features


@dataclass(frozen=True, eq=False, repr=False)
class Output(Node):
    """What a network returns: Σ (1/√m)(σ v + μ)·x over output weights v, plus scalars.

    Attributes:
        readouts: Pairs of an output weight and what it reads: a vector (m = n), or features of the input (m = d).
        offset: A scalar added.
    """

    readouts: tuple[tuple[Parameter, Read], ...]
    offset: Scalar

    @property
    def vectors(self) -> tuple[tuple[Parameter, Vector], ...]:
        """The read-outs of vectors."""
        return tuple((weight, read) for weight, read in self.readouts if isinstance(read, Vector))

    @property
    def features(self) -> tuple[tuple[Parameter, Features], ...]:
        """The read-outs of the input."""
        return tuple((weight, read) for weight, read in self.readouts if isinstance(read, Features))

    def __add__(self, other: Operand) -> "Output":
        return _sum_of_outputs((1.0, self), (1.0, other))

    __radd__ = __add__

    def __sub__(self, other: Operand) -> "Output":
        return _sum_of_outputs((1.0, self), (-1.0, other))

    def __rsub__(self, other: Operand) -> "Output":
        return _sum_of_outputs((1.0, other), (-1.0, self))

    def __neg__(self) -> "Output":
        return _sum_of_outputs((-1.0, self))

    def __mul__(self, factor: Operand) -> "Output":
        return _sum_of_outputs((factor, self))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Operand) -> "Output":
        return _sum_of_outputs((1.0 / as_scalar(self.graph, divisor), self))


def as_output(graph: Graph, value: object) -> Output:
    """`value`, or the output that is nothing but that scalar."""
    if isinstance(value, Output):
        return value
    if isinstance(value, Vector):
        raise TypeError(f"the program returns a vector at {value.line}; expected an output, net.output(name) @ vector.")
    return graph.make(Output, (), _number(as_scalar(graph, value)))


def _number(scalar: Scalar) -> Scalar:
    """The scalar, which must not have position axes to go with an output."""
    if scalar.shape:
        raise ValueError(
            f"an output meets scalars with axes {scalar.shape} at {users_line()}; expected one number for each input."
        )
    return scalar


def _sum_of_outputs(*weighted: tuple[Operand, Operand]) -> Output:
    graph = graph_of(*(output for _, output in weighted))
    readouts: dict[Parameter, Read] = {}
    offset = as_scalar(graph, 0.0)
    for factor, summand in weighted:
        _number(as_scalar(graph, factor))
        output = as_output(graph, summand)
        for weight, vector in output.vectors:
            before = readouts.get(weight, zeros(graph, vector.shape))
            assert isinstance(before, Vector)
            if before.shape != vector.shape:
                raise ValueError(
                    f"output weight {weight.name!r} reads fields with axes {before.shape} and {vector.shape}; expected"
                    " a weight of its own for each."
                )
            readouts[weight] = combination(graph, (1.0, before), (factor, vector))
        for weight, features in output.features:
            earlier = getattr(readouts.get(weight), "terms", ())
            found = coefficients(graph, (1.0, earlier), (factor, features.terms))
            terms = tuple(sorted(found.items(), key=lambda term: term[0]))
            readouts[weight] = graph.make(Features, features.size, terms)
        offset = offset + as_scalar(graph, factor) * output.offset
    return graph.make(Output, tuple(readouts.items()), offset)


@dataclass(frozen=True, eq=False, repr=False)
class OutputWeight(Vector):
    """(1/√m)(σ v + μ): `v @ z` is an output, of a vector z (m = n) or of d entries of the input (m = d).

    A field of P positions is read by a weight for each position, and m = Pn.
    Used as a vector, σ v, it fails the Simple GIA Check.
    """

    @property
    def parameter(self) -> Parameter:
        """V, of n entries."""
        bias = self.terms[0][0]
        assert isinstance(bias, Bias)
        return bias.parameter

    def __matmul__(self, read: Operand | Input) -> Output:
        graph, weight, nothing = self.graph, self.parameter, as_scalar(self.graph, 0.0)
        if not isinstance(read, Input):
            return graph.make(Output, ((weight, as_vector(graph, read)),), nothing)
        entries = entries_of(read, f"output weight {weight.name!r}")
        of_input = graph.make(Parameter, weight.name, weight.kind, weight.std, weight.mean, len(entries))
        features = graph.make(Features, len(entries), ((entries, as_scalar(graph, 1.0)),))
        return graph.make(Output, ((of_input, features),), nothing)


refuse_arrays_of(Output, "an output of a program", "sums of outputs, and products with numbers and scalars")
refuse_arrays_of(OutputWeight, "an output weight of a program", "net.output(name) @ vector")
