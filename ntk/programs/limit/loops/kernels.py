"""The kernels of programs whose loops are sampled, and all else computed on arrays (theory.md 3.13)."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.programs.language.atoms import Atom, MatMul, Tap
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.loops import AtStep, Loop, Scanned
from ntk.programs.language.scalars import Scalar
from ntk.programs.limit.arrays.indices import Indices, Named, all_pairs
from ntk.programs.limit.arrays.kernels import fixed_values, has_plan, limits_of, own_values, plan_of
from ntk.programs.limit.arrays.plan import Alone, Moments, NotOnArrays, Pair, Plan, plan
from ntk.programs.limit.arrays.rules import rule_of
from ntk.programs.limit.arrays.values import Known, SampledMoments, Values
from ntk.programs.limit.draws.points import Points, scrambled_normals
from ntk.programs.limit.evaluation import Averages, averages
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.loops.cells import Cell, cell_of
from ntk.programs.limit.loops.walk import sampled, variables_of
from ntk.programs.results import Limits
from ntk.tiles import kernel_by_tiles


def samples_loops(forms: Forms) -> bool:
    """Whether the kernels of a program follow from samples of its loops, step by step, and from rules on arrays."""
    if not forms.sampled_loops or not forms.is_exact_outside_loops or forms.couples_inputs:
        return False
    return forms.recording.once(_has_cells, forms) and forms.recording.once(has_plan, forms)


def _has_cells(forms: Forms) -> bool:
    try:
        for loop in forms.sampled_loops:
            _outside(forms, loop)
    except NotOnArrays:
        return False
    return not any(isinstance(node, Tap) for node in reachable(forms.sampled_loops))


def variables(forms: Forms, num_inputs: int) -> int:
    """How many standard normal variables the loops need."""
    return sum(variables_of(_cell(forms, loop), num_inputs) for loop in forms.sampled_loops)


def numbers_kept(forms: Forms) -> int:
    """How many numbers a loop keeps for each sample and each pair of inputs."""
    return max(_kept(_cell(forms, loop)) for loop in forms.sampled_loops)


def _kept(cell: Cell) -> int:
    states, units = len(cell.states), len(cell.units)
    return cell.body.length * (1 + states * (2 * units + states))


def _cell(forms: Forms, loop: Loop) -> Cell:
    return forms.recording.once(_make_cell, forms, loop)


def _make_cell(forms: Forms, loop: Loop) -> Cell:
    read = [node for node in forms.recording.nodes if isinstance(node, Scanned) and node.loop is loop]
    return cell_of(forms, loop, [node.vector for node in read])


def _outside(forms: Forms, loop: Loop) -> Plan:
    """What is needed of the Gaussian vectors that a loop reads."""
    return forms.recording.once(_plan_outside, forms, loop)


def _plan_outside(forms: Forms, loop: Loop) -> Plan:
    cell = _cell(forms, loop)
    goals = {Pair(_field(a), _field(b)): _indices(a, b) for a, b in _given(cell)}
    return plan(functools.partial(rule_of, forms), goals, map(Alone, _scalars(cell)))


def _given(cell: Cell) -> Iterator[tuple[Atom, Atom]]:
    """The pairs of Gaussian vectors of which moments are read."""
    for block in cell.blocks:
        atoms = [atom for place in block for atom, _ in cell.units[place].terms if not isinstance(atom, MatMul)]
        yield from ((a, b) for a in atoms for b in atoms if cell.forms.families(a) & cell.forms.families(b))


def _scalars(cell: Cell) -> list[Scalar]:
    return [node for node in cell.body.reads if isinstance(node, Scalar)]


def _field(atom: Atom) -> Any:
    return atom.vector if isinstance(atom, AtStep) else atom


def _indices(a: Atom, b: Atom) -> Indices:
    return all_pairs(int(isinstance(a, AtStep)), int(isinstance(b, AtStep)))


@compiled(static=1)
def loop_limits(
    forms: Forms,
    only_ntk: bool,
    points: Points,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 F"] | None,
) -> Averages:
    """All inputs sampled together, once for each key."""
    x = x1 if x2 is None else jnp.concatenate([x1, x2])
    found = _together(forms, only_ntk, points, numbers, x)
    start = 0 if x2 is None else len(x1)
    return Averages(*jax.tree.map(lambda kernel: kernel[: len(x1), start:], tuple(found)))


@compiled(static=2)
def loop_limits_by_tiles(
    forms: Forms,
    only_ntk: bool,
    tile_size: int,
    points: Points,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 F"] | None,
) -> Averages:
    """The inputs of each tile sampled together, on the same points."""

    def tile(side1: Array, side2: Array) -> Averages:
        found = _together(forms, only_ntk, points, numbers, jnp.concatenate([side1, side2]))
        return Averages(*jax.tree.map(lambda kernel: kernel[: len(side1), len(side1) :], tuple(found)))

    return kernel_by_tiles((lambda x: x, lambda x: x), tile, jnp.transpose, x1, x2, tile_size)


def _together(
    forms: Forms, only_ntk: bool, points: Points, numbers: dict[str, Array], x: Float[Array, "N F"]
) -> Averages:
    def replicate(key: jax.Array) -> Limits:
        noise = scrambled_normals(points.directions, key, x.dtype)
        return _limits(forms, only_ntk, noise, numbers, x)

    return averages(lax.map(replicate, points.keys))


def _limits(
    forms: Forms, only_ntk: bool, noise: Float[Array, "S D"], numbers: dict[str, Array], x: Float[Array, "N F"]
) -> Limits:
    """The kernels of all inputs with each other, from one set of points."""
    stacked: dict[Scanned, SampledMoments] = {}
    taken = 0
    for loop in forms.sampled_loops:
        cell = _cell(forms, loop)
        count = variables_of(cell, len(x))
        stacked |= _of_loop(forms, cell, stacked, noise[:, taken : taken + count], numbers, x)
        taken += count
    steps = plan_of(forms)
    known = _known(forms, steps, stacked, numbers, x)
    return limits_of(forms, only_ntk, steps.cross, numbers, (x, x), (known, known), stacked)


def _known(
    forms: Forms, steps: Plan, stacked: dict[Scanned, SampledMoments], numbers: dict[str, Array], x: Array
) -> Known:
    own = own_values(forms, steps.own, numbers, x, stacked)
    return Known(own, {step.key: step.indices for step in steps.own})


def _of_loop(
    forms: Forms,
    cell: Cell,
    stacked: dict[Scanned, SampledMoments],
    noise: Float[Array, "S D"],
    numbers: dict[str, Array],
    x: Float[Array, "N F"],
) -> dict[Scanned, SampledMoments]:
    """The moments of the stacked vectors of one loop."""
    steps, fixed = _outside(forms, cell.loop), fixed_values(forms, numbers, x)
    known = _known(forms, steps, stacked, numbers, x)
    values = Values(fixed, (x, x), (known, known), sampled=stacked)
    found = values.follow(steps.cross)
    given = {(a, b): found.of(Pair(_field(a), _field(b)), _indices(a, b)) for a, b in _given(cell)}

    def outside(a: Atom, b: Atom, t: Array) -> Moments | None:
        """Of a at step t and b at all steps, (T, N, N)."""
        if (a, b) not in given:
            return None

        def row(part: Array) -> Array:
            moment = Named(part, _indices(a, b).names)
            array = moment.array
            if isinstance(a, AtStep):
                array = lax.dynamic_index_in_dim(array, t, 2, keepdims=False)
            array = jnp.moveaxis(array, -1, 0) if isinstance(b, AtStep) else array[None]
            return jnp.broadcast_to(array, (cell.body.length, *array.shape[1:]))

        return Moments(*(None if part is None else row(part) for part in given[a, b][:2]))

    scalars: dict[Node, Array] = {node: known.found[Alone(node)] for node in _scalars(cell) if node not in fixed}
    drawn = sampled(cell, fixed, scalars, outside, noise, len(x))
    read = [node for node in forms.recording.nodes if isinstance(node, Scanned) and node.loop is cell.loop]
    place = {node: cell.probes.index(node.vector) for node in read}

    def inputs_first(part: Array) -> Array:
        return jnp.transpose(part, (2, 3, 0, 1))

    return {
        a: SampledMoments(
            {b: Moments(*map(inputs_first, drawn.moments[place[a], place[b]][:2])) for b in read},
            drawn.means[place[a]].T,
        )
        for a in read
    }
