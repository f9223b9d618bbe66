"""Means over all pairs of positions, by a loop over the offsets from one position to the other (theory.md 3.25).

Maps of positions that treat both sides alike, and all that acts at each position, keep pairs of one offset among
themselves. So all layers are computed for one offset while its arrays are in cache, and only the mean is kept. What
mixes offsets, such as attention or pooling, has no such loop: then arrays over all pairs of positions are made.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ntk.programs.language.atoms import Convolve, Dropped, Mixed, Moved, Transposed
from ntk.programs.language.loops import Scanned
from ntk.programs.language.positions import Entry, Mean, Repeat
from ntk.programs.language.scalars import is_number
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import Indices
from ntk.programs.limit.arrays.offsets.shifts import Offsets
from ntk.programs.limit.arrays.plan import (
    Averages,
    Field,
    Key,
    Moments,
    Need,
    NotOnArrays,
    Pair,
    Rule,
    RuleOf,
    Step,
    steps_to,
)
from ntk.programs.limit.arrays.values import Values


class Walk(NamedTuple):
    """A loop over offsets.

    Attributes:
        pairs: The fields of which the means are taken.
        indices: Of these fields.
        steps: The rules to follow at each offset.
        periods: For each axis of the loop, how many offsets there are.
    """

    pairs: tuple[Pair, ...]
    indices: Indices
    steps: list[Step]
    periods: dict[int, int]

    @property
    def work(self) -> int:
        """The number of all entries of arrays."""
        return math.prod(self.periods.values()) * sum(step.entries for step in self.steps)

    @property
    def saves(self) -> bool:
        """Whether all pairs of positions would take at least twice as many entries. Without strides they do not."""
        pairs = [step.key for step in self.steps if isinstance(step.key, Pair)]
        return 2 * self.work <= sum(math.prod(a.shape) * math.prod(b.shape) for a, b in pairs)

    def offsets(self) -> Int[np.ndarray, "O axes"]:
        """All offsets."""
        return np.array(list(itertools.product(*map(range, self.periods.values()))))


def with_loops_over_offsets(rule_of: RuleOf, goals: dict[Pair, Indices]) -> RuleOf:
    """The rules, with a loop over offsets for those means over all positions that can have one.

    Args:
        rule_of: The rule for a key.
        goals: The moments that are needed in the end.
    """
    alone: dict[Pair, Walk | None] = {}

    def looked_for(key: Key, indices: Indices, own: bool) -> Rule:
        if isinstance(key, Pair) and (fields := _averaged(key)):
            if key not in alone:
                alone[key] = _walk(rule_of, (fields,))
            if alone[key]:
                return Rule([], lambda values: None)
        return rule_of(key, indices, own)

    steps_to(looked_for, [Need(0, *goal) for goal in goals.items()], own=False)
    groups: dict[Averages, Walk] = {}
    for pairs in _of_one_shape([key for key, walk in alone.items() if walk]):
        together = _walk(rule_of, tuple(fields for key in pairs if (fields := _averaged(key))))
        if together:
            groups[Averages(tuple(pairs))] = together
    home = {key: group for group in groups for key in group.pairs}

    def rule(key: Key, indices: Indices, own: bool) -> Rule:
        if isinstance(key, Averages):
            return _averages(groups[key])
        if isinstance(key, Pair) and not own and key in home:
            place = home[key].pairs.index(key)
            return Rule([Need(0, home[key])], lambda _, found: found[place])
        return rule_of(key, indices, own)

    return rule


def _averaged(key: Pair) -> Pair | None:
    """The fields of which these are the means over all positions."""
    fields = [_field_averaged(field) for field in key]
    return Pair(fields[0], fields[1]) if fields[0] and fields[1] else None


def _field_averaged(field: Field) -> Vector | None:
    if field.shape or not (isinstance(field, Moved) and isinstance(field.map, Mean)):
        return None
    vector = field.vector
    while True:
        match vector.terms:
            case ((Moved(map=Mean(), vector=inner), factor),) if is_number(factor, 1.0):
                vector = inner
            case _:
                return vector


def _of_one_shape(keys: list[Pair]) -> list[list[Pair]]:
    """Means over fields of the same axes, which share all that they are made of."""
    groups: dict[tuple[tuple[int, ...], ...], list[Pair]] = {}
    for key in keys:
        fields = _averaged(key)
        assert fields is not None
        groups.setdefault((fields.a.shape, fields.b.shape), []).append(key)
    return list(groups.values())


def _walk(rule_of: RuleOf, pairs: tuple[Pair, ...]) -> Walk | None:
    """The loop over the offsets along all axes, or along the first one alone; None if it is not worth while.

    Along the first axis alone arrays are larger, which takes fewer turns. Along all axes those before a stride have
    fewer entries, as one of so many offsets is needed.
    """
    rank = len(pairs[0].a.shape)
    walks = [walk for count in {rank, 1} if (walk := _walk_along(rule_of, pairs, count)) and walk.saves]
    return min(walks, key=lambda walk: walk.work, default=None)


def _walk_along(rule_of: RuleOf, pairs: tuple[Pair, ...], count: int) -> Walk | None:
    """The loop along the first `count` axes."""
    ranks = {len(field.shape) for pair in pairs for field in pair}
    if len(ranks) > 1:
        return None
    (rank,) = ranks
    right = (*range(count), *range(rank, 2 * rank - count))
    indices = Indices(tuple(range(rank)), right, (1,) * count + (0,) * (rank - count))

    def rule_for_offsets(key: Key, indices: Indices, own: bool) -> Rule:
        _check_keeps_offsets(key, indices)
        return rule_of(key, indices, own)

    try:
        steps = steps_to(rule_for_offsets, [Need(0, pair, indices) for pair in pairs], own=False)
        with_positions = [step for step in steps if len(step.indices.steps) == rank]
        periods = {
            axis: max(-(-_size(step, axis) // step.indices.steps[axis]) for step in with_positions)
            for axis in range(count)
        }
        _check_ends_meet(steps, periods)
    except NotOnArrays:
        return None
    return Walk(pairs, indices, steps, periods)


def _size(step: Step, axis: int) -> int:
    assert isinstance(step.key, Pair)
    return step.key.a.shape[axis]


def _check_keeps_offsets(key: Key, indices: Indices) -> None:
    """Refuse what reads pairs of several offsets, or has other position axes than the fields of the mean."""
    if not isinstance(key, Pair) or any(key.a.shape[axis] != key.b.shape[axis] for axis in indices.looped):
        raise NotOnArrays
    if isinstance(key.a, Vector) or isinstance(key.b, Vector):
        return
    for field, other in (key, key[::-1]):
        match field:
            case Scanned() | Transposed() | Dropped() | Moved(map=Entry() | Mean()):
                raise NotOnArrays
            case Moved(map=Repeat()) if not _is_repeated_everywhere(field):
                raise NotOnArrays
            case Moved(map=move) if move.axis in indices.looped:
                if not (isinstance(other, Moved) and other.map == move):
                    raise NotOnArrays
            case Mixed(weights=weights) if len(weights.shape) > 2 or len(field.shape) - 1 in indices.looped:
                raise NotOnArrays


def _is_repeated_everywhere(field: Moved) -> bool:
    """Whether a field is one vector at all positions. Then its moments are the same at all offsets."""
    vector = field.vector
    while vector.shape:
        match vector.terms:
            case ((Moved(map=Repeat(), vector=inner), _),):
                vector = inner
            case _:
                return False
    return True


def _check_ends_meet(steps: list[Step], periods: dict[int, int]) -> None:
    """Refuse circular padding where the offsets begin anew elsewhere than the positions."""
    for step in steps:
        if isinstance(step.key, Pair) and isinstance(step.key.a, Convolve):
            for axis in step.indices.looped:
                window, period = step.key.a.windows[axis], step.indices.steps[axis] * periods[axis]
                sizes = step.key.a.source.shape[axis], step.key.a.shape[axis]
                if window.circular and sizes != (period * window.stride, period):
                    raise NotOnArrays


def _averages(walk: Walk) -> Rule:
    """The moments of the means, summed up offset by offset."""
    needs = [need for step in walk.steps for need in step.rule.needs if need.side]

    def compute(values: Values, *_: object) -> list[Moments]:
        nothing = jnp.zeros([len(x) for x in values.sides], values.sides[0].dtype)

        @functools.partial(jax.checkpoint, prevent_cse=False)  # so that a derivative keeps nothing of each offset
        def at(offset: Int[Array, " axes"]) -> list[Moments]:
            offsets = Offsets(dict(zip(walk.periods, offset, strict=True)), walk.periods)
            found = values.at_offsets(offsets).follow(walk.steps)

            def mean(pair: Pair) -> Moments:
                count = math.prod(pair.a.shape) * math.prod(pair.b.shape)
                moments = found.of(pair, walk.indices)
                parts = (moments.C, moments.tau)
                return Moments(*(nothing if z is None else offsets.mean(z, walk.indices, count) for z in parts))

            return [mean(pair) for pair in walk.pairs]

        def add(total: list[Moments], offset: Int[Array, " axes"]) -> tuple[list[Moments], None]:
            return jax.tree.map(jnp.add, total, at(offset)), None

        first = [Moments(nothing, nothing) for _ in walk.pairs]
        return lax.scan(add, first, jnp.asarray(walk.offsets()))[0]

    return Rule(needs, compute, within=walk.steps)
