"""What the loops of a program give: their stacked vectors, and each input with itself (theory.md 3.12).

What the body of a loop computes has the same rules as everything else. Its states have the moments of the step before.
"""

from collections import OrderedDict
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ntk.infinite_width.moments import Fingerprint
from ntk.programs.language.atoms import Atom, Moved, One
from ntk.programs.language.loops import Loop, Scanned
from ntk.programs.language.positions import Entry
from ntk.programs.language.scalars import is_number
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import Indices, all_pairs, equal, restricted
from ntk.programs.limit.arrays.loop_plans import (
    Carried,
    RuleOf,
    StepPlan,
    along_past,
    before_all,
    met_alone,
    outside_of,
    plan_along,
    plan_past,
    row_start,
)
from ntk.programs.limit.arrays.marks import steps_first
from ntk.programs.limit.arrays.meetings import of_meeting, rows, shifted, sides
from ntk.programs.limit.arrays.plan import (
    Alone,
    Along,
    Key,
    Mark,
    Moments,
    Need,
    NotOnArrays,
    Pair,
    Rule,
    Tree,
)
from ntk.programs.limit.arrays.values import Past, Values
from ntk.programs.limit.forms import Forms


def scanned(rule_of: RuleOf, forms: Forms, key: Pair, indices: Indices, own: bool) -> Rule:
    """Two stacked vectors. At equal steps of one input, what the loop gives along its way."""
    a, b = key
    assert isinstance(a, Scanned)
    assert isinstance(b, Scanned)
    if own and a.loop is b.loop and indices.numbered() == equal(len(indices.left)):
        return _of_along(rule_of, forms, a.loop, Pair(a.vector, b.vector))
    return of_meeting(rule_of, forms, (a.loop, b.loop), Pair(a.vector, b.vector), indices)


def last_step(rule_of: RuleOf, forms: Forms, a: Moved, b: Moved, indices: Indices) -> Rule | None:
    """The vectors after the last step of two loops of one length. None if the fields are anything else."""
    first, second = _last_of(a), _last_of(b)
    if first is None or second is None or {first.loop, second.loop} & {*forms.sampled_loops}:
        return None
    if first.loop.body.length != second.loop.body.length:
        return None
    fresh = indices.fresh
    stacked = Indices((fresh, *indices.left), (fresh, *indices.right))
    key = Pair(first.vector, second.vector)
    return of_meeting(rule_of, forms, (first.loop, second.loop), key, stacked, last=True)


def _last_of(field: Moved) -> Scanned | None:
    """The stacked vector of which the field is the last position."""
    match field:
        case Moved(map=Entry(axis=0, place=place), vector=Vector(terms=((Scanned() as atom, factor),))):
            return atom if place == atom.loop.body.length - 1 and is_number(factor, 1.0) else None
    return None


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

    def of_means(values: Values, *found: Tree) -> Moments:
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
    plan, body, past = plan_along(rule_of, forms, loop), loop.body, plan_past(rule_of, forms, loop)
    needs = [Need(0, *outside_of(key, indices)[:2]) for key, indices in plan.outside]
    needs += [Need(0, before_all(each.key, (loop, loop)), each.indices) for each in plan.states]
    swept = [outside_of(key, indices)[2] for key, indices in plan.outside]
    marked = any(isinstance(step.key, Mark) for step in plan.steps)
    beside = [] if past is None else [(key, outside_of(key, indices, every=True)) for key, indices in past.outside]
    needs += [Need(0, *at[:2]) for _, at in beside]
    if past is not None and not set(met_alone(past, loop)) <= set(plan.keys):
        raise NotOnArrays

    def compute(values: Values, *read: Tree) -> list[Tree]:
        outside, before = read[: len(plan.outside)], read[len(plan.outside) :]
        fixed: dict[Key, Tree] = {
            key: found for (key, _), found, axes in zip(plan.outside, outside, swept, strict=True) if not axes
        }
        moving = [key for (key, _), axes in zip(plan.outside, swept, strict=True) if axes]
        moving_rows = [rows(found, axes, 1) for found, axes in zip(outside, swept, strict=True) if axes]
        words = []
        if marked:
            words = values.marks.of_loop(loop).states + [
                steps_first(values.marks.of(read.vector)) for read in body.fields
            ]

        def own_step(states: list[Tree], here: tuple[list[Tree], list[Fingerprint]], met: Past | None) -> Tree:
            parts, words = here
            marks = (
                values.marks.at_step(dict(zip((*body.states, *body.fields), words, strict=True))) if marked else None
            )
            given = {
                **fixed,
                **dict(zip(moving, parts, strict=True)),
                **{each.key: state for each, state in zip(plan.states, states, strict=True)},
            }
            inner = values.at_step(given, None, marks)
            inner.past = met
            found = inner.follow(plan.steps)
            after = [each.kept(inner, found, own=True) for each in plan.states]
            return after, [_of_inputs(found.found[key], values) for key in plan.keys]

        first = [each.filled(values, found, own=True) for each, found in zip(plan.states, before, strict=False)]
        here = moving_rows, words
        if past is None:
            _, found = lax.scan(lambda states, here: own_step(states, here, None), first, here, length=body.length)
        else:
            by_key = {key: rows(each, at[2], 1) for (key, at), each in zip(beside, before[len(first) :], strict=True)}
            found = _with_past(values, plan, past, loop, own_step, first, here, by_key)
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), found)

    return Rule(needs, compute)


