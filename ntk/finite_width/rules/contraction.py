"""Inner products of gradients, from operands and δ: by Gram matrices of both, or by gradients formed in parts.

A side of a kernel has operands `left` (N, B, S, P) and δ `right` (N, *outputs, B, S, Q); `linear_ops` explains B, S, P
and Q. Every product here is computed at highest precision.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer, Num

from ntk.dtypes import of_one_dtype
from ntk.finite_width.rules.axes import OutputAxes
from ntk.linalg import highest_einsum

Index = int | Integer[Array, ""]

# A matrix product with this many rows is efficient.
BLOCK_ROWS = 128


def gram_kernel(
    axes: OutputAxes,
    left_gram: Callable[[Sequence[Array], Sequence[Array]], Array],
    side1: Sequence[Array],
    side2: Sequence[Array] | None,
) -> Float[Array, "N1 N2 *kept"]:
    """Σ_{b,s,t} (a_s·ā_t) (δ_s·δ̄_t), one pair of blocks of positions after the other.

    Args:
        axes: The outputs.
        left_gram: Maps two lists of operands, (M1, P) and (M2, P), to the sum of their products, (M1, M2).
        side1: δ, (N1, *outputs, B, S, Q), and then any number of operands, each (N1, B, S, P).
        side2: The same of the second side. None means the first side; each pair of blocks is then taken once.
    """
    blocks1 = _in_blocks(side1)
    blocks2 = blocks1 if side2 is None else _in_blocks(side2)
    num_products, num_blocks1, _, num1 = blocks1[0].shape[:4]
    num_blocks2, _, num2 = blocks2[0].shape[1:4]

    def term(b: Index, s: Index, t: Index) -> Float[Array, "N1 N2 *kept"]:
        (d1, *a1), (d2, *a2) = ([_joined(x[b, block]) for x in side] for side, block in ((blocks1, s), (blocks2, t)))
        products = jnp.multiply(*of_one_dtype(axes.beside(left_gram(a1, a2)), axes.gram(d1, d2)))
        return _sum_of_blocks(products.reshape(-1, num1, products.shape[1] // num2, num2, *products.shape[2:]))

    if num_products == num_blocks1 == num_blocks2 == 1:
        return term(0, 0, 0)
    shape = jax.eval_shape(term, 0, 0, 0)
    start = jnp.zeros(shape.shape, shape.dtype)

    def total(num_pairs: int, pair: Callable[[Array], tuple[Array, Array]]) -> Float[Array, "N1 N2 *kept"]:
        def step(kernel: Array, i: Integer[Array, ""]) -> tuple[Array, None]:
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


def _in_blocks(side: Sequence[Array]) -> list[Array]:
    """Arrays (N, …, B, S, features) as (B, S/c, c, N, …, features), in blocks of c positions for a matrix product."""
    num_inputs, num_positions = len(side[0]), side[0].shape[-2]
    size = min(num_positions, -(-BLOCK_ROWS // num_inputs))
    blocks = []
    for x in side:
        x = jnp.moveaxis(x, (-3, -2), (0, 1))
        # A position that does not exist has the operand 0, or a negative row number, and its δ is 0.
        missing = -1 if jnp.issubdtype(x.dtype, jnp.integer) else 0
        fill = [(0, 0), (0, -num_positions % size), *((0, 0) for _ in x.shape[2:])]
        x = jnp.pad(x, fill, constant_values=missing) if fill[1][1] else x
        blocks.append(x.reshape(x.shape[0], -1, size, *x.shape[2:]))
    return blocks


def _joined(x: Num[Array, "c N *rest"]) -> Num[Array, " cN *rest"]:
    return x.reshape(-1, *x.shape[2:])


def _sum_of_blocks(products: Float[Array, "c1 N1 c2 N2 *kept"]) -> Float[Array, "N1 N2 *kept"]:
    """The sum over the positions of two blocks. Short sums are written out: XLA fuses them with the products."""
    c1, _, c2, _, *_ = products.shape
    if c1 * c2 > 16:
        return jnp.sum(products, axis=(0, 2))
    return functools.reduce(jnp.add, [products[i, :, j] for i in range(c1) for j in range(c2)])


def parts_kernel(
    axes: OutputAxes,
    num_parts: int,
    part1: Callable[[Array], Array],
    part2: Callable[[Array], Array] | None,
) -> Float[Array, "N1 N2 *kept"]:
    """The kernel of gradients that are formed one part after the other, so that memory holds only one part.

    Args:
        axes: The outputs.
        num_parts: The number of parts.
        part1: Maps the number of a part to that part of the gradients of the first side, (N1, B, P, *outputs, Q).
        part2: The same for the second side. None means the first side.
    """

    def one(i: Integer[Array, ""]) -> Float[Array, "N1 N2 *kept"]:
        gradient = part1(i)
        return axes.gram(gradient, gradient if part2 is None else part2(i), first=3)

    if num_parts == 1:
        return one(jnp.zeros((), int))
    shape = jax.eval_shape(one, jnp.zeros((), int))
    start = jnp.zeros(shape.shape, shape.dtype)
    return lax.scan(lambda kernel, i: (kernel + one(i), None), start, jnp.arange(num_parts))[0]


def gradients(right: Float[Array, "N *outputs B S Q"]) -> Callable[[Array], Array]:
    """The function that maps operands a, (N, B, S, P), to the gradients Σ_s a_s ⊗ δ_s, (N, B, P, *outputs, Q).

    `right` is δ. Its axes are brought into an order in which each gradient is one matrix product.
    """
    num_inputs, *outputs, B, S, Q = right.shape
    columns = jnp.moveaxis(right, (-3, -2), (1, 2)).reshape(num_inputs, B, S, -1)

    def gradient(left: Float[Array, "N B S P"]) -> Float[Array, "N B P *outputs Q"]:
        return highest_einsum("nbsp,nbsk->nbpk", *of_one_dtype(left, columns)).reshape(num_inputs, B, -1, *outputs, Q)

    return gradient
