"""C and τ of fields whose positions are moved, mixed or convolved. All of this is linear in each side."""

import dataclasses
import functools
import math
import string
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array

from ntk.linalg import highest_einsum
from ntk.programs.language.atoms import Mixed, Moved, Transposed, Window
from ntk.programs.language.positions import AxisMap, Entry, Mean, Pad, Repeat, Steps
from ntk.programs.limit.arrays.indices import Indices, Named, matched
from ntk.programs.limit.arrays.plan import Alone, Field, Moments, Need, NotOnArrays, Pair, Rule
from ntk.programs.limit.arrays.values import Values


def moved(key: Pair, indices: Indices) -> Rule:
    """A map of one axis acts on the side that it belongs to; on both at once if it only selects, and both have it."""
    a, b = key
    names, steps = [list(each) for each in indices.sides], list(indices.steps)
    if isinstance(a, Moved) and isinstance(b, Moved) and _alike(a, b, indices):
        sides: tuple[int, ...] = (0, 1)
        move, inner_key = a.map, Pair(a.vector, b.vector)
    elif isinstance(a, Moved):
        sides, move, inner_key = (0,), a.map, Pair(a.vector, b)
    else:
        assert isinstance(b, Moved)
        sides, move, inner_key = (1,), b.map, Pair(a, b.vector)
    elsewhere: list[int] = [] if len(sides) == 2 else names[1 - sides[0]]
    made = None if isinstance(move, Entry | Mean) else names[sides[0]][move.axis]  # the name after the map, and before
    read = None if isinstance(move, Repeat) else indices.fresh if made is None or made in elsewhere else made
    for side in sides:
        names[side][move.axis : move.axis + (made is not None)] = [] if read is None else [read]
    window = None
    if read is None:
        steps[move.axis : move.axis + 1] = []
    elif move.axis in indices.looped:
        window = selected(move, inner_key.a.shape[move.axis])
        steps[move.axis] *= window.stride
    inner = Indices(tuple(names[0]), tuple(names[1]), tuple(steps))

    def after(values: Values, array: Array) -> Array:
        moment = Named(array, inner.names)
        if window is not None:
            assert made is not None
            (array,) = values.read(window, array, moment.axis(made), move.axis, indices)
            moment = moment._replace(array=array)
        elif read is None:
            assert made is not None
            if made not in moment.names:
                moment = Named(move.apply(moment.array, moment.array.ndim), (*moment.names, made))
        else:
            applied = move.apply(moment.array, moment.axis(read))
            moment = moment.without(read, applied) if made is None else moment._replace(array=applied)
            if made is not None and made != read:
                moment = moment.diagonal(read, made)
        return moment.ordered(indices.names)

    return Rule([Need(0, inner_key, inner)], functools.partial(_of_both, after))


def _alike(a: Moved, b: Moved, indices: Indices) -> bool:
    """Whether both sides are moved by one map, which keeps equal positions equal, along an axis of one size."""
    if a.map != b.map or not a.map.selects:
        return False
    axis = a.map.axis
    if not isinstance(a.map, Repeat) and a.vector.shape[axis] != b.vector.shape[axis]:
        return False
    return isinstance(a.map, Entry) or indices.left[axis] == indices.right[axis]


def selected(move: AxisMap, size: int) -> Window:
    """A map that takes every so many of `size` positions, or puts zeros around all, as a window of one position.

    Raises:
        NotOnArrays: It is another map.
    """
    match move:
        case Pad(before=before, after=after, between=0):
            return Window(1, 1, 1, before, after, False)
        case Steps(first=first, step=step, count=count) if step > 0:
            return Window(1, step, 1, -first, first + (count - 1) * step + 1 - size, False)
    raise NotOnArrays


def _of_both(after: Callable[[Values, Array], Array], values: Values, z: Moments) -> Moments:
    return Moments(*(None if part is None else after(values, part) for part in (z.C, z.tau)))


def transposed(key: Pair, indices: Indices) -> Rule:
    """Position axes in another order, of one side or of both: the same entries under other names."""
    fields, names = list(key), list(indices.sides)
    for side, field in enumerate(key):
        if isinstance(field, Transposed):
            fields[side] = field.vector
            names[side] = tuple(names[side][field.order.index(axis)] for axis in range(len(field.order)))
    inner = Indices(names[0], names[1])

    def after(_: Values, array: Array) -> Array:
        return Named(array, inner.names).ordered(indices.names)

    return Rule([Need(0, Pair(fields[0], fields[1]), inner)], functools.partial(_of_both, after))


