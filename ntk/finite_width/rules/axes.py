"""Axes of a function's outputs: which are traced, which are kept, and how a kernel pairs its two sides along them."""

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntk.checks import shown
from ntk.dtypes import at_least_float32
from ntk.linalg import highest_einsum, highest_matmul

# Entries of a kernel that are computed at once. Each part of the kernel may hold a product of this size in memory.
TILE_ENTRIES = 2**20


@dataclass(frozen=True)
class OutputAxes:
    """The axes of a function's outputs, and how a kernel treats each of them.

    Attributes:
        shape: The outputs of one input.
        trace: Axes that are summed over.
        diagonal: Axes along which each entry is paired only with itself.
    """

    shape: tuple[int, ...]
    trace: tuple[int, ...]
    diagonal: tuple[int, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes of a kernel after its first two: an output axis twice, once if diagonal, not at all if traced."""
        return tuple(
            size
            for axis, size in enumerate(self.shape)
            if axis not in self.trace
            for _ in range(1 if axis in self.diagonal else 2)
        )

    @property
    def num_traced(self) -> int:
        """How many outputs are summed over."""
        return math.prod(self.shape[axis] for axis in self.trace)

    @property
    def tile_size(self) -> int:
        """How many inputs of each side a tile of the kernel has."""
        return max(1, math.isqrt(TILE_ENTRIES // math.prod(self.kept)))

    def gram(
        self, x1: Float[Array, " N1 *features1"], x2: Float[Array, " N2 *features2"], first: int = 1
    ) -> Float[Array, "N1 N2 *kept"]:
        """Products of (N1, …, *outputs, …) and (N2, …, *outputs, …), summed over all axes that are not kept.

        `first` is the position of the first axis of outputs.
        """
        if len(self.trace) == len(self.shape):  # one matrix product
            x1, x2 = x1.reshape(len(x1), -1), x2.reshape(len(x2), -1)
            return highest_matmul(x1, x2.T)
        num_axes = len(self.shape)
        ends = range(first, first + num_axes), range(1, 1 + num_axes)
        x1, x2 = (jnp.moveaxis(x, *ends) for x in (x1, x2))
        x1, x2 = (x.reshape(*x.shape[: 1 + num_axes], -1) for x in (x1, x2))
        left, right, result = self._subscripts()
        return highest_einsum(f"Y{left}Z,X{right}Z->YX{result}", x1, x2)

    def transposed(self, kernel: Float[Array, "N1 N2 *kept"]) -> Float[Array, "N2 N1 *exchanged"]:
        """The kernel with its sides exchanged, and with them the axes of every pair of outputs."""
        order, position = [1, 0], 2
        for axis in range(len(self.shape)):
            if axis not in self.trace:
                width = 1 if axis in self.diagonal else 2
                order += reversed(range(position, position + width))
                position += width
        return jnp.transpose(kernel, order)

    def of_unit(
        self, column: Float[Array, " N1 *outputs"], unit: Float[Array, "*outputs"]
    ) -> Float[Array, " N1 *kept"]:
        """The part of the kernel from one output of the second side.

        `unit` is the unit vector of that output. `column` holds the derivatives along its gradient.
        """
        left, right, result = self._subscripts()
        return highest_einsum(f"Y{left},{right}->Y{result}", at_least_float32(column), at_least_float32(unit))

    def with_rows(self, num_rows: int) -> "OutputAxes":
        """The outputs of a whole batch: its rows come first, and are kept as pairs."""
        trace, diagonal = (tuple(axis + 1 for axis in axes) for axes in (self.trace, self.diagonal))
        return OutputAxes((num_rows, *self.shape), trace, diagonal)

    def _subscripts(self) -> tuple[str, str, str]:
        """Letters of the outputs of the first side, of the second, and of the kernel."""
        letters = iter(string.ascii_letters)
        left, right, result = "", "", ""
        for axis in range(len(self.shape)):
            a = next(letters)
            b = a if axis in self.trace or axis in self.diagonal else next(letters)
            left, right = left + a, right + b
            result += "" if axis in self.trace else a if axis in self.diagonal else a + b
        return left, right, result

    def beside(self, kernel: Float[Array, "N1 N2"]) -> Float[Array, "N1 N2 *ones"]:
        """A kernel without outputs, with an axis of length 1 for each axis that is kept."""
        return kernel.reshape(*kernel.shape, *(1 for _ in self.kept))


def output_axes(outputs: tuple[int, ...], trace_axes: Sequence[int], diagonal_axes: Sequence[int]) -> OutputAxes:
    """The axes of one input's outputs that `trace_axes` and `diagonal_axes` name; a diagonal axis is not traced.

    Raises:
        ValueError: The axes are not a tuple of integers, or one of them does not exist or is named twice.
    """
    diagonal = _checked_axes("diagonal_axes", diagonal_axes, outputs)
    trace = _checked_axes("trace_axes", trace_axes, outputs, ignored=not outputs)
    return OutputAxes(outputs, tuple(axis for axis in trace if axis not in diagonal), diagonal)


def _checked_axes(name: str, axes: Sequence[int], outputs: tuple[int, ...], ignored: bool = False) -> tuple[int, ...]:
    """The axes counted from the front. Empty if they are `ignored`."""
    if not isinstance(axes, tuple | list) or not all(type(axis) is int for axis in axes):
        raise ValueError(f"{name} is {shown(axes)}; expected a tuple of integers.")
    if ignored:
        return ()
    if not all(-len(outputs) <= axis < len(outputs) for axis in axes):
        raise ValueError(
            f"{name} is {shown(axes)}; expected axes of an output of shape {outputs}, the batch not counted."
        )
    counted = tuple(axis % len(outputs) for axis in axes)
    if len(set(counted)) < len(counted):
        raise ValueError(f"{name} is {shown(axes)}; expected each axis once.")
    return counted
