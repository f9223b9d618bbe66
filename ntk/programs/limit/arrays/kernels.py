"""The kernels of a recorded program with position axes, compiled once."""

import functools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.decomposition import gram
from ntk.learning_rates import Rates
from ntk.programs.language.graph import Node
from ntk.programs.language.loops import Scanned
from ntk.programs.language.outputs import Output
from ntk.programs.language.scalars import Moment, Scalar, Table
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import Indices, equal, matched, restricted
from ntk.programs.limit.arrays.offsets.averages import with_loops_over_offsets
from ntk.programs.limit.arrays.plan import (
    Alone,
    Key,
    Meeting,
    Need,
    NotOnArrays,
    Pair,
    Plan,
    Step,
    Tree,
    plan,
    steps_to,
)
from ntk.programs.limit.arrays.rules import rule_of
from ntk.programs.limit.arrays.values import Known, SampledMoments, Values
from ntk.programs.limit.evaluation import ReadOut, limits_from
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.jumps import may_jump_in_loops
from ntk.programs.options import fixed_scalars
from ntk.programs.results import Limits
from ntk.programs.scalar_values import evaluated
from ntk.tiles import device_memory, kernel_by_tiles, side_by_tiles, swapped

_ENTRIES = 2**16  # of the largest array of a tile, so that the several arrays of a step stay in cache
_ENTRIES_OF_ALL_STEPS = 2**18  # where loops meet at all pairs of steps: one row of them at a time
_ENTRIES_OF_EQUAL_STEPS = 2**20  # where loops meet at equal steps: one of them at a time
_ARRAYS = (
    16  # as large as the largest one, that XLA keeps at a time: 5 to 17 of them for the architectures of the tests
)


def is_on_arrays(forms: Forms) -> bool:
    """Whether the kernels of a program have a plan here. Without position axes it needs none."""
    recording = forms.recording
    has_axes = any(isinstance(node, Vector) and node.shape for node in recording.nodes)
    alone = not (forms.couples_inputs or forms.has_masks_in_loops)
    return has_axes and forms.is_exact and alone and recording.once(has_plan, forms)


def has_plan(forms: Forms) -> bool:
    """Whether all that the kernels need has rules."""
    if may_jump_in_loops(forms.recording):
        return False
    try:
        plan_of(forms)
    except NotOnArrays:
        return False
    return True


def plan_of(forms: Forms) -> Plan:
    """What the kernels of a program need, and in which order."""
    return forms.recording.once(_plan_of_kernels, forms)


def _plan_of_kernels(forms: Forms) -> Plan:
    recording = forms.recording
    read = [(z1, z2) for _, z1, z2 in recording.vectors_read] + [*recording.watched_twice.values()]
    goals = {Pair(z1, z2): matched(z1.shape, z2.shape) for z1, z2 in read}
    first, second = (_factors(side.output) for side in recording.sides)
    rule = with_loops_over_offsets(functools.partial(rule_of, forms), goals)
    if recording.has_two_shapes:
        return plan(rule, goals, first, second)
    moments = [Alone(node) for node in recording.nodes if isinstance(node, Moment)]
    return plan(rule, goals, [*first, *moments])


def _factors(output: Output) -> list[Alone]:
    """The coefficients of what output weights read of the input."""
    return [Alone(factor) for _, features in output.features for _, factor in features.terms]


