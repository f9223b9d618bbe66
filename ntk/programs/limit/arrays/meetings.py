"""C and τ of the vectors of two loops, at equal steps and at all pairs of steps (theory.md 3.12, 3.19 and 3.21).

What the bodies of two loops compute has the same rules as everything else, at one step for each side. States have the
moments of the step before: C and τ of (t, r) follow from those of (t − 1, r − 1). So one `lax.scan` over t has all r. A
state beside what belongs to the other side's step has the moments of (t − 1, r), or of (t, r − 1).
"""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ntk.programs.language.atoms import Atom, Embed
from ntk.programs.language.loops import AtStep, Loop, Scanned, State
from ntk.programs.language.scalars import is_number
from ntk.programs.language.vectors import Vector, single
from ntk.programs.limit.arrays.indices import Indices, Named, restricted
from ntk.programs.limit.arrays.loop_plans import (
    Carried,
    RuleOf,
    at_steps,
    before_all,
    outside_of,
    plan_along,
    plan_meeting,
    standing,
)
from ntk.programs.limit.arrays.plan import Along, Field, Key, Meeting, Moments, Need, NotOnArrays, Pair, Rule, Tree
from ntk.programs.limit.arrays.values import Known, Values
from ntk.programs.limit.forms import Forms


class Met(NamedTuple):
    """The moments of two loops.

    Attributes:
        indices: Of the stacked vectors.
        moments: Of pairs of vectors of the steps.
        last: The same after the last step of both. If nothing else is read, XLA keeps no other step.
    """

    indices: Indices
    moments: dict[Pair, Moments]
    last: dict[Pair, Moments]


def of_meeting(
    rule_of: RuleOf, forms: Forms, loops: tuple[Loop, Loop], key: Pair, indices: Indices, last: bool = False
) -> Rule:
    """Two vectors of the steps of two loops, by the indices of the stacked vectors; or after the last step alone."""
    plan = plan_meeting(rule_of, forms, *loops, indices)
    if key not in plan.keys:
        raise NotOnArrays
    asked = indices if plan.is_diagonal else Indices((indices.fresh, *indices.left[1:]), indices.right)

    def pick(_: Values, met: Met) -> Moments:
        found, wanted = met.moments[key], indices.numbered()
        return Moments(*(None if part is None else restricted(part, met.indices, wanted) for part in found))

    def pick_last(_: Values, met: Met) -> Moments:
        found, have, wanted = met.last[key], at_steps(met.indices), at_steps(indices)
        return Moments(*(None if part is None else restricted(part, have, wanted) for part in found))

    return Rule([Need(0, Meeting(*loops), asked)], pick_last if last else pick)


class _Edge(NamedTuple):
    """The moments of the first states of one side with all steps of the other, or with its first states.

    Attributes:
        of: What starts from there.
        rule: What gives them.
        indices: Of the moments.
        step: The name of their axis of steps, and how many there are. None where both sides are first states.
    """

    of: Carried
    rule: Rule
    indices: Indices
    step: tuple[int, int] | None

    def moments(self, values: Values, own: bool, *found: Tree) -> Moments:
        """With the axis of steps first."""
        given = self.of.filled(values, self.rule.compute(values, *found), own)
        if self.step is None:
            return given
        (name, count), lead = self.step, 1 + values.paired

        def steps_first(part: Array) -> Array:
            if part.ndim < lead + len(self.indices.names):
                return jnp.broadcast_to(part, (count, *part.shape))
            return jnp.moveaxis(part, lead + self.indices.names.index(name), 0)

        return jax.tree.map(steps_first, given)


def _edge(rule_of: RuleOf, forms: Forms, loops: tuple[Loop, Loop], each: Carried, side: int) -> _Edge:
    """The first state of a side with all steps of the other one."""
    node, met, other, step = each.pair[side], each.pair[1 - side], loops[1 - side], each.indices.fresh
    assert isinstance(node, State)
    z = loops[side].initial[node.number]
    indices = _with_step(each.indices, 1 - side, step)
    if not z.terms:
        rule = Rule([], lambda _: Moments(None, None))
    elif isinstance(met, State):
        rule = _asked(_pair(side, z, forms.stacked(other, other.body.carries[met.number])), indices)
    else:
        rule = _beside_standing(rule_of, forms, _pair(side, z, met), other, side, indices)
    return _Edge(each, rule, indices, (step, other.body.length))


def _edge_of_both(loops: tuple[Loop, Loop], each: Carried) -> _Edge:
    """The first states of both sides."""
    return _Edge(each, _asked(before_all(each.key, loops), each.indices), each.indices, None)


