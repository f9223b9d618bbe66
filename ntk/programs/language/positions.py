"""Linear maps of position axes: what indexing, padding, repeating and pooling do to a field, one axis at a time.

A map acts on arrays: `apply(values, axis)`, where `axis` is the array's axis that holds the map's position axis. So the
same map serves values at finite width, and both position axes of a second moment.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk.checks import check_count, shown

Shape = tuple[int, ...]
Place = int | np.integer | slice | EllipsisType | None
Index = Place | tuple[Place, ...]  # of NumPy's basic indexing


@dataclass(frozen=True)
class AxisMap(abc.ABC):
    """A linear map along one position axis.

    Attributes:
        axis: Which.
    """

    axis: int

    # Whether each new position is one old position or zero, so that p = q stays p = q.
    selects = True

    @abc.abstractmethod
    def sizes(self, size: int | None) -> int | None:
        """How many positions there are after the map; None for no axis, before or after."""

    @abc.abstractmethod
    def apply(self, values: Array, axis: int) -> Array:
        """The values after the map."""

    def shape(self, shape: Shape) -> Shape:
        """The position axes after the map."""
        before = None if isinstance(self, Repeat) else shape[self.axis]
        after = self.sizes(before)
        rest = shape[self.axis + (before is not None) :]
        return (*shape[: self.axis], *(() if after is None else (after,)), *rest)


@dataclass(frozen=True)
class Entry(AxisMap):
    """One position; the axis goes."""

    place: int

    def sizes(self, size: int | None) -> int | None:
        """No axis."""
        return None

    def apply(self, values: Array, axis: int) -> Array:
        """The values there."""
        return lax.index_in_dim(values, self.place, axis, keepdims=False)


@dataclass(frozen=True)
class Steps(AxisMap):
    """Every so many positions from a first one on. A negative step goes backwards."""

    first: int
    step: int
    count: int

    def sizes(self, size: int | None) -> int | None:
        """How many are taken."""
        return self.count

    def apply(self, values: Array, axis: int) -> Array:
        """The values there."""
        last = self.first + (self.count - 1) * self.step
        low, high = min(self.first, last), max(self.first, last)
        taken = lax.slice_in_dim(values, low, high + 1, abs(self.step), axis)
        return lax.rev(taken, [axis]) if self.step < 0 else taken


@dataclass(frozen=True)
class Pad(AxisMap):
    """Zeros before and after, and between each two positions."""

    before: int
    after: int
    between: int

    def sizes(self, size: int | None) -> int | None:
        """More."""
        assert size is not None
        return self.before + size + (size - 1) * self.between + self.after

    def apply(self, values: Array, axis: int) -> Array:
        """The values with zeros around and between them."""
        widths = [(self.before, self.after, self.between) if i == axis else (0, 0, 0) for i in range(values.ndim)]
        return lax.pad(values, jnp.zeros((), values.dtype), widths)


@dataclass(frozen=True)
class Repeat(AxisMap):
    """The same at each position of a new axis."""

    count: int

    def sizes(self, size: int | None) -> int | None:
        """As many as that."""
        return self.count

    def apply(self, values: Array, axis: int) -> Array:
        """The values again and again."""
        return jnp.repeat(jnp.expand_dims(values, axis), self.count, axis)


@dataclass(frozen=True)
class Mean(AxisMap):
    """The mean over all positions; the axis goes."""

    selects = False

    def sizes(self, size: int | None) -> int | None:
        """No axis."""
        return None

    def apply(self, values: Array, axis: int) -> Array:
        """The mean."""
        return jnp.mean(values, axis)


@dataclass(frozen=True)
class Pool(AxisMap):
    """The means over windows of so many positions, every so many positions."""

    window: int
    stride: int

    selects = False

    def sizes(self, size: int | None) -> int | None:
        """How many windows are full."""
        assert size is not None
        return (size - self.window) // self.stride + 1

    def apply(self, values: Array, axis: int) -> Array:
        """The means."""
        count = self.sizes(values.shape[axis])
        assert count is not None
        last = (count - 1) * self.stride + 1
        parts = [lax.slice_in_dim(values, o, o + last, self.stride, axis) for o in range(self.window)]
        return sum(parts[1:], parts[0]) / self.window


def indexed(shape: Shape, index: Index) -> list[AxisMap]:
    """The maps, one after another, that NumPy's basic indexing amounts to: integers, slices, None and Ellipsis.

    Raises:
        TypeError: An index is something else.
        ValueError: An integer is out of range, a slice is empty, or there are too many indices.
    """
    indices = list(index) if isinstance(index, tuple) else [index]
    for item in indices:
        if isinstance(item, bool) or not (
            item is None or item is Ellipsis or isinstance(item, slice | int | np.integer)
        ):
            raise TypeError(f"a field is indexed by {shown(item)}; expected integers, slices, None and Ellipsis.")
    taken = sum(item is not None and item is not Ellipsis for item in indices)
    if taken > len(shape):
        raise ValueError(f"a field with axes {shape} is given {taken} indices; expected at most {len(shape)}.")
    if indices.count(Ellipsis) > 1:
        raise ValueError("a field is indexed by two Ellipsis; expected one at most.")
    if Ellipsis in indices:
        at = indices.index(Ellipsis)
        indices[at : at + 1] = [slice(None)] * (len(shape) - taken)
    maps: list[AxisMap] = []
    axis, sizes = 0, iter(shape)
    for item in indices:
        if item is None:
            maps.append(Repeat(axis, 1))
            axis += 1
            continue
        size = next(sizes)
        if isinstance(item, slice):
            places = range(size)[item]
            if len(places) == 0:
                raise ValueError(f"a field with axes {shape} is indexed by {item}; expected a position at least.")
            if places != range(size):
                maps.append(Steps(axis, places[0], places.step, len(places)))
            axis += 1
        elif isinstance(item, int | np.integer):
            if not -size <= item < size:
                raise ValueError(f"a field with axes {shape} is indexed by {item}; expected one of {size} positions.")
            maps.append(Entry(axis, int(item) % size))
    return maps


def check_sizes(name: str, sizes: Shape) -> None:
    """Refuse what is not a tuple of positive integers."""
    if not isinstance(sizes, tuple):
        raise ValueError(f"{name} is {shown(sizes)}; expected a tuple of sizes.")
    for size in sizes:
        check_count(name, size)


def axis_order(shape: Shape, order: tuple[int, ...]) -> tuple[int, ...]:
    """The order of the axes, which must be each of them once; all in reverse if it is ().

    Raises:
        ValueError: It is not.
    """
    axes = tuple(range(len(shape)))
    order = order or axes[::-1]
    for axis in order:
        check_count("order", axis, minimum=0)
    if sorted(order) != list(axes):
        raise ValueError(f"order is {order}; expected each of the axes {axes} once.")
    return order


def padding(shape: Shape, widths: tuple[tuple[int, ...], ...]) -> list[AxisMap]:
    """The maps that put so many zeros before and after, and between each two positions, along each axis.

    Raises:
        ValueError: These are not two or three counts for each axis.
    """
    if len(widths) != len(shape):
        raise ValueError(f"widths is {shown(widths)}; expected a pair for each of the axes {shape}.")
    for width in widths:
        if not isinstance(width, tuple) or len(width) not in (2, 3):
            raise ValueError(f"widths has {shown(width)}; expected counts of zeros: before, after (and between).")
        for count in width:
            check_count("widths", count, minimum=0)
    return [Pad(axis, *(*width, 0)[:3]) for axis, width in enumerate(widths) if any(width)]


def pooling(shape: Shape, windows: tuple[int, ...], strides: tuple[int, ...]) -> list[AxisMap]:
    """The maps that take means over windows along each axis; over all positions if `windows` is ().

    Raises:
        ValueError: These are not positive integers, one for each axis, or a window does not fit.
    """
    if not windows:
        return [Mean(0) for _ in shape]
    for name, counts in (("windows", windows), ("strides", strides)):
        if not isinstance(counts, tuple) or len(counts) != len(shape):
            raise ValueError(f"{name} is {shown(counts)}; expected an integer for each of the axes {shape}.")
        for count in counts:
            check_count(name, count)
    if any(window > size for window, size in zip(windows, shape, strict=True)):
        raise ValueError(f"windows is {windows}; expected windows that fit into the axes {shape}.")
    pools = zip(windows, strides, strict=True)
    return [Pool(axis, *pool) for axis, pool in enumerate(pools) if pool != (1, 1)]


def stretched(shape: Shape, target: Shape) -> list[AxisMap]:
    """The maps that broadcast a field of some axes to more, by NumPy's rule."""
    maps: list[AxisMap] = []
    new = len(target) - len(shape)
    for axis, size in enumerate(target):
        if axis < new:
            maps.append(Repeat(axis, size))
        elif shape[axis - new] != size:
            maps += [Entry(axis, 0), Repeat(axis, size)]
    return maps


def common_shape(shapes: Sequence[Shape]) -> Shape:
    """The axes that fields have in common when they meet, by NumPy's rule of broadcasting.

    Raises:
        ValueError: They do not fit.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(str(shape) for shape in shapes if shape)
        raise ValueError(f"fields with axes {listed} meet; expected axes that broadcast as NumPy's do.") from None
