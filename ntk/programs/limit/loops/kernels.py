"""The kernels of programs whose loops are sampled, and all else computed on arrays (theory.md 3.13)."""

import itertools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.learning_rates import Rates
from ntk.programs.language.atoms import Tap
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.loops import Scanned
from ntk.programs.language.scalars import Scalar, Value
from ntk.programs.limit.arrays.kernels import fixed_values, has_plan, limits_of, own_values, plan_of
from ntk.programs.limit.arrays.plan import Alone, Moments, NotOnArrays, Plan
from ntk.programs.limit.arrays.values import Known, SampledMoments, Values
from ntk.programs.limit.draws.points import REPLICATES, Points, points_for, scrambled_normals
from ntk.programs.limit.evaluation import Averages, averages
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.jumps import moments_before_jumps
from ntk.programs.limit.loops.cells import Cell
from ntk.programs.limit.loops.outside import (
    Blocks,
    block_of,
    cell_of_loop,
    outside_of,
    outside_plan,
    scalars_of,
    stacked_of,
)
from ntk.programs.limit.loops.twins import Walked, walked_loops
from ntk.programs.limit.loops.walk import Sampled, sampled, variables_of
from ntk.programs.results import Limits
from ntk.tiles import device_memory, kernel_by_tiles, swapped

_MOST_BYTES = 2**30  # of one replicate of all inputs together; beyond that they are sampled tile by tile
_TILE = 4  # inputs of each side


def samples_loops(forms: Forms) -> bool:
    """Whether the kernels of a program follow from samples of its loops, step by step, and from rules on arrays."""
    if not forms.sampled_loops or not forms.is_exact_outside_loops or forms.couples_inputs or forms.has_masks:
        return False
    if moments_before_jumps(forms.recording):  # Their samples are looked at one by one.
        return False
    return forms.recording.once(_has_cells, forms) and forms.recording.once(has_plan, forms)


def _has_cells(forms: Forms) -> bool:
    try:
        for walked in walked_loops(forms):
            for first in range(len(walked.sides)):
                for second in range(first, len(walked.sides)):
                    outside_plan(forms, walked.loop, first, second)
    except NotOnArrays:
        return False
    return not any(isinstance(node, Tap) for node in reachable(forms.sampled_loops))


def averages_of_loops(
    forms: Forms,
    only_ntk: bool,
    tile_size: int | None,
    samples: int,
    seed: int,
    arguments: tuple[dict[str, Array], Array, Array | None, Rates | None],
) -> tuple[Averages, int, bool]:
    """Mean and standard error over replicates, the number of samples, and whether all inputs were sampled together."""
    _, x1, x2, _ = arguments
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
    return sum(variables_of(cell_of_loop(forms, walked.loop), num_inputs) for walked in walked_loops(forms))


def _bytes(forms: Forms, num_inputs: int, samples: int, dtype: jnp.dtype) -> int:
    """What a loop keeps of one replicate: τ̂ of its states with its states and units, for all pairs of inputs."""
    numbers = 0
    for walked in walked_loops(forms):
        cell = cell_of_loop(forms, walked.loop)
        states, units = len(cell.states), len(cell.units)
        numbers = max(numbers, cell.body.length * (1 + states * (2 * units + states)))
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
    rates: Rates | None = None,
) -> Averages:
    """All inputs sampled together, or those of each tile, on the same points."""
    if tile_size is None and x2 is None:
        return _together(forms, only_ntk, points, numbers, [x1], rates)

    def of_two(side1: Array, side2: Array) -> Averages:
        if forms.recording.has_two_shapes:
            return _together(forms, only_ntk, points, numbers, [side1, side2], rates)
        found = _together(forms, only_ntk, points, numbers, [jnp.concatenate([side1, side2])], rates)
        return jax.tree.map(lambda kernel: kernel[: len(side1), len(side1) :], found)

    if tile_size is None:
        assert x2 is not None
        return of_two(x1, x2)
    return kernel_by_tiles((lambda x: x, lambda x: x), of_two, swapped, x1, x2, tile_size)


