"""C and τ of the vectors of loops, at equal steps and at all pairs of steps (theory.md 3.12).

What the body of a loop computes has the same rules as everything else, at one step for each side. Its states have the
moments of the step before: C and τ of (t, s) follow from those of (t − 1, s − 1). So one `lax.scan` over t has all s.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ntk.infinite_width.moments import Fingerprint
from ntk.programs.language.atoms import Atom, One
from ntk.programs.language.loops import AtStep, Loop, Scanned
from ntk.programs.limit.arrays.indices import Indices, Named, all_pairs, equal, restricted
from ntk.programs.limit.arrays.loop_plans import RuleOf, StepPlan, at_steps, outside_of, plan_along, plan_meeting
from ntk.programs.limit.arrays.marks import steps_first
from ntk.programs.limit.arrays.plan import (
    Alone,
    Along,
    Key,
    Mark,
    Meeting,
    Moments,
    Need,
    NotOnArrays,
    Pair,
    Rule,
)
from ntk.programs.limit.arrays.values import Known, Values
from ntk.programs.limit.forms import Forms


class Met(NamedTuple):
    """The moments of two loops.

    Attributes:
        indices: Of the stacked vectors.
        moments: By the numbers of two vectors.
    """

    indices: Indices
    moments: dict[tuple[int, int], Moments]


def scanned(rule_of: RuleOf, forms: Forms, key: Pair, indices: Indices, own: bool) -> Rule:
    """Two stacked vectors. At equal steps of one input, what the loop gives along its way."""
    a, b = key
    assert isinstance(a, Scanned)
    assert isinstance(b, Scanned)
    if own and a.loop is b.loop and indices.numbered() == equal(len(indices.left)):
        return _of_along(rule_of, forms, a.loop, Pair(a.vector, b.vector))

    if Pair(a.vector, b.vector) not in plan_meeting(rule_of, forms, a.loop, b.loop, indices).keys:
        raise NotOnArrays

    def pick(_: Values, met: Met) -> Moments:
        found, wanted = met.moments[a.number, b.number], indices.numbered()
        return Moments(*(None if part is None else restricted(part, met.indices, wanted) for part in found))

    return Rule([Need(0, Meeting(a.loop, b.loop), indices)], pick)


def sampled(forms: Forms, key: Pair, indices: Indices, own: bool) -> Rule:
    """The stacked vectors of a sampled loop, or one of them beside what is independent of it."""
    a, b = key
    if isinstance(a, Scanned) and isinstance(b, Scanned) and forms.is_one_loop(a.loop, b.loop):

        def pick(values: Values) -> Moments:
            found = values.sampled[a].with_others[b]

            def of_pairs(array: Array | None) -> Array:
                assert array is not None
                if own:
                    array = jnp.moveaxis(jnp.diagonal(array, axis1=0, axis2=1), -1, 0)
                return restricted(array, all_pairs(1, 1), indices.numbered())

            return Moments(of_pairs(found.C), None if own else of_pairs(found.tau))

        return Rule([], pick)
    assert isinstance(a, Atom)
    assert isinstance(b, Atom)
    if forms.families(a) & forms.families(b):
        raise NotOnArrays
    read = [(side, field) for side, field in enumerate((a, b)) if not isinstance(field, One)]

    def of_means(values: Values, *found: Any) -> Moments:
        C = values.filled(None, key, indices) + 1.0
        for (side, _), mean in zip(read, found, strict=True):
            C = C * values.beside(mean[0] if isinstance(mean, tuple) else mean, indices, side)
        return Moments(C, None)

    return Rule([Need(1 + side, Alone(field)) for side, field in read], of_means)


def mean_of_scanned(rule_of: RuleOf, forms: Forms, atom: Scanned) -> Rule:
    """E of a coordinate after each step."""
    return _of_along(rule_of, forms, atom.loop, Alone(atom.vector))


def _of_along(rule_of: RuleOf, forms: Forms, loop: Loop, key: Key) -> Rule:
    keys = plan_along(rule_of, forms, loop).keys
    if key not in keys:
        raise NotOnArrays
    place = keys.index(key)
    return Rule([Need(0, Along(loop))], lambda _, found: found[place])


def along(rule_of: RuleOf, forms: Forms, loop: Loop) -> Rule:
    """What the steps give of each input with itself: a list in the order of the plan's steps, (N, T, …) each."""
    plan, body = plan_along(rule_of, forms, loop), loop.body
    needs = [Need(0, *outside_of(key, indices)[:2]) for key, indices in plan.outside]
    swept = [outside_of(key, indices)[2] for key, indices in plan.outside]
    marked = any(isinstance(step.key, Mark) for step in plan.steps)

    def compute(values: Values, *outside: Any) -> list[Any]:
        fixed = {key: found for (key, _), found, axes in zip(plan.outside, outside, swept, strict=True) if not axes}
        moving = [key for (key, _), axes in zip(plan.outside, swept, strict=True) if axes]
        rows = [_rows(found, axes, 1) for found, axes in zip(outside, swept, strict=True) if axes]
        words = []
        if marked:
            words = values.marks.of_loop(loop).states + [
                steps_first(values.marks.of(read.vector)) for read in body.fields
            ]

        def step(states: list[Any], here: tuple[list[Any], list[Fingerprint]]) -> tuple[list[Any], list[Any]]:
            parts, words = here
            marks = (
                values.marks.at_step(dict(zip((*body.states, *body.fields), words, strict=True))) if marked else None
            )
            given = {**fixed, **dict(zip(moving, parts, strict=True)), **_by_key(plan, states)}
            inner = values.at_step(given, None, marks)
            found = inner.follow(plan.steps)
            after = [_kept(inner, found, key, indices, own=True) for _, indices, key in plan.states]
            return after, [_of_inputs(found.found[key], values) for key in plan.keys]

        first = [_nothing(values, key, indices, own=True) for key, indices, _ in plan.states]
        _, found = lax.scan(step, first, (rows, words), length=body.length)
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), found)

    return Rule(needs, compute)


