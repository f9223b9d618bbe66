"""Kernels in pieces that stay in cache: tiles of a matrix, half of them mirrored, and one time after another."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Inputs = TypeVar("Inputs")  # a pytree of arrays (N, …)
State = TypeVar("State")
Sequences = TypeVar("Sequences")  # a pytree of arrays (N, T, …)


def by_tiles(
    kernel: Callable[[Inputs, Inputs], Float[Array, "n1 n2"]], inputs1: Inputs, inputs2: Inputs | None, size: int
) -> Float[Array, "N1 N2"]:
    """`kernel` between all inputs of two batches, or of one where `inputs2` is None, which must be symmetric then.

    One loop over tiles of `size` inputs a side. The last tile of a side overlaps the one before it where the sizes do
    not fit, so that no tile is smaller than the others and nothing is padded.
    """
    other = inputs1 if inputs2 is None else inputs2
    shape = tuple(len(jax.tree.leaves(inputs)[0]) for inputs in (inputs1, other))
    numbers = np.indices([-(-length // size) for length in shape]).reshape(2, -1)
    if inputs2 is None:
        numbers = numbers[:, numbers[0] <= numbers[1]]
    sizes = [min(size, length) for length in shape]
    starts = np.minimum(numbers * size, np.subtract(shape, sizes)[:, None])

    def rows(inputs: Inputs, start: jax.Array, size: int) -> Inputs:
        return jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, start, size), inputs)

    def add_tile(result: jax.Array, start: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        tile = kernel(rows(inputs1, start[0], sizes[0]), rows(other, start[1], sizes[1]))
        result = lax.dynamic_update_slice(result, tile, start)
        if inputs2 is None:
            result = lax.dynamic_update_slice(result, tile.T, start[::-1])
        return result, None

    dtype = jax.eval_shape(kernel, inputs1, other).dtype
    return lax.scan(add_tile, jnp.zeros(shape, dtype), tuple(starts))[0]


def scan_times(step: Callable[[State, Sequences], State], state: State, sequences: Sequences) -> State:
    """`state` after `step(state, sequences at t)` for all t. Each time is read ahead, into the state of the loop.

    Read where it is used, it would be read again for every entry that it broadcasts against.
    """

    def at(time: int | jax.Array) -> Sequences:
        return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, time, axis=1, keepdims=False), sequences)

    def body(time: jax.Array, carry: tuple[State, Sequences]) -> tuple[State, Sequences]:
        state, now = carry
        return step(state, now), at(time + 1)

    num_steps = jax.tree.leaves(sequences)[0].shape[1]
    return lax.fori_loop(0, num_steps, body, (state, at(0)))[0]
