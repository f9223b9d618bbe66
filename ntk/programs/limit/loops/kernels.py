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
from ntk.programs.limit.draws.points import REPLICATES, Points, points_for, scrambled_normals
from ntk.programs.limit.evaluation import Averages, averages
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.jumps import moments_before_jumps
from ntk.programs.limit.loops.cells import Cell, cell_of
from ntk.programs.limit.loops.step import Rows
from ntk.programs.limit.loops.walk import sampled, variables_of
from ntk.programs.results import Limits
from ntk.tiles import device_memory, kernel_by_tiles, swapped

_MOST_BYTES = 2**30  # of one replicate of all inputs together; beyond that they are sampled tile by tile
_TILE = 4  # inputs of each side


def samples_loops(forms: Forms) -> bool:
    """Whether the kernels of a program follow from samples of its loops, step by step, and from rules on arrays."""
    if not forms.sampled_loops or not forms.is_exact_outside_loops or forms.couples_inputs:
        return False
    if forms.recording.has_two_shapes:  # The steps of all inputs are walked together.
        return False
    if moments_before_jumps(forms.recording):  # Their samples are looked at one by one.
        return False
    return forms.recording.once(_has_cells, forms) and forms.recording.once(has_plan, forms)


def _has_cells(forms: Forms) -> bool:
    try:
        for loop in forms.sampled_loops:
            _outside(forms, loop)
    except NotOnArrays:
        return False
    return not any(isinstance(node, Tap) for node in reachable(forms.sampled_loops))


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


def averages_of_loops(
    forms: Forms,
    only_ntk: bool,
    tile_size: int | None,
    samples: int,
    seed: int,
    arguments: tuple[dict[str, Array], Array, Array | None],
) -> tuple[Averages, int, bool]:
    """Mean and standard error over replicates, the number of samples, and whether all inputs were sampled together."""
    _, x1, x2 = arguments
    sizes = len(x1), len(x1 if x2 is None else x2)
    together = len(x1) if x2 is None else sum(sizes)
    joint = tile_size is None and _bytes(forms, together, samples, x1.dtype) <= _MOST_BYTES
    if not joint:
        size = tile_size or _TILE
        together = sum(min(size, count) for count in sizes)
        needed = _bytes(forms, together, samples, x1.dtype)
        if needed > device_memory():
            raise ValueError(
                f"{samples} samples of {together} inputs take about {needed / 2**30:.3g} GiB; expected at most"
                f" {device_memory() / 2**30:.3g} GiB: fewer samples, or a smaller tile_size."
            )
    points = points_for(samples, max(1, _variables(forms, together)), seed)
    return loop_limits(forms, only_ntk, None if joint else size, points, *arguments), points.samples, joint


def _variables(forms: Forms, num_inputs: int) -> int:
    """How many standard normal variables the loops need."""
    return sum(variables_of(_cell(forms, loop), num_inputs) for loop in forms.sampled_loops)


def _bytes(forms: Forms, num_inputs: int, samples: int, dtype: jnp.dtype) -> int:
    """What a loop keeps of one replicate: τ̂ of its states with its states and units, for all pairs of inputs."""
    numbers = 0
    for loop in forms.sampled_loops:
        states, units = len(_cell(forms, loop).states), len(_cell(forms, loop).units)
        numbers = max(numbers, loop.body.length * (1 + states * (2 * units + states)))
    return numbers * num_inputs**2 * -(-samples // REPLICATES) * dtype.itemsize


@compiled(static=2)
def loop_limits(
    forms: Forms,
    only_ntk: bool,
    tile_size: int | None,
    points: Points,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 G"] | None,
) -> Averages:
    """All inputs sampled together, or those of each tile, on the same points."""
    if tile_size is None and x2 is None:
        return _together(forms, only_ntk, points, numbers, x1)

    def of_two(side1: Array, side2: Array) -> Averages:
        found = _together(forms, only_ntk, points, numbers, jnp.concatenate([side1, side2]))
        return jax.tree.map(lambda kernel: kernel[: len(side1), len(side1) :], found)

    if tile_size is None:
        assert x2 is not None
        return of_two(x1, x2)
    return kernel_by_tiles((lambda x: x, lambda x: x), of_two, swapped, x1, x2, tile_size)


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
    own = own_values(forms, steps.own[0], numbers, x, stacked)
    return Known(own, {step.key: step.indices for step in steps.own[0]})


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

    def outside(a: Atom, b: Atom, t: Array) -> Rows | None:
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

        found, (i, j) = given[a, b], (_indices(a, b), Pair(_field(a), _field(b)))
        return Rows(row(values.filled(found.C, j, i)), row(values.filled(found.tau, j, i)))

    scalars: dict[Node, Array] = {node: known.found[Alone(node)] for node in _scalars(cell) if node not in fixed}
    drawn = sampled(cell, fixed, scalars, outside, noise, len(x))
    read = [node for node in forms.recording.nodes if isinstance(node, Scanned) and node.loop is cell.loop]
    place = {node: cell.probes.index(node.vector) for node in read}

    def inputs_first(part: Array) -> Array:
        return jnp.transpose(part, (2, 3, 0, 1))

    return {
        a: SampledMoments(
            {b: Moments(*map(inputs_first, drawn.moments[place[a], place[b]])) for b in read},
            drawn.means[place[a]].T,
        )
        for a in read
    }