def _with_past(
    values: Values,
    plan: StepPlan,
    past: StepPlan,
    loop: Loop,
    own_step: Callable[[list[Tree], Tree, Past | None], Tree],
    first: list[Tree],
    here: Tree,
    outside: dict[Key, Tree],
) -> list[Tree]:
    """All steps, each of which meets those before it.

    Args:
        values: Outside the loop.
        plan: What a step gives alone.
        past: How it meets another one.
        loop: The loop.
        own_step: The next states, and what the step gives.
        first: The first states.
        here: What each step reads, with an axis of steps first.
        outside: What a step and another one read together, with axes of both steps first where it has them.
    """
    length, down = loop.body.length, [each for each in past.states if each.moves[0]]
    # JAX sorts the keys of a dictionary, and these have no order.
    read_by = {kind: OrderedDict(item for item in outside.items() if sides(item[0]) == kind) for kind in _KINDS}
    _, shapes = jax.eval_shape(lambda: own_step(first, jax.tree.map(lambda leaf: leaf[0], here), None))
    own = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)
    nothing = Moments(jnp.zeros((length, len(values.sides[0])), values.sides[0].dtype), None)
    row = OrderedDict((each.key, nothing) for each in down)  # The first step meets none.

    def step(carry: Tree, there: Tree) -> tuple[Tree, list[Tree]]:
        states, row, own = carry
        t, here, both, at_first = there
        still, moving = {**at_first, **read_by[False, False]}, {**row, **both, **read_by[False, True]}
        states, found = own_step(states, here, Past(still, moving, dict(zip(plan.keys, own, strict=True)), t))
        own = jax.tree.map(lambda rows, entry: lax.dynamic_update_index_in_dim(rows, entry, t, 0), own, found)
        given, by_key = dict(zip(plan.keys, own, strict=True)), dict(zip(plan.keys, found, strict=True))

        def moments(key: Key) -> Moments:
            return Carried(key, Indices((), ()), key).filled(values, by_key[key], own=True)

        starts = {each.key: moments(row_start(each, loop)) for each in past.states if not each.moves[0]}
        after = along_past(past, values, Past(still, moving, given, t), by_key, starts)
        following = OrderedDict[Key, Moments]()
        for each in down:
            entries = jax.tree.map(lambda rows, entry: rows.at[t].set(entry), after[each.after], moments(each.after))
            following[each.key] = shifted(entries, moments(row_start(each, loop))) if each.moves[1] else entries
        return (states, following, own), found

    xs = jnp.arange(length), here, read_by[True, True], read_by[True, False]
    return lax.scan(step, (first, row, own), xs)[1]


_KINDS = [(True, True), (True, False), (False, True), (False, False)]


def _of_inputs(found: Tree, values: Values) -> Tree:
    """Values with an axis of the inputs, for each of which they may be the same."""
    count = len(values.sides[0])

    def of_inputs(leaf: Tree) -> Array:
        leaf = jnp.asarray(leaf)
        return jnp.broadcast_to(leaf, (count, *leaf.shape[1:])) if leaf.ndim else jnp.full(count, leaf)

    return jax.tree.map(of_inputs, found)
