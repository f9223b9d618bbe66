"""Kernel matrices tile by tile, so that memory is bounded by a tile and not by the batch.

Tiles are loops of the compiled program: one body is compiled, whatever the number of tiles.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def kernel_by_tiles(
    side: Callable[[Any], Any],
    pair: Callable[[Any, Any], jax.Array],
    transposed: Callable[[jax.Array], jax.Array],
    x1: Any,
    x2: Any,
    size: int,
) -> jax.Array:
    """The kernel between all inputs of x1 and of x2, `size` inputs of each at a time.

    Args:
        side: What has to be known of a tile of inputs, for itself.
        pair: The kernel (size, size, …) between two such sides.
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

    def put(kernel: jax.Array, block: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice(kernel, block, (i * size, j * size, *(0 for _ in block.shape[2:])))

    def row(kernel: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        side1 = side(tile(x1, i))

        def entry(kernel: jax.Array, offset: jax.Array) -> tuple[jax.Array, None]:
            j = (i + offset) % tiles1 if x2 is None else offset
            block = pair(side1, side(tile(x1 if x2 is None else x2, j)))
            kernel = put(kernel, block, i, j)
            return (put(kernel, transposed(block), j, i) if x2 is None else kernel), None

        return lax.scan(entry, kernel, jnp.arange(num_partners))[0], None

    one = jax.eval_shape(lambda: pair(*(side(tile(x, jnp.zeros((), int))) for x in (x1, x1 if x2 is None else x2))))
    kernel = jnp.zeros((tiles1 * size, tiles2 * size, *one.shape[2:]), one.dtype)
    return lax.scan(row, kernel, jnp.arange(tiles1))[0][:num1, :num2]


def _length(x: Any) -> int:
    return jax.tree.leaves(x)[0].shape[0]