def _asked(key: Key, indices: Indices) -> Rule:
    return Rule([Need(0, key, indices)], lambda _, found: found)


def _pair(side: int, one: Field, other: Field) -> Pair:
    """With the one at that side."""
    return Pair(*((one, other) if side == 0 else (other, one)))


def _with_step(indices: Indices, side: int, step: int) -> Indices:
    """With an axis of steps at one side."""
    return Indices(*((step, *names) if place == side else names for place, names in enumerate(indices.sides)))


def _beside_standing(rule_of: RuleOf, forms: Forms, key: Pair, loop: Loop, side: int, indices: Indices) -> Rule:
    """A vector of the steps of a loop, and one at that side which stands outside all loops."""
    vector, step = key[side], indices.fresh
    assert isinstance(vector, Vector)
    still = standing(forms, vector)
    wide = _with_step(indices, side, step)
    found = of_meeting(rule_of, forms, (still, loop) if side == 0 else (loop, still), key, wide)

    def compute(values: Values, met: Met) -> Moments:
        axis = 1 + values.paired + wide.names.index(step)
        return jax.tree.map(lambda part: jnp.squeeze(part, axis), found.compute(values, met))

    return Rule(found.needs, compute)


def beside_a_loop(rule_of: RuleOf, forms: Forms, key: Pair, indices: Indices) -> Rule:
    """A stacked vector and an atom outside all loops."""
    side = int(isinstance(key.a, Scanned))
    still, stacked = key[side], key[1 - side]
    assert isinstance(still, Atom)
    assert isinstance(stacked, Scanned)
    return _beside_standing(rule_of, forms, _pair(side, single(still), stacked.vector), stacked.loop, side, indices)


