"""Inner products of gradients without the gradients: Gram matrices of operands times those of δ, or parts of them.

Arrays of one side of a kernel: operands `left` (N, B, S, P), `right` δ (N, *outputs, B, S, Q), see `linear_ops`. Every
product here is computed at highest precision.
"""

import functools
import math
import string
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

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

    def gram(self, x1: jax.Array, x2: jax.Array) -> jax.Array:
        """Products of (N1, *outputs, K) and (N2, *outputs, K) summed over K: (N1, N2, *kept)."""
        if len(self.trace) == len(self.shape):  # one matrix product
            x1, x2 = x1.reshape(len(x1), -1), x2.reshape(len(x2), -1)
            return jnp.matmul(x1, x2.T, precision=lax.Precision.HIGHEST)
        letters = iter(string.ascii_letters)
        left, right, result = "", "", ""
        for axis in range(len(self.shape)):
            a = next(letters)
            b = a if axis in self.trace or axis in self.diagonal else next(letters)
            left, right = left + a, right + b
            result += "" if axis in self.trace else a if axis in self.diagonal else a + b
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

    def beside(self, kernel: jax.Array) -> jax.Array:
        """(N1, N2) with an axis of length 1 for each kept one."""
        return kernel.reshape(*kernel.shape, *(1 for _ in self.kept))


def gradient_kernel(axes: OutputAxes, gradient1: jax.Array, gradient2: jax.Array) -> jax.Array:
    """The kernel of gradients (N, *outputs, *parameter)."""
    num_axes = 1 + len(axes.shape)
    return axes.gram(*(g.reshape(*g.shape[:num_axes], -1) for g in (gradient1, gradient2)))


Side = tuple[jax.Array, jax.Array]  # left and right


def gram_kernel(axes: OutputAxes, side1: Side, side2: Side | None, left_gram: Callable | None = None) -> jax.Array:
    """Σ_{b,s,t} (a_s·ā_t) (δ_s·δ̄_t), one pair of positions after the other; of one side with itself, half of them.

    `left_gram` takes two arrays (N, P) to the (N1, N2) products of operands where these are not plain ones.
    """
    left_gram = left_gram or (lambda a1, a2: jnp.matmul(a1, a2.T, precision=lax.Precision.HIGHEST))
    by_position1 = _by_position(axes, side1)
    by_position2 = by_position1 if side2 is None else _by_position(axes, side2)

    def term(b: jax.Array, s: jax.Array, t: jax.Array) -> jax.Array:
        (a1, d1), (a2, d2) = ([x[b, p] for x in side] for side, p in ((by_position1, s), (by_position2, t)))
        return axes.beside(left_gram(a1, a2)) * axes.gram(d1, d2)

    num_products, num_positions = by_position1[0].shape[:2]
    num_positions2 = by_position2[0].shape[1]
    if num_products == num_positions == num_positions2 == 1:
        return term(0, 0, 0)
    start = jnp.zeros(jax.eval_shape(term, 0, 0, 0).shape, jax.eval_shape(term, 0, 0, 0).dtype)

    def total(pairs: jax.Array) -> jax.Array:
        return lax.scan(lambda kernel, pair: (kernel + term(*pair), None), start, pairs)[0]

    every = jnp.stack(jnp.meshgrid(*map(jnp.arange, (num_products, num_positions, num_positions2)), indexing="ij"), -1)
    if side2 is not None:
        return total(every.reshape(-1, 3))
    same = jnp.arange(num_positions)
    later = jnp.stack(jnp.triu_indices(num_positions, 1), -1)
    upper = total(_for_each_product(num_products, later))
    return total(_for_each_product(num_products, jnp.stack([same, same], -1))) + upper + axes.transposed(upper)


def _for_each_product(num_products: int, pairs: jax.Array) -> jax.Array:
    """Pairs (M, 2) of positions, for every b: (B·M, 3)."""
    products = jnp.repeat(jnp.arange(num_products), len(pairs))
    return jnp.concatenate([products[:, None], jnp.tile(pairs, (num_products, 1))], axis=1)


def _by_position(axes: OutputAxes, side: Side) -> Side:
    """B and S first: (B, S, N, P) and (B, S, N, *outputs, Q)."""
    left, right = side
    k = 1 + len(axes.shape)
    return jnp.moveaxis(left, (1, 2), (0, 1)), jnp.moveaxis(right, (k, k + 1), (0, 1))


def parts_kernel(
    axes: OutputAxes,
    num_parts: int,
    part1: Callable[[jax.Array], jax.Array],
    part2: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
    """The kernel of gradients that are formed one part after the other, so that no more than a part is in memory.

    `part1(i)` is part number i, (N1, *outputs, …); None for `part2` means the same side.
    """

    def one(i: jax.Array) -> jax.Array:
        gradient = part1(i)
        return gradient_kernel(axes, gradient, gradient if part2 is None else part2(i))

    if num_parts == 1:
        return one(jnp.zeros((), int))
    shape = jax.eval_shape(one, jnp.zeros((), int))
    start = jnp.zeros(shape.shape, shape.dtype)
    return lax.scan(lambda kernel, i: (kernel + one(i), None), start, jnp.arange(num_parts))[0]


def gradient(axes: OutputAxes, left: jax.Array, right: jax.Array) -> jax.Array:
    """Σ_s δ_s ⊗ a_s from (N, B, S, P) and (N, *outputs, B, S, Q): (N, *outputs, B, P, Q)."""
    outputs = string.ascii_uppercase[: len(axes.shape)]
    return _einsum(f"nbsp,n{outputs}bsq->n{outputs}bpq", left, right)