def meeting(rule_of: RuleOf, forms: Forms, key: Meeting, indices: Indices, own: bool) -> Rule:
    """The moments of two loops: of equal steps alone, or of all pairs."""
    loops, every = (key.first, key.second), indices.left[0] != indices.right[0]
    plan, inner = plan_meeting(rule_of, forms, *loops, indices), at_steps(indices)
    homes = [plan_along(rule_of, forms, loop) for loop in loops]
    at = [outside_of(key, indices, every) for key, indices in plan.outside]
    needs = [Need(1, Along(loops[0])), Need(2, Along(loops[1])), *(Need(0, *each[:2]) for each in at)]
    outs = [[(number, out) for number, out in enumerate(loop.body.outs)] for loop in loops]
    goals = {Pair(a, b): (i, j) for i, a in outs[0] for j, b in outs[1] if Pair(a, b) in plan.keys}
    names = (*indices.left[:1], *indices.right[:1]) if every else indices.left[:1]

    def compute(values: Values, along1: list[Any], along2: list[Any], *outside: Any) -> Met:
        lead = 1 + values.paired
        keys = [key for key, _ in plan.outside]
        # What is read at both steps, at the first one, at the second one, and at none.
        kinds = [(True, True), (True, False), (False, True), (False, False)]
        groups = [[n for n, each in enumerate(at) if _sides(keys[n], loops) == kind] for kind in kinds]
        read = [[_rows(outside[n], at[n][2], lead) for n in group] for group in groups]
        ordered = [keys[n] for group in groups for n in group]

        def pair(states: list[Moments], own1: Any, own2: Any, *parts: list[Any]) -> tuple[list[Moments], list[Moments]]:
            given = dict(zip(ordered, (part for group in parts for part in group), strict=True))
            known = tuple(
                Known(dict(zip(home.keys, found, strict=True)), {step.key: step.indices for step in home.steps})
                for home, found in zip(homes, (own1, own2), strict=True)
            )
            here = values.at_step({**given, **_by_key(plan, states)}, (known[0], known[1]), None)
            found = here.follow(plan.steps)
            after = [_kept(here, found, key, indices, own) for _, indices, key in plan.states]
            return after, [_filled(here, found, goal, inner, own) for goal in goals]

        ways = [jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), each) for each in (along1, along2)]
        first = [_nothing(values, key, indices, own) for key, indices, _ in plan.states]
        if every:
            length = loops[1].body.length
            first = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (length, *leaf.shape)), first)
            row = jax.vmap(pair, in_axes=(0, None, 0, 0, None, 0, None))

            def step(before: list[Moments], here: Any) -> tuple[list[Moments], list[Moments]]:
                own1, both, left = here
                shifted = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, 0).at[0].set(0.0), before)
                return row(shifted, own1, ways[1], both, left, read[2], read[3])

            _, found = lax.scan(step, first, (ways[0], read[0], read[1]), length=loops[0].body.length)
        else:

            def step(before: list[Moments], here: Any) -> tuple[list[Moments], list[Moments]]:
                return pair(before, *here, read[3])

            _, found = lax.scan(step, first, (*ways, *read[:3]), length=loops[0].body.length)
        moved = jax.tree.map(lambda leaf: _inputs_first(leaf, len(names), lead), found)
        order = (*names, *(name for name in indices.names if name not in names))
        sorted_ = jax.tree.map(lambda leaf: Named(leaf, order).ordered(indices.names), moved)
        return Met(indices.numbered(), dict(zip(goals.values(), sorted_, strict=True)))

    return Rule(needs, compute)


