"""What the steps of loops need: the rules to follow at one step, or at one pair of steps (theory.md 3.12)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from ntk.programs.language.atoms import Atom, Nonlin
from ntk.programs.language.loops import AtStep, Body, Loop, State
from ntk.programs.language.scalars import Scalar
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import Indices, all_pairs, equal, joined
from ntk.programs.limit.arrays.plan import (
    Alone,
    Key,
    Need,
    NotOnArrays,
    Pair,
    Rule,
    Step,
    steps_to,
)
from ntk.programs.limit.forms import Forms

RuleOf = Callable[[Forms, Key, Indices, bool], Rule]


class StepPlan(NamedTuple):
    """What is computed at one step, or at one pair of steps.

    Attributes:
        steps: The rules to follow.
        states: The keys of the states with their indices, and the keys of what they are after the step.
        outside: The keys that are known outside the loop, with their indices.
    """

    steps: list[Step]
    states: list[tuple[Key, Indices, Key]]
    outside: list[tuple[Key, Indices]]

    @property
    def keys(self) -> list[Key]:
        """What it computes, in order."""
        return [step.key for step in self.steps]


def plan_along(rule_of: RuleOf, forms: Forms, loop: Loop) -> StepPlan:
    """What the steps of a loop give of each input with itself: all that a pair of steps reads of one of them."""
    return forms.recording.once(_plan_of_along, rule_of, forms, loop)


def _plan_of_along(rule_of: RuleOf, forms: Forms, loop: Loop) -> StepPlan:
    """What any pair of steps reads of one step, and the vectors themselves."""
    outs = loop.body.outs
    goals: dict[Key, Indices] = {Pair(a, b): equal(len(a.shape)) for a in outs for b in outs if a.shape == b.shape}
    goals |= {Alone(out): Indices((), ()) for out in outs}
    loops = [node for node in forms.recording.nodes if isinstance(node, Loop)]
    others = [other for other in loops if other not in forms.sampled_loops]
    for other in others:
        for first, second, side in ((loop, other, 1), (other, loop, 2)):
            for indices in _possible(loop.body):
                plan = forms.recording.once(_plan_of_meeting, rule_of, forms, first, second, indices)
                for step in plan.steps:
                    for need in step.rule.needs:
                        if need.side == side:
                            goals[need.key] = joined(need.indices, goals.get(need.key, need.indices))
    plan_of = functools.partial(_plan, rule_of, forms, (loop.body, loop.body), own=True)
    return plan_of(_with_rules(plan_of, goals))


def _possible(body: Body) -> list[Indices]:
    rank = len(body.outs[0].shape)
    return [equal(rank), all_pairs(rank, rank)] if rank else [equal(0)]


def plan_meeting(rule_of: RuleOf, forms: Forms, first: Loop, second: Loop, indices: Indices) -> StepPlan:
    """The moments of the vectors of two loops at a pair of steps, by the indices of the stacked vectors."""
    return forms.recording.once(_plan_of_meeting, rule_of, forms, first, second, at_steps(indices))


def at_steps(indices: Indices) -> Indices:
    """The indices of the vectors of the body."""
    return Indices(indices.left[1:], indices.right[1:]).numbered()


def _plan_of_meeting(rule_of: RuleOf, forms: Forms, first: Loop, second: Loop, indices: Indices) -> StepPlan:
    """For all pairs of vectors that have rules."""
    goals: dict[Key, Indices] = {Pair(a, b): indices for a in first.body.outs for b in second.body.outs}
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
    ranks = {len(z.shape) for body in bodies for z in (*body.outs, *body.carries)}
    if len(ranks) != 1 or any(isinstance(node, Loop) for body in bodies for node in body.nodes):
        raise NotOnArrays
    if any(z.terms for loop in forms.recording.nodes if isinstance(loop, Loop) for z in loop.initial):
        raise NotOnArrays
    while True:
        leaves: dict[Key, Indices] = {}
        steps = steps_to(
            functools.partial(_rule, rule_of, forms, bodies, leaves),
            [Need(0, key, indices) for key, indices in goals.items()],
            own,
        )
        states = [(key, indices, _after(key)) for key, indices in leaves.items() if _of_states(key)]
        wanted = {after: joined(indices, goals.get(after, indices)) for _, indices, after in states}
        if all(goals.get(after) == indices for after, indices in wanted.items()):
            return StepPlan(steps, states, [leaf for leaf in leaves.items() if not _of_states(leaf[0])])
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
            inside = [node in body.nodes for node, body in zip(key, bodies, strict=True)]
            of_state = [isinstance(node, State) for node in key]
            if any(isinstance(node, Vector) for node in key):
                return rule_of(forms, key, indices, own)
            if any(of_state) and not all(of_state):
                raise NotOnArrays  # A state and what is Gaussian at another step: they meet at unequal distances.
            if not any(inside):
                leaves[key] = indices
                return given
            for node, other in (key, key[::-1]):
                if isinstance(node, AtStep) and isinstance(other, Nonlin) and not forms.is_centred(node):
                    raise NotOnArrays
        case Alone(of=Scalar() | Atom() as of):
            if not any(of in body.nodes for body in bodies):
                leaves[key] = indices
                return given
    return rule_of(forms, key, indices, own)


def _of_states(key: Key) -> bool:
    return isinstance(key.a, State) if isinstance(key, Pair) else isinstance(key, Alone) and isinstance(key.of, State)


def _after(key: Key) -> Key:
    """What a key of states is after the step."""

    def after(node: Any) -> Vector:
        assert isinstance(node, State)
        return node.body.carries[node.number]

    if isinstance(key, Pair):
        return Pair(after(key.a), after(key.b))
    assert isinstance(key, Alone)
    return Alone(after(key.of))


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
    left, right = (names if step is None else (step, *names) for step, names in zip(steps, indices, strict=True))
    outer = Indices(left, right)
    swept = dict.fromkeys(step for step in steps if step is not None)
    return Pair(fields[0], fields[1]), outer, tuple(outer.names.index(step) for step in swept)