def _together(
    forms: Forms,
    only_ntk: bool,
    points: Points,
    numbers: dict[str, Array],
    sides: list[Array],
    rates: Rates | None,
) -> Averages:
    def replicate(key: jax.Array) -> Limits:
        noise = scrambled_normals(points.directions, key, sides[0].dtype)
        return _limits(forms, only_ntk, noise, numbers, sides, rates)

    return averages(lax.map(replicate, points.keys))


def _limits(
    forms: Forms,
    only_ntk: bool,
    noise: Float[Array, "S D"],
    numbers: dict[str, Array],
    sides: list[Array],
    rates: Rates | None,
) -> Limits:
    """The kernels of all inputs with each other, or of those of two shapes, from one set of points."""
    stacked: dict[Scanned, SampledMoments] = {}
    fixed = fixed_values(forms, numbers, sides[0], rates)
    taken = 0
    for walked in walked_loops(forms):
        count = variables_of(cell_of_loop(forms, walked.loop), sum(map(len, sides)))
        stacked |= _of_loop(forms, walked, stacked, noise[:, taken : taken + count], numbers, fixed, sides)
        taken += count
    steps = plan_of(forms)
    both = sides[0], sides[-1]
    known = _known(forms, steps, stacked, numbers, both)
    return limits_of(forms, only_ntk, steps.cross, fixed, both, known, stacked)


def _known(
    forms: Forms,
    steps: Plan,
    stacked: dict[Scanned, SampledMoments],
    numbers: dict[str, Array],
    sides: tuple[Array, Array],
) -> tuple[Known, Known]:
    """What is known of the inputs of each side, which may be the same."""

    def of(side: int) -> Known:
        own = own_values(forms, steps.own[side], numbers, sides[side], stacked)
        return Known(own, {step.key: step.indices for step in steps.own[side]})

    first = of(0)
    return first, first if sides[0] is sides[1] else of(1)


def _of_loop(
    forms: Forms,
    walked: Walked,
    stacked: dict[Scanned, SampledMoments],
    noise: Float[Array, "S D"],
    numbers: dict[str, Array],
    fixed: dict[Node, Value],
    sides: list[Array],
) -> dict[Scanned, SampledMoments]:
    """The moments of the stacked vectors of one loop, on all sides."""
    cell = cell_of_loop(forms, walked.loop)
    blocks: Blocks = {}
    own: list[Known] = []
    for first, second in itertools.combinations_with_replacement(range(len(sides)), 2):
        both, steps = (sides[first], sides[second]), outside_plan(forms, cell.loop, first, second)
        known = _known(forms, steps, stacked, numbers, both)
        own += known[:1] if first == second else ()
        blocks[first, second] = block_of(
            walked, cell, Values(fixed, both, known, sampled=stacked), steps, first, second
        )

    def of_all(node: Scalar) -> Array:
        parts = (jnp.asarray(known.found[Alone(walked.of(side, node))]) for side, known in enumerate(own))
        every = [jnp.broadcast_to(part, (len(x), *part.shape[1:])) for part, x in zip(parts, sides, strict=True)]
        return jnp.concatenate(every)

    scalars: dict[Node, Array] = {node: of_all(node) for node in scalars_of(cell) if node not in fixed}
    drawn = sampled(cell, fixed, scalars, outside_of(cell, blocks, len(sides)), noise, sum(map(len, sides)))
    return _by_side(forms, walked, cell, drawn, sides)


def _by_side(
    forms: Forms, walked: Walked, cell: Cell, drawn: Sampled, sides: list[Array]
) -> dict[Scanned, SampledMoments]:
    """The moments of the stacked vectors of each side, at the steps and the inputs that it has."""
    ends = list(itertools.accumulate(map(len, sides), initial=0))
    nodes = [
        (node, slice(ends[side], ends[side + 1]), loop.body.length)
        for side, loop in enumerate(walked.sides)
        for node in stacked_of(forms, loop)
    ]

    def place(node: Scanned) -> int:
        return cell.probes.index(cell.body.outs[node.number])

    found = {}
    for a, rows, steps in nodes:
        with_others = {}
        for b, columns, other_steps in nodes:
            moments = drawn.moments[place(a), place(b)]
            with_others[b] = Moments(
                *(jnp.transpose(part[:steps, :other_steps, rows, columns], (2, 3, 0, 1)) for part in moments)
            )
        found[a] = SampledMoments(with_others, drawn.means[place(a)][:steps, rows].T)
    return found