def _sides(key: Key, loops: tuple[Loop, Loop]) -> tuple[bool, bool]:
    """Which sides of a pair are fields at a step."""
    assert isinstance(key, Pair)
    return isinstance(key.a, AtStep), isinstance(key.b, AtStep)


def _rows(found: Any, axes: tuple[int, ...], lead: int) -> Any:
    """Values with their axes of steps, given by their places after those of the inputs, first."""

    def moved(leaf: Array) -> Array:
        # XLA would give a product of matrices a layout that its emitter for CPUs does not take.
        leaf = lax.optimization_barrier(leaf)
        return jnp.moveaxis(leaf, [lead + axis for axis in axes], range(len(axes)))

    return jax.tree.map(moved, found)


def _inputs_first(leaf: Array, steps: int, lead: int) -> Array:
    """An array with its axes of inputs before those of steps."""
    return jnp.moveaxis(leaf, range(steps), range(lead, lead + steps))


def _by_key(plan: StepPlan, states: list[Any]) -> dict[Key, Any]:
    return {key: state for (key, _, _), state in zip(plan.states, states, strict=True)}


def _nothing(values: Values, key: Key, indices: Indices, own: bool) -> Any:
    """What the states are before the first step: zeros."""
    if isinstance(key, Pair):
        C = values.filled(None, key, indices)
        return Moments(C, None if own else C)
    assert isinstance(key, Alone)
    shape = key.of.shape
    return jnp.zeros((len(values.sides[0]), *shape), values.sides[0].dtype)


def _kept(values: Values, found: Known, key: Key, indices: Indices, own: bool) -> Any:
    """What the next step is given."""
    if isinstance(key, Pair):
        return _filled(values, found, key, indices, own)
    return found.found[key]


def _filled(values: Values, found: Known, key: Pair, indices: Indices, own: bool) -> Moments:
    """Moments without those that are None, and without τ of one input with itself, which nothing reads."""
    moments = found.of(key, indices)
    return Moments(values.filled(moments.C, key, indices), None if own else values.filled(moments.tau, key, indices))


def _of_inputs(found: Any, values: Values) -> Any:
    """Values with an axis of the inputs, for each of which they may be the same."""
    count = len(values.sides[0])

    def of_inputs(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        return jnp.broadcast_to(leaf, (count, *leaf.shape[1:])) if leaf.ndim else jnp.full(count, leaf)

    return jax.tree.map(of_inputs, found)
