"""Kernel matrices tile by tile. The size of a tile bounds the memory, whatever the batch, and a tile stays in cache.

The tiles are one loop of the compiled program. Its body is compiled once, whatever the number of tiles.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

_LANES = 8  # numbers of float32 in a vector of AVX2


def kernel_by_tiles(
    sides: tuple[Callable[[PyTree], PyTree], Callable[[PyTree], PyTree]],
    pair: Callable[[PyTree, PyTree], PyTree],
    transposed: Callable[[jax.Array], jax.Array],
    x1: PyTree,
    x2: PyTree,
    size: int,
) -> PyTree:
    """The kernel between all inputs of x1 and of x2, at most `size` inputs of each at a time.

    All tiles have one size: that of as few tiles as possible, of equal size, and a multiple of 8 where that is not more
    than `size`, for the vector units of a core. If it does not divide the number of inputs, the last tile overlaps the
    one before it. Nothing is padded.

    Args:
        sides: Two functions. They map a tile of x1 and a tile of x2 to the arguments of `pair`. The first is called
            once for each row of tiles.
        pair: The kernel (n1, n2, …) between two such sides, or a pytree of kernels.
        transposed: Exchanges the two sides of a kernel.
        x1: A pytree of arrays (N1, …).
        x2: The other inputs, a pytree of arrays (N2, …). None means x1. Then only the tiles on and above the diagonal
            are computed, and mirrored.
        size: The largest number of inputs of a side that a tile has.

    Returns:
        The kernel (N1, N2, …), or the pytree of kernels.
    """
    other = x1 if x2 is None else x2
    lengths = num_inputs(x1), num_inputs(other)
    counts = [-(-length // size) for length in lengths]
    evenly = [-(-length // count) for length, count in zip(lengths, counts, strict=True)]
    sizes = [min(-(-each // _LANES) * _LANES, size, length) for each, length in zip(evenly, lengths, strict=True)]
    numbers = np.indices(counts).reshape(2, -1).T
    if x2 is None:
        numbers = numbers[numbers[:, 0] <= numbers[:, 1]]
    starts = np.minimum(numbers * sizes, np.subtract(lengths, sizes))
    begins_row = np.diff(numbers[:, 0], prepend=-1) > 0

    def side1_from(start: jax.Array | int) -> PyTree:
        return sides[0](_rows(x1, start, sizes[0]))

    def block_between(side1: PyTree, start: jax.Array | int) -> PyTree:
        return pair(side1, sides[1](_rows(other, start, sizes[1])))

    def add_tile(carry: tuple[PyTree, PyTree], tile: tuple[jax.Array, jax.Array]) -> tuple[tuple[PyTree, PyTree], None]:
        (kernel, side1), ((start1, start2), begins) = carry, tile
        side1 = lax.cond(begins, lambda: side1_from(start1), lambda: side1)
        block = block_between(side1, start2)
        kernel = _put(kernel, block, start1, start2)
        if x2 is None:
            kernel = _put(kernel, jax.tree.map(transposed, block), start2, start1)
        return (kernel, side1), None

    side1 = jax.eval_shape(side1_from, 0)
    blocks = jax.eval_shape(block_between, side1, 0)
    kernel = jax.tree.map(lambda block: jnp.zeros((*lengths, *block.shape[2:]), block.dtype), blocks)
    side1 = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), side1)
    return lax.scan(add_tile, (kernel, side1), (jnp.asarray(starts), jnp.asarray(begins_row)))[0][0]


def swapped(kernel: jax.Array) -> jax.Array:
    """A kernel (N1, N2, …) with its two sides exchanged."""
    return jnp.swapaxes(kernel, 0, 1)


def side_by_tiles(
    side: Callable[[PyTree], PyTree], x: PyTree, size: int
) -> tuple[list[jax.Array], Callable[[list[jax.Array]], PyTree]]:
    """The results of `side` for all inputs. A separate loop computes them once for each input.

    Without the loop, XLA would merge `side` with the code that reads its results, and compute it for each pair of
    inputs.

    Args:
        side: A function of inputs (n, …) that returns a pytree of arrays. If an array grows with n, its first axis is
            that of the inputs.
        x: A pytree of arrays (N, …).
        size: The largest number of inputs that `side` is given.

    Returns:
        The arrays that grow, (N, …), and a function that maps rows of them to the pytree of `side`.
    """
    length = num_inputs(x)
    size = min(size, -(-length // 2))  # XLA does not keep a loop of one step apart
    starts = np.minimum(np.arange(0, length, size), length - size)
    one, two = (jax.eval_shape(side, _of_length(x, count)) for count in (1, 2))
    leaves, structure = jax.tree.flatten(one)
    grows = [leaf.shape != other.shape for leaf, other in zip(leaves, jax.tree.leaves(two), strict=True)]

    def parts(start: jax.Array | int, wanted: bool) -> list[jax.Array]:
        found = jax.tree.leaves(side(_rows(x, start, size)))
        return [leaf for leaf, grown in zip(found, grows, strict=True) if grown is wanted]

    def add(wholes: list[jax.Array], start: jax.Array) -> tuple[list[jax.Array], None]:
        pairs = zip(wholes, parts(start, True), strict=True)
        return [lax.dynamic_update_slice_in_dim(whole, part, start, 0) for whole, part in pairs], None

    shapes = [leaf for leaf, grown in zip(leaves, grows, strict=True) if grown]
    empty = [jnp.zeros((length, *leaf.shape[1:]), leaf.dtype) for leaf in shapes]
    wholes = lax.scan(add, empty, jnp.asarray(starts))[0]
    fixed = [] if all(grows) else parts(0, False)

    def of_rows(rows: list[jax.Array]) -> PyTree:
        varying, same = iter(rows), iter(fixed)
        return jax.tree.unflatten(structure, [next(varying if grown else same) for grown in grows])

    return wholes, of_rows


def _of_length(x: PyTree, count: int) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), x)


def _rows(x: PyTree, start: jax.Array | int, size: int) -> PyTree:
    return jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, start, size), x)


def _put(kernels: PyTree, blocks: PyTree, start1: jax.Array, start2: jax.Array) -> PyTree:
    def put_one(kernel: jax.Array, block: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice(kernel, block, (start1, start2, *(0 for _ in block.shape[2:])))

    return jax.tree.map(put_one, kernels, blocks)


def num_inputs(x: PyTree) -> int:
    """N of a pytree of inputs (N, …)."""
    return jax.tree.leaves(x)[0].shape[0]


def device_memory() -> int:
    """Bytes of memory of the first device. If it has none of its own, the memory that this process may use."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _limits_of_control_groups():
        if file.exists() and (text := file.read_text(encoding="utf-8").strip()) != "max":
            limits.append(int(text))
    return min(limits)


@functools.cache
def _limits_of_control_groups() -> list[Path]:
    """The files with Linux's memory limits of this process's control groups, such as those of a job or a container."""
    root, own = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
    lines = own.read_text(encoding="utf-8").splitlines() if own.exists() else []
    groups = [root / line.split("::/", 1)[1] for line in lines if line.startswith("0::/")]
    folders = [folder for group in groups or [root] for folder in (group, *group.parents)]
    return [folder / "memory.max" for folder in folders if folder.is_relative_to(root)]
