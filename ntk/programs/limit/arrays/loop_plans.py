"""What the steps of loops need: the rules to follow at one step, or at one pair of steps (theory.md 3.12, 3.21)."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ntk.programs.language.atoms import Atom, Mixed, Moved, Nonlin, Rearranged, Transposed
from ntk.programs.language.loops import AtStep, Body, Loop, Scanned, State
from ntk.programs.language.scalars import Scalar
from ntk.programs.language.vectors import Vector, single
from ntk.programs.limit.arrays.indices import Indices, all_pairs, equal, joined
from ntk.programs.limit.arrays.plan import (
    Alone,
    Key,
    Moments,
    Need,
    NotOnArrays,
    Pair,
    Rule,
    Step,
    Tree,
    steps_to,
)
from ntk.programs.limit.arrays.values import Known, Past, Values
from ntk.programs.limit.forms import Forms

RuleOf = Callable[[Forms, Key, Indices, bool], Rule]


class Carried(NamedTuple):
    """What a step is given by the step before.

    Attributes:
        key: Of states before the step.
        indices: Which positions are equal.
        after: The same of what these states are after the step.
    """

    key: Key
    indices: Indices
    after: Key

    @property
    def pair(self) -> Pair:
        """Its key, if that is not of one state alone."""
        assert isinstance(self.key, Pair)
        return self.key

    @property
    def moves(self) -> tuple[bool, bool]:
        """Which sides are states. The other one stays at its step."""
        return isinstance(self.pair.a, State), isinstance(self.pair.b, State)

    def kept(self, values: Values, found: Known, own: bool) -> Tree:
        """What the next step is given."""
        return self.filled(values, found.of(self.after, self.indices), own)

    def filled(self, values: Values, found: Tree, own: bool) -> Tree:
        """Moments without those that are None, and without τ of one input with itself, which nothing reads."""
        if not isinstance(self.key, Pair):
            return found
        C, tau = (values.filled(part, self.key, self.indices) for part in (found.C, found.tau))
        return Moments(C, None if own else tau)


class StepPlan(NamedTuple):
    """What is computed at one step, or at one pair of steps.

    Attributes:
        steps: The rules to follow.
        states: What each step gives to the next one.
        outside: The keys that are known outside the loop, with their indices.
        goals: The moments that were asked for.
    """

    steps: list[Step]
    states: list[Carried]
    outside: list[tuple[Key, Indices]]
    goals: list[Pair]

    @property
    def keys(self) -> list[Key]:
        """What it computes, in order."""
        return [step.key for step in self.steps]

    @property
    def is_diagonal(self) -> bool:
        """Whether equal steps of both sides need equal steps alone: both move, or none."""
        return all(each.moves == (True, True) for each in self.states if isinstance(each.key, Pair))


def plan_along(rule_of: RuleOf, forms: Forms, loop: Loop) -> StepPlan:
    """What the steps of a loop give of each input with itself: all that a pair of steps reads of one of them."""
    return forms.recording.once(_plan_of_along, rule_of, forms, loop)


def _plan_of_along(rule_of: RuleOf, forms: Forms, loop: Loop) -> StepPlan:
    """What any pair of steps reads of one step, and the vectors themselves."""
    outs = loop.body.outs
    goals: dict[Key, Indices] = {Pair(a, b): equal(len(a.shape)) for a in outs for b in outs if a.shape == b.shape}
    goals |= {Alone(out): Indices((), ()) for out in outs}
    for other in _companions(forms):
        for first, second, side in ((loop, other, 1), (other, loop, 2)):
            for indices in _possible(first.body, second.body):
                plan = forms.recording.once(_plan_of_meeting, rule_of, forms, first, second, indices)
                for step in plan.steps:
                    for need in step.rule.needs:
                        if need.side == side:
                            goals[need.key] = joined(need.indices, goals.get(need.key, need.indices))
    if (past := plan_past(rule_of, forms, loop)) is not None:
        goals |= dict.fromkeys(met_alone(past, loop), Indices((), ()))
    plan_of = functools.partial(_plan, rule_of, forms, (loop.body, loop.body), own=True)
    return plan_of(_with_rules(plan_of, goals))


def plan_past(rule_of: RuleOf, forms: Forms, loop: Loop) -> StepPlan | None:
    """How a step of a loop meets the ones before, if it has to: if states meet what is computed at their own step."""
    if loop.body.outs[0].shape:
        return None
    plan = forms.recording.once(_plan_of_meeting, rule_of, forms, loop, loop, Indices((), ()))
    return None if plan.is_diagonal else plan


def met_alone(past: StepPlan, loop: Loop) -> list[Key]:
    """What a step has to give alone, for the next ones to meet it and those before."""
    starts = [row_start(each, loop) for each in past.states if each.moves[1]]
    return [*starts, *(each.after for each in past.states if each.moves[0])]


def row_start(each: Carried, loop: Loop) -> Key:
    """What a state gives with the first state of the other side: after the step if it moves on, else at the step."""
    first, after = before_all(each.key, (loop, loop)), each.after
    assert isinstance(first, Pair)
    assert isinstance(after, Pair)
    return Pair(after.a if each.moves[0] else each.pair.a, first.b)


def _possible(first: Body, second: Body) -> list[Indices]:
    ranks = [len(body.outs[0].shape) for body in (first, second)]
    every = [all_pairs(*ranks)]
    return [equal(ranks[0]), *every] if ranks[0] == ranks[1] and ranks[0] else every


def _companions(forms: Forms) -> list[Loop]:
    """All loops that one on arrays may meet: the others, and what states are made of before the first step."""
    return forms.recording.once(_find_companions, forms)


def _find_companions(forms: Forms) -> list[Loop]:
    loops = [node for node in forms.recording.nodes if isinstance(node, Loop) and node not in forms.sampled_loops]
    first = [z for loop in loops for z in loop.initial if z.terms]
    atoms: dict[Atom, None] = {}
    to_visit = list(first)
    while to_visit:
        for atom, _ in to_visit.pop().terms:
            if isinstance(atom, Scanned):
                continue
            if isinstance(atom, Rearranged):
                to_visit.append(atom.vector)
            else:
                atoms[atom] = None
    return [*loops, *(standing(forms, z) for z in dict.fromkeys([*first, *map(single, atoms)]))]


def standing(forms: Forms, vector: Vector) -> Loop:
    """A vector outside all loops as a loop of one step, to meet others."""
    return forms.recording.once(_make_standing, vector)


def _make_standing(vector: Vector) -> Loop:
    return vector.graph.make(Loop, Body(1, outs=[vector]), (), ())


def plan_meeting(rule_of: RuleOf, forms: Forms, first: Loop, second: Loop, indices: Indices) -> StepPlan:
    """The moments of the vectors of two loops at a pair of steps, by the indices of the stacked vectors."""
    return forms.recording.once(_plan_of_meeting, rule_of, forms, first, second, at_steps(indices))


def at_steps(indices: Indices) -> Indices:
    """The indices of the vectors of the body."""
    return Indices(indices.left[1:], indices.right[1:]).numbered()


def _plan_of_meeting(rule_of: RuleOf, forms: Forms, first: Loop, second: Loop, indices: Indices) -> StepPlan:
    """For all pairs of vectors that have rules."""
    goals: dict[Key, Indices] = {Pair(a, b): indices for a in first.body.outs for b in second.body.outs}
    meeting = functools.partial(forms.recording.once, _plan_of_meeting, rule_of, forms)
    for loop in _companions(forms):
        # A first state meets what the later ones meet.
        if not first.body.states and (z := first.body.outs[0]) in loop.initial:
            states = meeting(loop, second, indices).states
            goals |= {Pair(z, each.pair.b): indices for each in states if each.moves == (True, False)}
        if not second.body.states and (z := second.body.outs[0]) in loop.initial:
            states = meeting(first, loop, indices).states
            goals |= {Pair(each.pair.a, z): indices for each in states if each.moves == (False, True)}
    plan_of = functools.partial(_plan, rule_of, forms, (first.body, second.body), own=False)
    return plan_of(_with_rules(plan_of, goals))


def _with_rules(plan_of: Callable[[dict[Key, Indices]], StepPlan], goals: dict[Key, Indices]) -> dict[Key, Indices]:
    """Those of the goals that rules lead to."""
    found: dict[Key, Indices] = {}
    for key, indices in goals.items():
        try:
            plan_of({key: indices})
        except NotOnArrays:
            continue
        found[key] = indices
    return found


def _plan(rule_of: RuleOf, forms: Forms, bodies: tuple[Body, Body], goals: dict[Key, Indices], own: bool) -> StepPlan:
    """The rules of a step that lead to some goals, and to all that the states of the next step have to know."""
    ranks = [{len(z.shape) for z in (*body.outs, *body.carries)} for body in bodies]
    if any(len(each) != 1 for each in ranks) or any(isinstance(node, Loop) for body in bodies for node in body.nodes):
        raise NotOnArrays
    asked = [key for key in goals if isinstance(key, Pair)]
    while True:
        leaves: dict[Key, Indices] = {}
        steps = steps_to(
            functools.partial(_rule, rule_of, forms, bodies, leaves),
            [Need(0, key, indices) for key, indices in goals.items()],
            own,
        )
        states = [Carried(key, indices, _after(key)) for key, indices in leaves.items() if _of_states(key)]
        wanted = {after: joined(indices, goals.get(after, indices)) for _, indices, after in states}
        if all(goals.get(after) == indices for after, indices in wanted.items()):
            return StepPlan(steps, states, [leaf for leaf in leaves.items() if not _of_states(leaf[0])], asked)
        goals = {**goals, **wanted}


def _rule(
    rule_of: RuleOf,
    forms: Forms,
    bodies: tuple[Body, Body],
    leaves: dict[Key, Indices],
    key: Key,
    indices: Indices,
    own: bool,
) -> Rule:
    """The rule at a step. What is known from the step before, or from outside, is given."""
    given = Rule([], lambda values: values.given[key])
    match key:
        case Pair():
            if any(isinstance(node, Vector) for node in key):
                return rule_of(forms, key, indices, own)
            inside = [node in body.nodes for node, body in zip(key, bodies, strict=True)]
            has_state = any(isinstance(node, State) for node in key)
            if has_state and own and (any(inside) or any(isinstance(node, AtStep) for node in key)):
                return _beside_past(rule_of, forms, bodies, key, indices)
            if has_state and any(isinstance(node, Moved | Mixed | Transposed) for node in key):
                return rule_of(forms, key, indices, own)
            if has_state or not any(inside):
                leaves[key] = indices
                return given
            if any(isinstance(node, Scanned) for node in key):
                raise NotOnArrays  # The steps of another loop, and what is computed at a step of this one.
            for node, other in (key, key[::-1]):
                if isinstance(node, AtStep) and isinstance(other, Nonlin) and not forms.is_centred(node):
                    raise NotOnArrays
        case Alone(of=Scalar() | Atom() as of):
            if not any(of in body.nodes for body in bodies):
                leaves[key] = indices
                return given
    return rule_of(forms, key, indices, own)


def _beside_past(rule_of: RuleOf, forms: Forms, bodies: tuple[Body, Body], key: Pair, indices: Indices) -> Rule:
    """A state beside what is computed at its own step, of one input, from all steps before (theory.md 3.21)."""
    if indices.names:
        raise NotOnArrays
    here, state = key if isinstance(key.b, State) else key[::-1]
    assert isinstance(state, State)
    (loop,) = (node for node in forms.recording.nodes if isinstance(node, Loop) and node.body is state.body)
    start, goal = (Pair(here, z) for z in (loop.initial[state.number], state.body.carries[state.number]))
    plan, known = _plan(rule_of, forms, bodies, {goal: indices}, own=False), plan_past(rule_of, forms, loop)
    if known is None or not _read_of_past(plan) <= _read_of_past(known):
        raise NotOnArrays
    across = [each for each in plan.states if each.moves == (False, True)]
    alone = list(dict.fromkeys(need.key for step in plan.steps for need in step.rule.needs if need.side == 1))
    needs = [Need(0, each) for each in (start, *(before_all(each.key, (loop, loop)) for each in across), *alone)]

    def compute(values: Values, first: Moments, *read: Tree) -> Moments:
        begun = Carried(goal, indices, goal).filled(values, first, own=True)
        if values.past is None:
            return begun
        starts = {each.key: each.filled(values, found, own=True) for each, found in zip(across, read, strict=False)}
        own = dict(zip(alone, read[len(across) :], strict=True))
        found = along_past(plan, values, values.past, own, starts)[goal]
        step = values.past.step
        return jax.tree.map(lambda entry, row: jnp.where(step == 0, entry, row[step - 1]), begun, found)

    return Rule(needs, compute)


def _read_of_past(plan: StepPlan) -> set[Key]:
    """What has to be known of the steps before, and of all pairs of steps."""
    alone = {need.key for step in plan.steps for need in step.rule.needs if need.side == 2}
    return alone | {each.key for each in plan.states if each.moves[0]} | {key for key, _ in plan.outside}


def along_past(
    plan: StepPlan, values: Values, past: Past, own: dict[Key, Tree], starts: dict[Key, Tree]
) -> dict[Key, Tree]:
    """The goals of a plan, and what its states are after, at a step of one input beside all steps before of it.

    Args:
        plan: Of a pair of steps.
        values: At the step.
        past: What is known of the steps before.
        own: What the step gives alone.
        starts: The states that the next one of the steps before is given, before the first one.
    """
    goals = [Carried(goal, Indices((), ()), goal) for goal in plan.goals]

    def entry(beside: dict[Key, Tree], there: tuple[dict[Key, Tree], dict[Key, Tree]]) -> Tree:
        moving, other = there
        known = tuple(Known(found, dict.fromkeys(found, Indices((), ()))) for found in (own, other))
        here = values.at_step({**past.still, **moving, **beside}, (known[0], known[1]), None)
        found = here.follow(plan.steps)
        after = {each.key: each.kept(here, found, own=True) for each in plan.states}
        results = OrderedDict((each.after, each.kept(here, found, own=True)) for each in (*plan.states, *goals))
        return OrderedDict((key, after[key]) for key in beside), results

    # JAX sorts the keys of a dictionary, and these have no order.
    return lax.scan(entry, OrderedDict(starts), (OrderedDict(past.moving), OrderedDict(past.own)))[1]


def _of_states(key: Key) -> bool:
    return any(isinstance(node, State) for node in (key if isinstance(key, Pair) else (getattr(key, "of", None),)))


def _after(key: Key) -> Key:
    """What a key of states is after the step."""
    return with_states(key, lambda _, state: state.body.carries[state.number])


def before_all(key: Key, loops: tuple[Loop, Loop]) -> Key:
    """What a key of states is before the first step."""
    return with_states(key, lambda side, state: loops[side].initial[state.number])


def with_states(key: Key, of: Callable[[int, State], Vector]) -> Key:
    """A key with what stands for the state of each side."""
    if isinstance(key, Pair):
        return Pair(*(of(side, node) if isinstance(node, State) else node for side, node in enumerate(key)))
    assert isinstance(key, Alone)
    assert isinstance(key.of, State)
    return Alone(of(0, key.of))


def outside_of(key: Key, indices: Indices, every: bool = False) -> tuple[Key, Indices, tuple[int, ...]]:
    """What a key is outside the loop, its indices, and the places of the axes of steps among their names."""
    if isinstance(key, Alone):
        if isinstance(key.of, AtStep):
            return Alone(key.of.vector), indices, (0,)
        return key, indices, ()
    assert isinstance(key, Pair)
    fields = [node.vector if isinstance(node, AtStep) else node for node in key]
    fresh = (indices.fresh, indices.fresh + 1)
    steps = [fresh[side if every else 0] if isinstance(node, AtStep) else None for side, node in enumerate(key)]
    left, right = (names if step is None else (step, *names) for step, names in zip(steps, indices.sides, strict=True))
    outer = Indices(left, right)
    swept = dict.fromkeys(step for step in steps if step is not None)
    return Pair(fields[0], fields[1]), outer, tuple(outer.names.index(step) for step in swept)