def meeting(rule_of: RuleOf, forms: Forms, key: Meeting, indices: Indices, own: bool) -> Rule:
    """The moments of two loops: of equal steps alone, or of all pairs."""
    loops, every = (key.first, key.second), indices.left[0] != indices.right[0]
    plan, inner = plan_meeting(rule_of, forms, *loops, indices), at_steps(indices)
    embedded = [(key, own_indices, *pair) for key, own_indices in plan.outside if (pair := _embedded(key))]
    given = [each for each in plan.outside if not _embedded(each[0])]
    homes = [plan_along(rule_of, forms, loop) for loop in loops]
    read_alone = [(need.side, need.key) for step in plan.steps for need in step.rule.needs if need.side]
    if any(key not in homes[side - 1].keys for side, key in read_alone):
        raise NotOnArrays
    at = [outside_of(key, indices, every) for key, indices in given]
    moves = [each.moves for each in plan.states]
    # States that the next step of the first side is given, and those that only the next one of the second side is.
    down, across = ([n for n, (first, _) in enumerate(moves) if first == is_first] for is_first in (True, False))
    both = {n: _edge_of_both(loops, plan.states[n]) for n, move in enumerate(moves) if all(move)}
    firsts, seconds = (
        {n: _edge(rule_of, forms, loops, plan.states[n], side) for n, move in enumerate(moves) if every and move[side]}
        for side in (0, 1)
    )
    edges = [edge for of_each in (both, firsts, seconds) for edge in of_each.values()]
    needs = [Need(1, Along(loops[0])), Need(2, Along(loops[1])), *(Need(0, *each[:2]) for each in at)]
    needs += [need for edge in edges for need in edge.rule.needs]
    names = (*indices.left[:1], *indices.right[:1]) if every else indices.left[:1]

    def compute(values: Values, along1: list[Tree], along2: list[Tree], *found: Tree) -> Met:
        outside, rest, lead = found[: len(at)], iter(found[len(at) :]), 1 + values.paired
        corners, tops, starts = (
            {n: edge.moments(values, own, *(next(rest) for _ in edge.rule.needs)) for n, edge in of_each.items()}
            for of_each in (both, firsts, seconds)
        )
        keys = [key for key, _ in given]
        # What is read at both steps, at the first one, at the second one, and at none.
        kinds = [(True, True), (True, False), (False, True), (False, False)]
        groups = [[n for n, key in enumerate(keys) if sides(key) == kind] for kind in kinds]
        read = [[rows(outside[n], at[n][2], lead) for n in group] for group in groups]
        ordered = [keys[n] for group in groups for n in group]
        parts = [[values.part(pair[side].source, side) for _, _, *pair in embedded] for side in (0, 1)]
        ways = [
            jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), each)
            for each in zip((along1, along2), parts, strict=True)
        ]

        def pair(states: dict[int, Moments], own1: Tree, own2: Tree, *parts: list[Tree]) -> tuple[Tree, list[Moments]]:
            known_here = dict(zip(ordered, (part for group in parts for part in group), strict=True))
            known_here |= {plan.states[n].key: state for n, state in states.items()}
            for (key, positions, embed, _), *both in zip(embedded, own1[1], own2[1], strict=True):
                known_here[key] = values.embedded(embed.parameter, values.gram_of(both, positions))
            known = tuple(
                Known(dict(zip(home.keys, found, strict=True)), {step.key: step.indices for step in home.steps})
                for home, found in zip(homes, (own1[0], own2[0]), strict=True)
            )
            here = values.at_step(known_here, (known[0], known[1]), None)
            found = here.follow(plan.steps)
            after = {n: each.kept(here, found, own) for n, each in enumerate(plan.states)}
            return after, [Carried(goal, inner, goal).kept(here, found, own) for goal in plan.goals]

        if every:
            starts |= {n: shifted(starts[n], corner) for n, corner in corners.items()}

            def step(before: dict[int, Moments], here: Tree) -> tuple[dict[int, Moments], list[Moments]]:
                own1, at_both, at_first, start = here

                def entry(beside: dict[int, Moments], there: Tree) -> tuple[dict[int, Moments], Tree]:
                    states, own2, at_both, at_second = there
                    after, found = pair({**states, **beside}, own1, own2, at_both, at_first, at_second, read[3])
                    return {n: after[n] for n in across}, ({n: after[n] for n in down}, found)

                states = {n: shifted(before[n], start[n]) if n in start else before[n] for n in down}
                row = (states, ways[1], at_both, read[2])
                if across:
                    return lax.scan(entry, {n: start[n] for n in across}, row)[1]
                return jax.vmap(lambda there: entry({}, there)[1])(row)

            after, met = lax.scan(step, tops, (ways[0], read[0], read[1], starts), length=loops[0].body.length)
        else:

            def step(before: dict[int, Moments], here: Tree) -> tuple[dict[int, Moments], list[Moments]]:
                return pair(before, *here, read[3])

            after, met = lax.scan(step, corners, (*ways, *read[:3]), length=loops[0].body.length)
        carried = {} if every else {each.after: after[n] for n, each in enumerate(plan.states) if each.indices == inner}
        last = {
            goal: carried[goal] if goal in carried else jax.tree.map(operator.itemgetter((-1,) * len(names)), found)
            for goal, found in zip(plan.goals, met, strict=True)
        }
        moved = jax.tree.map(lambda leaf: _inputs_first(leaf, len(names), lead), met)
        order = (*names, *(name for name in indices.names if name not in names))
        sorted_ = jax.tree.map(lambda leaf: Named(leaf, order).ordered(indices.names), moved)
        return Met(indices.numbered(), dict(zip(plan.goals, sorted_, strict=True)), last)

    return Rule(needs, compute)


def _embedded(key: Key) -> tuple[Embed, Embed] | None:
    """The two sides of a pair of products of one input matrix at the steps: each step multiplies its entries itself."""
    found = []
    for node in key if isinstance(key, Pair) else ():
        match node:
            case AtStep(vector=Vector(terms=((Embed() as embed, factor),))) if is_number(factor, 1.0):
                found.append(embed)
    if len(found) < 2 or found[0].parameter is not found[1].parameter or found[0].parameter.is_looked_up:
        return None
    return found[0], found[1]


def shifted(row: Moments, first: Moments) -> Moments:
    """A row of which each entry is the one before, after a first one."""
    return jax.tree.map(lambda entry, entries: jnp.concatenate([entry[None], entries[:-1]]), first, row)


def sides(key: Key) -> tuple[bool, bool]:
    """Which sides of a pair are fields at a step."""
    assert isinstance(key, Pair)
    return isinstance(key.a, AtStep), isinstance(key.b, AtStep)


def rows(found: Tree, axes: tuple[int, ...], lead: int) -> Tree:
    """Values with their axes of steps, given by their places after those of the inputs, first."""

    def moved(leaf: Array) -> Array:
        # XLA would give a product of matrices a layout that its emitter for CPUs does not take.
        leaf = lax.optimization_barrier(leaf)
        return jnp.moveaxis(leaf, [lead + axis for axis in axes], range(len(axes)))

    return jax.tree.map(moved, found)


def _inputs_first(leaf: Array, steps: int, lead: int) -> Array:
    """An array with its axes of inputs before those of steps."""
    return jnp.moveaxis(leaf, range(steps), range(lead, lead + steps))