def tile_size_of(forms: Forms) -> int:
    """Inputs to a tile: as many as keep the largest array of a tile in a core's cache."""
    steps = plan_of(forms).cross
    largest = max((step.entries for step in steps), default=1)
    loops = [step.indices for step in steps if isinstance(step.key, Meeting)]
    entries = _ENTRIES_OF_EQUAL_STEPS if loops else _ENTRIES
    if any(indices.left[0] != indices.right[0] for indices in loops):
        entries = _ENTRIES_OF_ALL_STEPS
    return max(math.isqrt(min(entries // largest, _ENTRIES)), 1)


def check_memory(forms: Forms, tile_size: int, dtype: jnp.dtype) -> None:
    """Refuse a program for which a tile, with the program's tables, is larger than the device's memory."""
    largest = max((step.entries for step in plan_of(forms).cross), default=1)
    tables = sum(math.prod(node.axes) for node in forms.recording.nodes if isinstance(node, Table))
    needed, available = (_ARRAYS * tile_size**2 * largest + tables) * dtype.itemsize, device_memory()
    if needed > available:
        raise ValueError(
            f"the kernels of {tile_size} inputs with {tile_size} take about {needed / 2**30:.3g} GiB, for arrays of"
            f" {largest} pairs of positions and tables of {tables} numbers; expected at most"
            f" {available / 2**30:.3g} GiB: a smaller tile_size, fewer positions, or an output weight for each position"
            " in place of a mean over them."
        )


@compiled(static=1)
def scalar_limits(
    forms: Forms, scalars: tuple[int, ...], numbers: dict[str, Array], x: Float[Array, "N F"]
) -> list[Array]:
    """The limits of scalars, given by their places in the graph: (N, *P) each."""
    nodes = [forms.recording.graph.nodes[index] for index in scalars]
    goals = [node for node in nodes if isinstance(node, Scalar)]
    steps = steps_to(functools.partial(rule_of, forms), [Need(0, Alone(each)) for each in goals], own=True)
    found = own_values(forms, steps, numbers, x)
    values = [jnp.asarray(found[Alone(each)], x.dtype) for each in goals]
    # A function that gives several numbers has an axis of them.
    shapes = [(*each.shape, *value.shape[1 + len(each.shape) :]) for each, value in zip(goals, values, strict=True)]
    return [jnp.broadcast_to(value, (len(x), *shape)) for value, shape in zip(values, shapes, strict=True)]


def own_values(
    forms: Forms,
    steps: Sequence[Step],
    numbers: dict[str, Array],
    x: Float[Array, "N F"],
    sampled: Mapping[Scanned, SampledMoments] = MappingProxyType({}),
) -> dict[Key, Tree]:
    """What steps give of each input with itself."""
    return Values(fixed_values(forms, numbers, x), (x, x), sampled=sampled).follow(steps).found


def fixed_values(
    forms: Forms, numbers: dict[str, Array], x: Float[Array, "N F"], rates: Rates | None = None
) -> dict[Node, Tree]:
    """The values of the scalars that do not depend on the inputs, and ησ² of the parameters with learning rates η."""
    found = evaluated(fixed_scalars(forms.recording), numbers, {}, x.dtype)
    parameters = forms.recording.parameters
    for name, rate in (rates or {}).items():
        if name in parameters:  # It may belong to inputs of another shape.
            found[parameters[name]] = rate.times_variance(found[parameters[name].std])
    return found


@compiled(static=2)
def array_limits(
    forms: Forms,
    only_ntk: bool,
    tile_size: int,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 G"] | None,
    rates: Rates | None = None,
) -> Limits:
    """The kernels, tile by tile."""
    steps = plan_of(forms)
    read = {need.key for step in steps.cross for need in step.rule.needs if need.side}
    read |= {key for side in forms.recording.sides for key in _factors(side.output)}
    indices1, indices2 = ({step.key: step.indices for step in own if step.key in read} for own in steps.own)

    def side(own: list[Step], indices: dict[Key, Indices], x: Float[Array, "n F"]) -> tuple[Array, list[Tree]]:
        found = own_values(forms, own, numbers, x)
        return x, [found[key] for key in indices]

    def pair(side1: tuple[Array, list[Tree]], side2: tuple[Array, list[Tree]]) -> Limits:
        (x1, own1), (x2, own2) = side1, side2
        known1 = Known(dict(zip(indices1, own1, strict=True)), indices1)
        known2 = Known(dict(zip(indices2, own2, strict=True)), indices2)
        fixed = fixed_values(forms, numbers, x1, rates)
        return limits_of(forms, only_ntk, steps.cross, fixed, (x1, x2), (known1, known2))

    of_side1 = functools.partial(side, steps.own[0], indices1)
    of_side2 = functools.partial(side, steps.own[1], indices2)
    # What a side has alone is not of pairs of inputs.
    side1, rows1 = side_by_tiles(of_side1, x1, tile_size**2)
    side2, rows2 = (None, rows1) if x2 is None else side_by_tiles(of_side2, x2, tile_size**2)
    return kernel_by_tiles((rows1, rows2), pair, swapped, side1, side2, tile_size)


def limits_of(
    forms: Forms,
    only_ntk: bool,
    steps: Sequence[Step],
    fixed: dict[Node, Tree],
    sides: tuple[Array, Array],
    known: tuple[Known, Known],
    sampled: Mapping[Scanned, SampledMoments] = MappingProxyType({}),
) -> Limits:
    """All kernels of a tile."""
    recording = forms.recording
    watched = {} if only_ntk else recording.watched_twice
    pairs = {name: (Pair(z1, z2), matched(z1.shape, z2.shape)) for name, (z1, z2) in watched.items()}
    zeros = jnp.zeros((len(sides[0]), len(sides[1])), sides[0].dtype)

    def read_out(moment: Array | None, z1: Vector, z2: Vector) -> Array:
        """Σ_p C_pp/√(PP̄) over the positions p that both have, each with its own output weight (theory.md 3.15)."""
        if moment is None:
            return zeros
        at_equal = _at_equal(moment, z1, z2)
        sizes = math.prod(z1.shape) * math.prod(z2.shape)
        return jnp.sum(at_equal, axis=tuple(range(2, at_equal.ndim))) / sizes**0.5

    def found_with(sources: dict[str, Array]) -> tuple[list[ReadOut], dict[str, Array]]:
        values = Values(fixed, sides, known, sources, sampled)
        found = values.follow(steps)
        read = []
        for weight, z1, z2 in recording.vectors_read:
            moments = found.of(Pair(z1, z2), matched(z1.shape, z2.shape))
            of_outputs = (read_out(moment, z1, z2) for moment in (moments.C, moments.tau))
            read.append(ReadOut(values.variance(weight), values.trained_variance(weight), *of_outputs))
        for weight, *pair in recording.features_read:
            parts = []
            for features, x, home in zip(pair, sides, known, strict=True):
                parts.append(features.of_each(x, [home.found[Alone(factor)] for _, factor in features.terms]))
            variances = values.variance(weight), values.trained_variance(weight)
            read.append(ReadOut(*variances, gram(parts[0], parts[1]), zeros))
        return read, {name: values.filled(found.of(*pair).C, *pair) for name, pair in pairs.items()}

    empty = Values(fixed, sides, known)
    nothing = {name: empty.filled(None, *pair) for name, pair in pairs.items()}
    limits = limits_from(found_with, zeros, nothing)
    C, D = ({name: _at_equal(of[name], *pair) for name, pair in watched.items()} for of in (limits.C, limits.D))
    return limits._replace(C=C, D=D)


def _at_equal(moment: Array, z1: Vector, z2: Vector) -> Float[Array, "N1 N2 ..."]:
    """The entries at the positions that both have, of moments for `matched` positions."""
    return restricted(moment, matched(z1.shape, z2.shape), equal(len(z1.shape)))