def mixed(key: Pair, indices: Indices) -> Rule:
    """Σ_q w_pq of the moments at q, of one side."""
    a, b = key
    if isinstance(a, Mixed):
        side, weights, inner_key = 0, a.weights, Pair(a.vector, b)
    else:
        assert isinstance(b, Mixed)
        side, weights, inner_key = 1, b.weights, Pair(a, b.vector)
    names = [list(each) for each in indices.sides]
    position = names[side][-1]
    names[side][-1] = indices.fresh
    inner = Indices(tuple(names[0]), tuple(names[1]), indices.steps)
    weights_names = (*names[side][:-1], position, indices.fresh)

    def compute(values: Values, z: Moments, found: Array) -> Moments:
        mixing = functools.partial(_contracted, found, weights_names, inner.names, indices.names, side, values.paired)
        return Moments(*(None if part is None else mixing(part) for part in (z.C, z.tau)))

    return Rule([Need(0, inner_key, inner), Need(1 + side, Alone(weights))], compute)


def _contracted(
    weights: Array,
    weights_names: Sequence[int],
    names: Sequence[int],
    wanted: Sequence[int],
    side: int,
    paired: bool,
    moment: Array,
) -> Array:
    """Σ over the axes of the weights and of the moment that are not wanted."""
    letters = string.ascii_lowercase
    used = weights_names[len(weights_names) - weights.ndim + 1 :]
    # Axes of size 1 broadcast, and so do weights that are one for all inputs.
    dropped = tuple(axis for axis in range(weights.ndim - 2) if weights.shape[axis] == 1)
    inputs = "XY" if paired else "X"
    of_weights = [inputs[side if paired else 0], *(letters[name] for name in used)]
    subscripts = "".join(letter for axis, letter in enumerate(of_weights) if axis not in dropped)
    of_moment = inputs + "".join(letters[name] for name in names)
    result = inputs + "".join(letters[name] for name in wanted)
    return highest_einsum(f"{subscripts},{of_moment}->{result}", jnp.squeeze(weights, dropped), moment)


def convolved(
    windows: tuple[tuple[Window, ...], tuple[Window, ...]], sources: Pair, indices: Indices
) -> tuple[Need, Callable[[Values, Array], Array]]:
    """What a convolution reads, and the mean over its offsets o of the entries at (sp + o, sq + o).

    Args:
        windows: Of both sides, of the same sizes. The padding may differ, if the sources have different sizes.
        sources: What is read.
        indices: Of the results.
    """
    alike = matched(sources.a.shape, sources.b.shape)
    left = tuple(
        name
        if name not in indices.right or (indices.right[axis] == name and alike.left[axis] == alike.right[axis])
        else indices.fresh + axis
        for axis, name in enumerate(indices.left)
    )
    steps = tuple(step * window.stride for step, window in zip(indices.steps, windows[0], strict=bool(indices.steps)))
    inner = Indices(left, indices.right, steps)

    def mean(values: Values, array: Array) -> Array:
        moment = Named(array, inner.names)
        # A window is a product of intervals, so that the mean is taken axis by axis.
        for axis, (window, other, p, q) in enumerate(zip(*windows, *inner.sides, strict=True)):
            if axis in indices.looped:
                shifted = values.read(window, moment.array, moment.axis(p), axis, indices)
            elif window == other:
                shifted = window.reads(moment.array, tuple({moment.axis(p), moment.axis(q)}))
            else:
                parts = enumerate(window.reads(moment.array, (moment.axis(p),)))
                shifted = [other.reads(part, (moment.axis(q),))[offset] for offset, part in parts]
            moment = moment._replace(array=sum(shifted[1:], shifted[0]))
        for name, wanted in zip(inner.left, indices.left, strict=True):
            if name != wanted:
                moment = moment.diagonal(name, wanted)
        return moment.ordered(indices.names) / math.prod(window.size for window in windows[0])

    return Need(0, sources, inner), mean


def at_equal(a: Field, b: Field, indices: Indices) -> Indices:
    """The indices of what is known at `matched` positions alone, or in a loop over offsets would be."""
    return dataclasses.replace(matched(a.shape, b.shape), steps=indices.steps)


def where_equal(values: Values, array: Array, have: Indices, indices: Indices) -> Array:
    """Moments at equal positions, or at all pairs along some axes, as those for `indices`: 0 where positions differ."""
    left = dict(zip(have.left, indices.left, strict=True))
    right = dict(zip(have.right, indices.right, strict=True))
    moment = Named(array, tuple(left[name] if name in left else right[name] for name in have.names))
    for p, q in zip(*indices.sides, strict=True):
        if q not in moment.names:
            moment = moment.spread(p, q)
        elif p != q:
            moment = moment.where_equal(p, q)
    return values.where_no_offset(moment.ordered(indices.names), indices)
