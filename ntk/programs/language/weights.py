"""Matrices and convolutions, to be applied to vectors or to the input with `@`."""

from collections.abc import Callable
from dataclasses import dataclass

from ntk.checks import check_count, shown
from ntk.programs.language.atoms import Convolve, Embed, Entries, MatMul, Parameter, Window
from ntk.programs.language.inputs import Input, InputAtStep, field_of, tokens_of
from ntk.programs.language.loops import at_step, field_at_step
from ntk.programs.language.positions import Shape
from ntk.programs.language.scalars import Operand, Scalar
from ntk.programs.language.vectors import Vector, as_vector, single, zeros


@dataclass(frozen=True)
class Matrix:
    """(σ/√n) W, or its transpose."""

    parameter: Parameter
    transposed: bool = False

    @property
    def T(self) -> "Matrix":
        """The transpose, the same parameter."""
        return Matrix(self.parameter, not self.transposed)

    def __matmul__(self, vector: Operand | Input) -> Vector:
        graph = self.parameter.graph
        vector = as_vector(graph, vector)
        if not vector.terms:
            return vector
        if found := field_at_step(vector):  # The product of all steps at once is outside the loop.
            body, field = found
            return at_step(body, self @ field)
        return single(graph.make(MatMul, self.parameter, self.transposed, vector))


@dataclass(frozen=True)
class InputMatrix:
    """(σ/√d) U, to be applied to entries of the input."""

    parameter: Callable[..., Parameter]
    name: str
    std: Scalar

    def __matmul__(self, x: Input) -> Vector:
        if isinstance(x, InputAtStep):
            return at_step(x.body, self @ x.every)
        graph = self.std.graph
        source = graph.make(Entries, *field_of(x, f"input matrix {self.name!r}"))
        parameter = self.parameter(self.name, "input_matrix", self.std, fan_in=x.shape[-1])
        return single(graph.make(Embed, parameter, source))


@dataclass(frozen=True)
class Embedding:
    """σ E with a row for each token, to be looked up at the tokens of the input."""

    parameter: Callable[..., Parameter]
    name: str
    vocabulary: int
    std: Scalar

    def __matmul__(self, x: Input) -> Vector:
        if isinstance(x, InputAtStep):
            return at_step(x.body, self @ x.every)
        graph = self.std.graph
        source = graph.make(Entries, *tokens_of(x, f"embedding {self.name!r}"))
        parameter = self.parameter(self.name, "embedding", self.std, fan_in=self.vocabulary)
        return single(graph.make(Embed, parameter, source))


@dataclass(frozen=True)
class Convolution:
    """(σ/√(kn)) Σ_o W_o over k offsets o, to be applied to a field; or with d for n to the input.

    If positions do not share W, each has its own.
    """

    parameter: Callable[..., Parameter]
    name: str
    std: Scalar
    window: Shape
    strides: Shape
    dilation: Shape
    padding: str
    shared: bool

    def __matmul__(self, z: Vector | Input) -> Vector:
        graph, said = self.std.graph, f"convolution {self.name!r}"
        source = z if isinstance(z, Vector) else graph.make(Entries, *field_of(z, said))
        if len(source.shape) != len(self.window):
            raise ValueError(f"{said} is applied to axes {source.shape}; expected {len(self.window)} position axes.")
        windows = tuple(map(self._window_along, source.shape, self.window, self.strides, self.dilation))
        shape = tuple(each.count(size) for each, size in zip(windows, source.shape, strict=True))
        if isinstance(source, Entries):
            kind, fan_in = "input_convolution", z.shape[-1]
        elif source.terms:
            kind, fan_in = "convolution", None
        else:
            return zeros(graph, shape)
        axes = () if self.shared else shape
        parameter = self.parameter(self.name, kind, self.std, fan_in=fan_in, axes=axes, window=self.window)
        return single(graph.make(Convolve, parameter, windows, source, self.shared))

    def _window_along(self, size: int, window: int, stride: int, dilation: int) -> Window:
        """What is read along an axis. Padding, if any, makes ⌈size/stride⌉ positions, as in XLA."""
        reach = (window - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0) if self.padding != "valid" else 0
        found = Window(window, stride, dilation, total // 2, total - total // 2, self.padding == "circular")
        if found.count(size) < 1:
            raise ValueError(
                f"convolution {self.name!r} reads {reach} positions of an axis of {size}; expected a window that fits,"
                " or padding."
            )
        return found


def window_counts(
    name: str, window: Shape, strides: Shape | None, dilation: Shape | None
) -> tuple[Shape, Shape, Shape]:
    """The window, the strides and the dilation of a convolution, 1 along each axis for None.

    Raises:
        ValueError: One of them is not a positive integer for each axis.
    """
    ones = (1,) * len(window) if isinstance(window, tuple) else ()
    counts = (window, ones if strides is None else strides, ones if dilation is None else dilation)
    for what, each in zip(("window", "strides", "dilation"), counts, strict=True):
        if not isinstance(each, tuple) or not each or len(each) != len(ones):
            raise ValueError(f"{what} of {name!r} is {shown(each)}; expected a tuple of a count for each axis.")
        for count in each:
            check_count(f"{what} of {name!r}", count)
    return counts
