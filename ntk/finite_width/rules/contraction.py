"""Inner products of gradients without the gradients: Gram matrices of operands times those of δ, or parts of them.

Arrays of one side of a kernel: operands `left` (N, B, S, P), `right` δ (N, *outputs, B, S, Q), see `linear_ops`. Every
product here is computed at highest precision.
"""

import functools
import math
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntk.dtypes import common_dtype

# So many rows make a matrix product efficient.
BLOCK_ROWS = 128
# Entries of a kernel that are worked on at once: its products are that large, and one of each part may be in memory.
TILE_ENTRIES = 2**20

_einsum = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)


@dataclass(frozen=True)
class OutputAxes:
    """What a kernel keeps of its outputs.

    Attributes:
        shape: The outputs of one input.
        trace: Axes that are summed over.
        diagonal: Axes of which each entry meets only itself.
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
        """Inputs of either side to a tile of the kernel."""
        return max(1, math.isqrt(TILE_ENTRIES // math.prod(self.kept)))

    def gram(self, x1: jax.Array, x2: jax.Array, first: int = 1) -> jax.Array:
        """Products of (N1, …, *outputs, …) and (N2, …, *outputs, …) summed over all else: (N1, N2, *kept).

        `first` is the position of the first axis of outputs.
        """
        if len(self.trace) == len(self.shape):  # one matrix product
            x1, x2 = x1.reshape(len(x1), -1), x2.reshape(len(x2), -1)
            return jnp.matmul(x1, x2.T, precision=lax.Precision.HIGHEST)
        num_axes = len(self.shape)
        ends = range(first, first + num_axes), range(1, 1 + num_axes)
        x1, x2 = (jnp.moveaxis(x, *ends) for x in (x1, x2))
        x1, x2 = (x.reshape(*x.shape[: 1 + num_axes], -1) for x in (x1, x2))
        left, right, result = self._subscripts()
        return _einsum(f"Y{left}Z,X{right}Z->YX{result}", x1, x2)

    def transposed(self, kernel: jax.Array) -> jax.Array:
        """The kernel of the exchanged sides: (N1, N2, *kept) as (N2, N1, *kept), each pair of outputs exchanged."""
        order, position = [1, 0], 2
        for axis in range(len(self.shape)):
            if axis not in self.trace:
                width = 1 if axis in self.diagonal else 2
                order += reversed(range(position, position + width))
                position += width
        return jnp.transpose(kernel, order)

    def of_unit(self, column: jax.Array, unit: jax.Array) -> jax.Array:
        """(N1, *kept): what a column (N1, *outputs) adds for one output of the second side, a unit vector."""
        left, right, result = self._subscripts()
        return _einsum(f"Y{left},{right}->Y{result}", at_least_float32(column), at_least_float32(unit))

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

    def beside(self, kernel: jax.Array) -> jax.Array:
        """(N1, N2) with an axis of length 1 for each kept one."""
        return kernel.reshape(*kernel.shape, *(1 for _ in self.kept))


def gram_kernel(
    axes: OutputAxes, left_gram: Callable, side1: Sequence[jax.Array], side2: Sequence[jax.Array] | None
) -> jax.Array:
    """Σ_{b,s,t} (a_s·ā_t) (δ_s·δ̄_t), one pair of blocks of positions after the other; for one side, half of them.

    A side is δ, (N, *outputs, B, S, Q), and then any number of operands, each (N, B, S, P). `left_gram` takes lists of
    operands (M1, P) and (M2, P) to the sum of their products, (M1, M2).
    """
    blocks1 = _in_blocks(axes, side1)
    blocks2 = blocks1 if side2 is None else _in_blocks(axes, side2)
    num_products, num_blocks1, _, num1 = blocks1[0].shape[:4]
    num_blocks2, _, num2 = blocks2[0].shape[1:4]

    def term(b: Any, s: Any, t: Any) -> jax.Array:
        (d1, *a1), (d2, *a2) = ([_joined(x[b, block]) for x in side] for side, block in ((blocks1, s), (blocks2, t)))
        products = jnp.multiply(*of_one_dtype(axes.beside(left_gram(a1, a2)), axes.gram(d1, d2)))
        return _sum_of_blocks(products.reshape(-1, num1, products.shape[1] // num2, num2, *products.shape[2:]))

    if num_products == num_blocks1 == num_blocks2 == 1:
        return term(0, 0, 0)
    shape = jax.eval_shape(term, 0, 0, 0)
    start = jnp.zeros(shape.shape, shape.dtype)

    def total(num_pairs: int, pair: Callable[[Any], tuple[Any, Any]]) -> jax.Array:
        def step(kernel: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            return kernel + term(i // num_pairs, *pair(i % num_pairs)), None

        return lax.scan(step, start, jnp.arange(num_products * num_pairs))[0]

    if side2 is not None:
        return total(num_blocks1 * num_blocks2, lambda j: (j // num_blocks2, j % num_blocks2))
    n = num_blocks1
    kernel = total(n, lambda j: (j, j))
    if n == 1:
        return kernel
    # Each pair of two blocks once: s and the blocks at distance 1, 2, … after it, around a circle.
    others = total(n * (n - 1) // 2, lambda j: (j % n, (j % n + 1 + j // n) % n))
    return kernel + others + axes.transposed(others)


def _in_blocks(axes: OutputAxes, side: Sequence[jax.Array]) -> list[jax.Array]:
    """(N, …, B, S, features) as (B, S/c, c, N, …, features), with blocks large enough for a matrix product."""
    num_inputs, num_positions = len(side[0]), side[0].shape[-2]
    size = min(num_positions, -(-BLOCK_ROWS // num_inputs))
    blocks = []
    for x in side:
        x = jnp.moveaxis(x, (-3, -2), (0, 1))
        # A position that does not exist has no operand (as a row number: a negative one) and no δ.
        missing = -1 if jnp.issubdtype(x.dtype, jnp.integer) else 0
        fill = [(0, 0), (0, -num_positions % size), *((0, 0) for _ in x.shape[2:])]
        x = jnp.pad(x, fill, constant_values=missing) if fill[1][1] else x
        blocks.append(x.reshape(x.shape[0], -1, size, *x.shape[2:]))
    return blocks


def _joined(x: jax.Array) -> jax.Array:
    return x.reshape(-1, *x.shape[2:])


def _sum_of_blocks(products: jax.Array) -> jax.Array:
    """(c1, N1, c2, N2, …) summed over c1 and c2; written out where short, which XLA fuses with the products."""
    c1, _, c2, _, *_ = products.shape
    if c1 * c2 > 16:
        return jnp.sum(products, axis=(0, 2))
    return functools.reduce(jnp.add, [products[i, :, j] for i in range(c1) for j in range(c2)])


def parts_kernel(
    axes: OutputAxes,
    num_parts: int,
    part1: Callable[[jax.Array], jax.Array],
    part2: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
    """The kernel of gradients that are formed one part after the other, so that no more than a part is in memory.

    `part1(i)` is part number i, (N1, B, P, *outputs, Q); None for `part2` means the same side.
    """

    def one(i: jax.Array) -> jax.Array:
        gradient = part1(i)
        return axes.gram(gradient, gradient if part2 is None else part2(i), first=3)

    if num_parts == 1:
        return one(jnp.zeros((), int))
    shape = jax.eval_shape(one, jnp.zeros((), int))
    start = jnp.zeros(shape.shape, shape.dtype)
    return lax.scan(lambda kernel, i: (kernel + one(i), None), start, jnp.arange(num_parts))[0]


def gradients(right: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """For δ, (N, *outputs, B, S, Q): the function of a, (N, B, S, P), that gives Σ_s a_s ⊗ δ_s, (N, B, P, *outputs, Q).

    δ is brought once into the order in which each of these is one matrix product.
    """
    num_inputs, *outputs, B, S, Q = right.shape
    columns = jnp.moveaxis(right, (-3, -2), (1, 2)).reshape(num_inputs, B, S, -1)

    def gradient(left: jax.Array) -> jax.Array:
        return _einsum("nbsp,nbsk->nbpk", *of_one_dtype(left, columns)).reshape(num_inputs, B, -1, *outputs, Q)

    return gradient


def wide(dtype: Any) -> Any:
    """A floating-point dtype, or float32 if it is narrower."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else dtype


def of_one_dtype(*arrays: jax.Array) -> list[jax.Array]:
    """The arrays in the dtype that they have in common: those of a function may differ."""
    dtype = common_dtype(*arrays)
    return [array.astype(dtype) for array in arrays]


def at_least_float32(x: jax.Array) -> jax.Array:
    """The array itself, or in float32 where it is narrower."""
    return x.astype(wide(x.dtype))
