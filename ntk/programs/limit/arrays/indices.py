"""Index notation: moments of z_p and z̄_q as arrays over the positions that are needed, all C_pq or C_pp alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from ntk.programs.language.positions import Shape


@dataclass(frozen=True)
class Indices:
    """A name for each position axis of two fields. Axes of one name are looked at where their positions are equal.

    In a loop over offsets o (theory.md 3.25) they may be looked at where the second position is so many times o after
    the first. Then the fields have the same axes, and axes of one name have one size.

    Attributes:
        left: Of the first field, all different.
        right: Of the second field, all different.
        steps: For each axis, how many times o; 0 for equal positions and for two names. () outside of such a loop.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    steps: tuple[int, ...] = ()

    @property
    def sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The names of both."""
        return self.left, self.right

    @property
    def looped(self) -> tuple[int, ...]:
        """The axes of which the positions are an offset apart."""
        return tuple(axis for axis, step in enumerate(self.steps) if step)

    @property
    def names(self) -> tuple[int, ...]:
        """Every name once, in the order of an array's axes."""
        return tuple(dict.fromkeys((*self.left, *self.right)))

    @property
    def fresh(self) -> int:
        """A name that is not among them; so are all numbers above it."""
        return 1 + max(self.names, default=-1)

    def numbered(self) -> "Indices":
        """The same with 0, 1, 2, … for names, in the order of the axes."""
        place = {name: number for number, name in enumerate(self.names)}
        return Indices(tuple(place[name] for name in self.left), tuple(place[name] for name in self.right), self.steps)


def equal(rank: int) -> Indices:
    """Equal positions alone, of two fields of so many axes."""
    return Indices(tuple(range(rank)), tuple(range(rank)))


def matched(shape1: Shape, shape2: Shape) -> Indices:
    """Equal positions along axes of one size, and all pairs along axes of two."""
    rank = len(shape1)
    sizes = enumerate(zip(shape1, shape2, strict=True))
    return Indices(tuple(range(rank)), tuple(axis if p == q else rank + axis for axis, (p, q) in sizes)).numbered()


def all_pairs(rank1: int, rank2: int) -> Indices:
    """All pairs of positions."""
    return Indices(tuple(range(rank1)), tuple(range(rank1, rank1 + rank2)))


def joined(first: Indices, second: Indices) -> Indices:
    """What holds all entries that either asks for: axes are equal where they are so in both. Offsets must agree."""
    first, second = first.numbered(), second.numbered()
    free = iter(range(len(first.left), len(first.left) + len(first.right)))
    right = tuple(
        i if i == j and i < len(first.left) else next(free) for i, j in zip(first.right, second.right, strict=True)
    )
    return Indices(first.left, right, first.steps)


class Named(NamedTuple):
    """An array of which the last axes have names. Those before them are of the inputs.

    Attributes:
        array: The array.
        names: Of its last axes.
    """

    array: Array
    names: tuple[int, ...]

    def axis(self, name: int) -> int:
        """Which axis has that name."""
        return self.array.ndim - len(self.names) + self.names.index(name)

    def without(self, name: int, array: Array) -> "Named":
        """An array that has lost that axis."""
        return Named(array, tuple(other for other in self.names if other != name))

    def diagonal(self, name: int, other: int) -> "Named":
        """The entries at equal positions of two axes, as one axis of the second name."""
        entries = jnp.diagonal(self.array, axis1=self.axis(name), axis2=self.axis(other))
        names = [each for each in self.names if each not in (name, other)]
        return Named(entries, (*names, other))

    def where_equal(self, name: int, other: int) -> "Named":
        """The entries at equal positions of two axes, and 0 elsewhere."""
        axes = self.axis(name), self.axis(other)
        size1, size2 = (self.array.shape[axis] for axis in axes)
        equal = jnp.expand_dims(jnp.eye(size1, size2, dtype=bool), [a for a in range(self.array.ndim) if a not in axes])
        if axes[0] > axes[1]:
            equal = jnp.swapaxes(equal, *axes)
        return self._replace(array=jnp.where(equal, self.array, 0.0))

    def spread(self, name: int, other: int) -> "Named":
        """The entries at equal positions of an axis and a further one, at the end, and 0 elsewhere."""
        size = self.array.shape[self.axis(name)]
        repeated = jnp.broadcast_to(self.array[..., None], (*self.array.shape, size))
        return Named(repeated, (*self.names, other)).where_equal(name, other)

    def ordered(self, names: Sequence[int]) -> Array:
        """The array with its axes in that order."""
        lead = self.array.ndim - len(names)
        return jnp.transpose(self.array, (*range(lead), *(self.axis(name) for name in names)))


def restricted(array: Array, have: Indices, want: Indices) -> Array:
    """Of the entries for some numbered indices those for others, of which more are equal."""
    named, rank, free = Named(array, have.names), len(have.left), []
    for name, wanted in zip(have.right, want.right, strict=True):
        if wanted >= rank:
            free.append(name)
        elif wanted != name:
            named = named.diagonal(name, wanted)
    return named.ordered((*have.left, *free))


def beside(
    values: Shaped[Array, "N ..."], own: Sequence[int], names: Sequence[int], side: int, paired: bool
) -> Shaped[Array, "..."]:
    """What one side has at its inputs and positions, to broadcast against moments.

    Args:
        values: For each input, or once for all (N = 1), and each position.
        own: The names of its position axes; the first axes may be missing, and those of size 1 broadcast.
        names: Of the axes of the moments.
        side: 0 or 1.
        paired: Whether the moments are of all pairs of inputs, else of each input with itself.
    """
    own = tuple(own)[len(own) - values.ndim + 1 :]
    ordered = Named(values, own).ordered([name for name in names if name in own])
    inputs = (1 - side,) if paired else ()  # where the other side's inputs stand
    missing = (1 + paired + place for place, name in enumerate(names) if name not in own)
    return jnp.expand_dims(ordered, (*inputs, *missing))
