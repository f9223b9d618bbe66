"""Kernel matrices tile by tile, so that memory is bounded by a tile and not by the batch.

Tiles are loops of the compiled program: one body is compiled, whatever the number of tiles.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def kernel_by_tiles(
    sides: tuple[Callable[[Any], Any], Callable[[Any], Any]],
    pair: Callable[[Any, Any], Any],
    transposed: Callable[[jax.Array], jax.Array],
    x1: Any,
    x2: Any,
    size: int,
) -> Any:
    """The kernel between all inputs of x1 and of x2, `size` inputs of each at a time.

    Args:
        sides: What has to be known of a tile of x1, and of one of x2, for itself.
        pair: The kernel (size, size, …) between two such sides, or a pytree of kernels.
        transposed: A kernel with its sides exchanged.
        x1: A pytree of arrays (N1, …).
        x2: The other inputs; None for x1 itself, of which one half of the tiles is computed and mirrored.
        size: Inputs to a tile; the last one may have fewer.

    Returns:
        (N1, N2, …).
    """
    num1 = _length(x1)
    num2 = num1 if x2 is None else _length(x2)
    tiles1 = -(-num1 // size)
    tiles2 = -(-num2 // size)
    # Tile i of a square kernel meets tiles i, i + 1, … in a circle, up to the one opposite: equally many for each i.
    num_partners = tiles1 // 2 + 1 if x2 is None else tiles2

    def tile(x: Any, number: jax.Array) -> Any:
        rows = jnp.minimum(number * size + jnp.arange(size), _length(x) - 1)
        return jax.tree.map(lambda leaf: leaf[rows], x)

    def put(kernels: Any, blocks: Any, i: jax.Array, j: jax.Array) -> Any:
        def put_one(kernel: jax.Array, block: jax.Array) -> jax.Array:
            return lax.dynamic_update_slice(kernel, block, (i * size, j * size, *(0 for _ in block.shape[2:])))

        return jax.tree.map(put_one, kernels, blocks)

    def row(kernel: Any, i: jax.Array) -> tuple[Any, None]:
        side1 = sides[0](tile(x1, i))

        def entry(kernel: Any, offset: jax.Array) -> tuple[Any, None]:
            j = (i + offset) % tiles1 if x2 is None else offset
            block = pair(side1, sides[1](tile(x1 if x2 is None else x2, j)))
            kernel = put(kernel, block, i, j)
            return (put(kernel, jax.tree.map(transposed, block), j, i) if x2 is None else kernel), None

        return lax.scan(entry, kernel, jnp.arange(num_partners))[0], None

    first = jnp.zeros((), int)
    one = jax.eval_shape(lambda: pair(sides[0](tile(x1, first)), sides[1](tile(x1 if x2 is None else x2, first))))
    kernel = jax.tree.map(lambda block: jnp.zeros((tiles1 * size, tiles2 * size, *block.shape[2:]), block.dtype), one)
    kernel, _ = lax.scan(row, kernel, jnp.arange(tiles1))
    return jax.tree.map(lambda kernel: kernel[:num1, :num2], kernel)


def _length(x: Any) -> int:
    return jax.tree.leaves(x)[0].shape[0]
