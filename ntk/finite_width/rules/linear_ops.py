"""Operations y = op(a, W) that are linear in a parameter W, each read as a matrix product.

At every position s of one input y_s = W a_s, where a_s has P numbers and y_s has Q numbers. The gradient in W is
therefore Σ_s δ_s ⊗ a_s with δ = ∇_y f. B counts the independent products side by side: batch axes of a product, or
groups of a convolution. An operation gives its operand as (B, S, P) and its δ as (B, S, Q), for one input. Gradients of
two operations may be added if both see the same `matrix` in the parameter.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Integer, Num

from ntk.dtypes import common_dtype
from ntk.jaxprs import Equation, aval_of

# If a patch of a convolution has more numbers than this, the patches are not formed as one array.
LARGE_PATCH = 256


@dataclass(frozen=True)
class Product:
    """A `dot_general` of an operand and a parameter. The parameter is its factor number `position`."""

    axes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # of either factor, the contracted and the batch axes
    position: int
    parameter_shape: tuple[int, ...]

    name = "product"
    num_parts = 1

    @property
    def matrix(self) -> Hashable:
        """Which axes of the parameter are B, P and Q, and in which order."""
        return self.axes[self.position], self.parameter_shape

    @property
    def sizes(self) -> tuple[int, int, int]:
        """B, P and Q."""
        contracted, batch = self.axes[self.position]
        free = [axis for axis in range(len(self.parameter_shape)) if axis not in contracted + batch]
        B, P, Q = (math.prod(self.parameter_shape[axis] for axis in axes) for axes in (batch, contracted, free))
        return B, P, Q

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "B S P"]:
        """The operand as (B, S, P)."""
        contracted, batch = self.axes[1 - self.position]
        free = [axis for axis in range(operand.ndim) if axis not in contracted + batch]
        return _merged(operand, batch, free, contracted)

    def right(self, delta: Float[Array, "..."]) -> Float[Array, "B S Q"]:
        """δ as (B, S, Q)."""
        return _merged(delta, *self._output_axes(delta.ndim))

    def layout(self, shape: tuple[int, ...]) -> Hashable:
        """How `right` reads an output of this shape. Operations of one layout read it in the same way."""
        return _without_unit_axes(shape, self._output_axes(len(shape)))

    def _output_axes(self, ndim: int) -> tuple[range, range, range]:
        """Axes of y for B, S and Q: the batch axes come first, then the free axes of either factor."""
        contracted, batch = self.axes[self.position]
        num_features = len(self.parameter_shape) - len(contracted) - len(batch)
        num_first = num_features if self.position == 0 else ndim - len(batch) - num_features
        first = range(len(batch), len(batch) + num_first)
        second = range(len(batch) + num_first, ndim)
        return (range(len(batch)), second, first) if self.position == 0 else (range(len(batch)), first, second)


@dataclass(frozen=True)
class Convolution:
    """A `conv_general_dilated` whose kernel is a parameter. Its positions are the points of the output.

    The specs name the axes of operand and output in the order (batch, features, space…), and those of the kernel in the
    order (out, in, space…).
    """

    specs: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    operand_dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]
    groups: int
    parameter_shape: tuple[int, ...]

    name = "convolution"

    @property
    def matrix(self) -> Hashable:
        """Which axes of the parameter are B, P and Q, and in which order. The operation itself determines it."""
        return self

    @property
    def sizes(self) -> tuple[int, int, int]:
        """B groups, with P inputs and Q outputs in each."""
        Q, P = (self.parameter_shape[axis] for axis in self.specs[1][:2])
        return self.groups, P * math.prod(self._window), Q // self.groups

    @property
    def num_parts(self) -> int:
        """As many parts as the kernel has points, if the patches of all points would be a large array; else one."""
        return 1 if self.sizes[1] <= LARGE_PATCH else math.prod(self._window)

    @property
    def _window(self) -> tuple[int, ...]:
        return tuple(self.parameter_shape[axis] for axis in self.specs[1][2:])

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "B S P"]:
        """The patches of the operand that the kernel is laid on."""
        points = [self._seen_at(operand, point) for point in np.ndindex(self._window)]
        return _merged(jnp.stack(points), (1,), (2,), (0, 3))

    def part(self, operand: Float[Array, "..."], number: Int[Array, ""]) -> Float[Array, "B S p"]:
        """The columns of `left` that belong to one of several parts, p = P / num_parts of them."""
        return self._seen_at(operand, jnp.unravel_index(number, self._window))

    def _seen_at(self, operand: Float[Array, "..."], point: Sequence[int | Int[Array, ""]]) -> Float[Array, "B S p"]:
        """The entries that one point of the kernel multiplies at each position: p inputs of each group."""
        x = jnp.transpose(operand, self.specs[0])
        space = zip(self.padding, self.operand_dilation, strict=True)
        borders = [(0, 0, 0), (0, 0, 0), *((low, high, dilation - 1) for (low, high), dilation in space)]
        x = lax.pad(x, jnp.zeros((), x.dtype), borders)
        start = [step * dilation for step, dilation in zip(point, self.kernel_dilation, strict=True)]
        windows = zip(x.shape[2:], self._window, self.kernel_dilation, strict=True)
        extent = [size - (width - 1) * dilation for size, width, dilation in windows]
        x = lax.dynamic_slice(x, (0, 0, *start), (*x.shape[:2], *extent))
        return self._in_groups(x[(..., *(slice(None, None, stride) for stride in self.strides))])

    def right(self, delta: Float[Array, "..."]) -> Float[Array, "B S Q"]:
        """δ as (B, S, Q)."""
        return self._in_groups(jnp.transpose(delta, self.specs[2]))

    def layout(self, shape: tuple[int, ...]) -> Hashable:
        """How `right` reads an output of this shape. A convolution in groups has a layout of its own."""
        batch, features, *space = self.specs[2]
        return _without_unit_axes(shape, ((), (batch, *space), (features,))) if self.groups == 1 else self

    def _in_groups(self, x: Float[Array, "batch features ..."]) -> Float[Array, "B S feature"]:
        """(batch, features, space…) as (groups, positions, features of a group)."""
        x = x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, -1)
        return _merged(x, (1,), (0, 3), (2,))


@dataclass(frozen=True)
class Lookup:
    """A `gather` of rows of a parameter, such as an embedding. a is a one-hot vector, kept as the number of its row."""

    parameter_shape: tuple[int, ...]
    clips: bool

    name = "lookup"
    num_parts = 1

    @property
    def matrix(self) -> Hashable:
        """Which axes of the parameter are B, P and Q, and in which order. The operation itself determines it."""
        return self

    @property
    def sizes(self) -> tuple[int, int, int]:
        """B, P and Q."""
        return 1, self.parameter_shape[0], math.prod(self.parameter_shape[1:])

    def left(self, operand: Integer[Array, "..."]) -> Integer[Array, "1 S 1"]:
        """The numbers of the rows. A row that does not exist has no gradient, and a negative number."""
        rows = operand.astype(common_dtype(operand.dtype, jnp.int32)).reshape(1, -1, 1)
        count = self.parameter_shape[0]
        return jnp.clip(rows, 0, count - 1) if self.clips else jnp.where((rows >= 0) & (rows < count), rows, -1)

    def right(self, delta: Float[Array, "..."]) -> Float[Array, "B S Q"]:
        """δ as (1, S, Q)."""
        return delta.reshape(1, -1, self.sizes[2])

    def layout(self, shape: tuple[int, ...]) -> Hashable:
        """How `right` reads an output of this shape. Operations of one layout read it in the same way."""
        num_features = len(self.parameter_shape) - 1
        first = len(shape) - num_features
        return _without_unit_axes(shape, ((), range(first), range(first, len(shape))))


@dataclass(frozen=True)
class Sum:
    """A parameter that is added along `axes` to an output of shape `shape`, at every position of the other axes.

    The operand is a scalar.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    name = "sum"
    num_parts = 1

    @property
    def matrix(self) -> Hashable:
        """Which axes of the parameter are B, P and Q, and in which order. The operation itself determines it."""
        return self

    @property
    def sizes(self) -> tuple[int, int, int]:
        """B, P and Q."""
        return 1, 1, math.prod(self.shape[axis] for axis in self.axes)

    def left(self, operand: Float[Array, ""]) -> Float[Array, "1 S 1"]:
        """The scalar at every position."""
        return jnp.full((1, math.prod(self.shape) // self.sizes[2], 1), operand)

    def right(self, delta: Float[Array, "..."]) -> Float[Array, "B S Q"]:
        """δ as (1, S, Q)."""
        return _merged(delta, (), self._positions, self.axes)

    def layout(self, shape: tuple[int, ...]) -> Hashable:
        """How `right` reads an output of this shape. Operations of one layout read it in the same way."""
        return _without_unit_axes(shape, ((), self._positions, self.axes))

    @property
    def _positions(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.axes)


LinearOp = Product | Convolution | Lookup | Sum


def added(shape: tuple[int, ...], output: tuple[int, ...]) -> Sum:
    """The sum of an array of shape `output` and a parameter of this shape, repeated along its axes of length 1."""
    return Sum(output, tuple(axis for axis, size in enumerate(shape) if size == output[axis]))


def linear_op(equation: Equation, position: int) -> LinearOp | None:
    """The operation by which an equation uses the parameter at this position of its inputs.

    None if it is not a `LinearOp`, or if a number in it is not a real floating-point number.
    """
    if not _is_real(equation, position):
        return None
    params, shape = equation.params, aval_of(equation.invars[position]).shape
    match equation.primitive.name:
        case "dot_general":
            contracted, batch = params["dimension_numbers"]
            axes = tuple((tuple(contracted[i]), tuple(batch[i])) for i in (0, 1))
            return Product(axes, position, shape)
        case "conv_general_dilated" if position == 1 and params["batch_group_count"] == 1:
            numbers = params["dimension_numbers"]
            return Convolution(
                tuple(map(tuple, (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec))),
                tuple(params["window_strides"]),
                tuple(map(tuple, params["padding"])),
                tuple(params["lhs_dilation"]),
                tuple(params["rhs_dilation"]),
                params["feature_group_count"],
                shape,
            )
        case "broadcast_in_dim":
            output = aval_of(equation.outvars[0]).shape
            dimensions = tuple(equation.params["broadcast_dimensions"])
            return Sum(output, tuple(a for a, size in zip(dimensions, shape, strict=True) if size == output[a]))
        case "gather" if position == 0 and _takes_rows(equation):
            return Lookup(shape, clips="CLIP" in str(params["mode"]))
    return None


def _is_real(equation: Equation, position: int) -> bool:
    """Whether the result and the other operands have real floating-point dtypes."""
    operands = [atom for i, atom in enumerate(equation.invars) if i != position]
    if equation.primitive.name == "gather":
        operands = []  # row numbers
    dtypes = [aval_of(atom).dtype for atom in (*operands, equation.outvars[0])]
    return all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes)


def _takes_rows(equation: Equation) -> bool:
    """Whether a gather is W[rows] along the first axis, as `jnp.take` makes it."""
    numbers, shape = equation.params["dimension_numbers"], aval_of(equation.invars[0]).shape
    output = aval_of(equation.outvars[0])
    return (
        tuple(numbers.collapsed_slice_dims) == (0,)
        and tuple(numbers.start_index_map) == (0,)
        and not numbers.operand_batching_dims
        and tuple(equation.params["slice_sizes"]) == (1, *shape[1:])
        and tuple(numbers.offset_dims) == tuple(range(output.ndim - len(shape) + 1, output.ndim))
    )


def _merged(x: Num[Array, "..."], *groups: Iterable[int]) -> Num[Array, "..."]:
    """The axes of x brought into groups, each of which becomes one axis."""
    axes = [tuple(group) for group in groups]
    sizes = [math.prod(x.shape[axis] for axis in group) for group in axes]
    return jnp.transpose(x, [axis for group in axes for axis in group]).reshape(sizes)


def _without_unit_axes(shape: tuple[int, ...], groups: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(axis for axis in group if shape[axis] > 1) for group in groups)
