"""Arrays over pairs of positions of which the second one is an offset after the first (theory.md 3.25).

The offsets along an axis are taken modulo a period, so that one array of as many entries as positions holds those of
two offsets, o and o less the period. Where the period is larger than the number of positions, some entries are of no
pair. They are of the last position instead, unless a map of positions puts zeros there.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from ntk.programs.language.atoms import Window
from ntk.programs.limit.arrays.indices import Indices


class Offsets(NamedTuple):
    """How far apart two positions are, for each of their axes. The entries at p are of (p, q), q = p + so mod sL.

    Attributes:
        numbers: o for each axis that a loop is over.
        periods: L for each of these axes, at which o begins anew.
    """

    numbers: dict[int, Int[Array, ""]]
    periods: dict[int, int]

    def seconds(self, values: Array, place: int, axis: int, step: int) -> Array:
        """What the second field has at q, for each p along one axis.

        Args:
            values: Its values at all positions.
            place: The axis of the array.
            axis: The position axis.
            step: s.
        """
        size = values.shape[place]
        last = lax.slice_in_dim(values, size - 1, size, axis=place)
        period = step * self.periods[axis]
        missing = [jnp.repeat(last, period - size, place)] if period > size else []
        return lax.dynamic_slice_in_dim(
            jnp.concatenate([values, *missing, values], place), step * self.numbers[axis], size, place
        )

    def none(self, axes: tuple[int, ...]) -> Bool[Array, ""]:
        """Whether positions are equal along all these axes."""
        return jnp.all(jnp.stack([self.numbers[axis] == 0 for axis in axes]))

    def exist(self, axis: int, step: int, size: int) -> Bool[Array, " P"] | None:
        """Where the second one of two positions exists; None for everywhere."""
        if step * self.periods[axis] == size:
            return None
        return self._places(axis, step, size) < size

    def _places(self, axis: int, step: int, size: int) -> Int[Array, " P"]:
        """q for each p."""
        return jnp.mod(jnp.arange(size) + step * self.numbers[axis], step * self.periods[axis])

    def read(self, window: Window, array: Array, place: int, axis: int, step: int) -> list[Array]:
        """What stands at each place of the windows of both fields, 0 where a window ends beside all positions.

        Args:
            window: Of both.
            array: The entries at sp + …
            place: The axis of the array.
            axis: The position axis.
            step: How many times o the offset between two windows is.
        """
        parts, size = window.reads(array, (place,)), array.shape[place]
        count = window.count(size)
        if window.circular:  # which a plan has only where all positions exist
            return parts
        exist, found = self.exist(axis, step, count), []
        for number, part in enumerate(parts):
            shift = number * window.dilation - window.before
            may_leave = shift < 0 or window.stride * (count - 1) + shift >= size
            where = exist
            if may_leave:
                read = window.stride * self._places(axis, step, count) + shift
                inside = (read >= 0) & (read < size)
                where = inside if exist is None else inside & exist
            found.append(part if where is None else jnp.where(_along(where, place, part.ndim), part, 0.0))
        return found

    def mean(self, array: Array, indices: Indices, count: int) -> Array:
        """The part of these offsets in the mean over all pairs of positions.

        Args:
            array: The entries, with the inputs on its first axes.
            indices: Of the entries.
            count: The number of all pairs.
        """
        rank = len(indices.names)
        lead = array.ndim - rank
        for axis in indices.looped:
            place = lead + indices.names.index(indices.left[axis])
            exist = self.exist(axis, indices.steps[axis], array.shape[place])
            if exist is not None:
                array = jnp.where(_along(exist, place, array.ndim), array, 0.0)
        return jnp.sum(array, axis=tuple(range(lead, array.ndim))) / count


def _along(where: Bool[Array, " P"], place: int, rank: int) -> Array:
    """An array along one axis of several."""
    return jnp.expand_dims(where, [each for each in range(rank) if each != place])
