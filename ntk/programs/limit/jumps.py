"""Functions of scalars that jump where these have their limits: networks of finite width lie on either side.

Whether a function jumps is seen from its values. Along segments from the limits to the borders of their errors, the
cells with the largest changes are cut again and again, down to rounding. What changes over such a cell, and far less
beside it, jumps there. A function of primitives that are continuous everywhere is not looked at, which saves time and
decides nothing. A function with poles is, with all that is computed from it: 1/a is ±∞ beside 0, and arctan(1/a) ±π/2.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal, jaxprs_in_params
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.dtypes import common_dtype
from ntk.jaxprs import consists_of_continuous, evaluate
from ntk.programs.language.functions import OfNumbers, Softmax
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.loops import with_bodies
from ntk.programs.language.positions import common_shape
from ntk.programs.language.program import Recording
from ntk.programs.language.scalars import Apply, Constant, Moment, Value
from ntk.programs.scalar_values import applied, applied_at_one_input, evaluated

_ROUNDINGS = 4  # times √ε: relative changes that are no jumps, but roundings of values and of cells
_BESIDE, _SHARE = 64.0, 16  # a jump is so many times the change beside it, over so many times the width
_STEEP = 1e-2  # relative changes over one of the first cells that are looked into, whatever is beside it
_ERRORS = 6  # standard errors of a moment within which its limit is taken to lie
_JOINT_MOVES = 8  # of all moments at once
_CELLS, _CUTS, _KEPT, _ROUNDS = 32, 8, 4, 16  # at first, then of each cell, of which so many are kept, so often
_SEGMENTS = 32  # of one function that are searched, those with the largest changes


class _Jumps(NamedTuple):
    """Of each segment, the largest jump that is left, and the moments on either side of it."""

    size: Float[Array, " S"]
    below: Float[Array, "S M"]
    above: Float[Array, "S M"]


def moments_before_jumps(recording: Recording) -> tuple[Moment, ...]:
    """The moments that functions read which may jump; none where all functions are continuous everywhere."""
    nodes = reachable(_may_jump(recording), up_to=(Moment,))
    return tuple(node for node in nodes if isinstance(node, Moment))


def check_jumps(recording: Recording, numbers: dict[str, Array], of_moments: list[Float[Array, "R N ..."]]) -> None:
    """Refuse functions of scalars that jump at their limits, or within the errors of these.

    A function that is not finite at the limit is left to others to refuse.

    Args:
        recording: The program.
        numbers: The values of its options.
        of_moments: The limits of `moments_before_jumps`, for each input and position, as independent replicates found
            them; one if exact.
    """
    limits = jnp.concatenate([jnp.moveaxis(each.reshape(*each.shape[:2], -1), 1, 2) for each in of_moments], axis=1)
    sampled = len(limits) > 1
    wide = common_dtype(limits.dtype, jnp.float32)
    numbers = {name: jnp.asarray(value, wide) for name, value in numbers.items()}
    at = jnp.mean(limits.astype(wide), axis=0)
    step = jnp.where(at == 0, 1e-12, 64 * float(jnp.finfo(limits.dtype).eps) * jnp.abs(at))
    if sampled:
        step = jnp.maximum(step, _ERRORS * jnp.std(limits.astype(wide), axis=0, ddof=1) / len(limits) ** 0.5)
    # Each moment alone, at all its positions.
    alone = np.repeat(np.eye(len(of_moments)), [math.prod(each.shape[2:]) for each in of_moments], axis=1)
    together = np.random.default_rng(0).choice((-1.0, 1.0), (_JOINT_MOVES, len(at)))
    directions = jnp.asarray(np.concatenate([alone, -alone, together, *_apart(len(at))]), wide)
    changes = np.asarray(_changes(recording, numbers, at, step, directions))
    rounding = _rounding(wide)
    for number, node in enumerate(_may_jump(recording)):
        largest = np.argsort(changes[number], axis=None)[-_SEGMENTS:]
        if changes[number].ravel()[largest[-1]] <= rounding:
            continue
        which, inputs = np.unravel_index(largest, changes[number].shape)
        found = _search(recording, number, numbers, at.T[inputs], directions[which] * step.T[inputs])
        worst = int(jnp.argmax(found.size))
        if found.size[worst] > rounding:
            line, primitive = _what_jumps(recording, numbers, node, found.below[worst], found.above[worst])
            raise ValueError(
                f"a function of scalars jumps at its limit{', or too close by' if sampled else ''}, at {line} (in"
                f" '{primitive}'); expected a function that is continuous there{', or more samples' if sampled else ''}"
                ": of networks of finite width some lie on either side."
            )


def _apart(count: int) -> list[Float[np.ndarray, "k M"]]:
    """Moves of which, for any two of many numbers, one moves them in opposite directions: the bits of their places."""
    if count <= _JOINT_MOVES:
        return []
    bits = (np.arange(count)[None] >> np.arange((count - 1).bit_length())[:, None]) & 1
    return [2.0 * bits - 1.0, 1.0 - 2.0 * bits]


def _may_jump(recording: Recording) -> list[Apply]:
    """The functions of moments that are, or are computed from, more than what is continuous everywhere."""
    return recording.once(_functions_to_look_at, recording)


def may_jump_in_loops(recording: Recording) -> bool:
    """Whether a step of a loop applies a function that may jump to moments of its own vectors."""
    inside = set(with_bodies(recording.nodes)) - set(recording.nodes)
    functions = [node for node in inside if isinstance(node, Apply) and not _is_continuous(node)]
    return any(isinstance(part, Moment) for node in functions for part in reachable([node], up_to=(Moment,)))


def _functions_to_look_at(recording: Recording) -> list[Apply]:
    cones = {node: reachable([node], up_to=(Moment,)) for node in recording.nodes if isinstance(node, Apply)}
    suspects = {node for node in cones if not _is_continuous(node)}
    return [
        node
        for node, cone in cones.items()
        if not suspects.isdisjoint(cone) and any(isinstance(part, Moment) for part in cone)
    ]


def _is_continuous(node: Apply) -> bool:
    """Whether a function is known to be continuous everywhere, with constants among its arguments as they are."""
    fn = node.fn.fn if isinstance(node.fn, OfNumbers) else node.fn
    if isinstance(fn, Softmax):  # it divides by a sum that is 1 at least
        return True
    constants = [arg.value if isinstance(arg, Constant) else None for arg in node.args]

    def of_others(*others: Array) -> Value:
        given = iter(others)
        return applied(node, [next(given) if constant is None else constant for constant in constants])

    shape = common_shape([arg.shape for arg in node.args])
    taken = shape[len(shape) - node.over :]
    others = (jnp.zeros(taken) for constant in constants if constant is None)
    return consists_of_continuous(jax.make_jaxpr(of_others)(*others).jaxpr)


def _rounding(dtype: jnp.dtype) -> float:
    """The largest relative change between neighbouring numbers that is not taken for a jump."""
    return _ROUNDINGS * float(jnp.finfo(dtype).eps) ** 0.5


def _values(
    recording: Recording, numbers: dict[str, Array], point: Float[Array, " M"], wanted: tuple[Node, ...]
) -> list[Array]:
    """The values of scalars where the moments have those of a point."""
    moments: dict[Node, Value] = {}
    start = 0
    for moment in moments_before_jumps(recording):
        size = math.prod(moment.shape)
        moments[moment] = point[start : start + size].reshape(moment.shape)
        start += size
    values = evaluated(reachable(wanted, up_to=(Moment,)), numbers, moments, point.dtype)
    return [jnp.asarray(values[node], point.dtype) for node in wanted]


def _relative_change(before: Array, after: Array) -> Array:
    """|after − before|/(1 + |before|)."""
    return jnp.nan_to_num(jnp.abs(after - before) / (1.0 + jnp.abs(before)))


@compiled()
def _changes(
    recording: Recording,
    numbers: dict[str, Array],
    at: Float[Array, "M N"],
    step: Float[Array, "M N"],
    directions: Float[Array, "D M"],
) -> Float[Array, "A D N"]:
    """How much each function changes along segments that start at the limits: the largest change over a cell.

    Only those count that are large, or twice those over the cells beside. A function that is infinite at the limit has
    none.
    """
    suspects = tuple(_may_jump(recording))

    def largest_change(values: Array) -> Array:
        values = values.reshape(len(values), -1)
        changes = _relative_change(values[:-1], values[1:])
        framed = jnp.pad(changes, ((1, 1), (0, 0)))
        alone = changes > 2 * jnp.maximum(framed[:-2], framed[2:])
        return jnp.max(jnp.where(jnp.isfinite(values[:1]) & (alone | (changes > _STEEP)), changes, 0.0))

    def along(direction: Float[Array, " M"]) -> Float[Array, "A N"]:
        def of_input(start: Float[Array, " M"], move: Float[Array, " M"]) -> Float[Array, " A"]:
            places = jnp.linspace(0.0, 1.0, _CELLS + 1, dtype=start.dtype)
            found = jax.vmap(lambda t: _values(recording, numbers, start + t * move, suspects))(places)
            return jnp.stack([largest_change(values) for values in found])

        return jax.vmap(of_input, out_axes=1)(at.T, direction[None] * step.T)

    return jnp.moveaxis(lax.map(along, directions), 0, 1)


@compiled(static=1)
def _search(
    recording: Recording,
    number: int,
    numbers: dict[str, Array],
    starts: Float[Array, "S M"],
    moves: Float[Array, "S M"],
) -> _Jumps:
    """The largest jumps of one function along segments."""
    suspect = (_may_jump(recording)[number],)

    def of_segment(start: Float[Array, " M"], move: Float[Array, " M"]) -> tuple[Array, Array, Array]:
        # A compiler may round the same sum to either neighbour, so the sides are a few units further apart.
        apart = 4 * jnp.finfo(start.dtype).eps * (jnp.abs(start) + jnp.abs(move)) * jnp.sign(move)

        def at(share: Array, further: float = 0.0) -> Float[Array, " K"]:
            """The entries of the function's value at that share of the segment, and so many units further."""
            return _values(recording, numbers, start + share * move + further * apart, suspect)[0].ravel()

        def cut(cells: tuple[Array, Array], cuts: int) -> tuple[Array, Array]:
            """Of the parts of cells those with the largest changes: where they begin and end."""
            begin, end = cells
            shares = jnp.linspace(0.0, 1.0, cuts + 1, dtype=begin.dtype)
            places = begin[:, None] + (end - begin)[:, None] * shares[None]
            values = jax.vmap(jax.vmap(at))(places)
            change = jnp.max(_relative_change(values[:, :-1], values[:, 1:]), axis=2)
            best = lax.top_k(change.ravel(), _KEPT)[1]
            return places[:, :-1].ravel()[best], places[:, 1:].ravel()[best]

        def jump(begin: Array, end: Array) -> tuple[Array, Array]:
            """The change over a cell, 0 where as much changes beside it, and how many units before it is one side."""
            change = _relative_change(at(begin), at(end))
            before = _relative_change(at(begin, -1.0), at(begin, -_BESIDE))
            after = _relative_change(at(end, 1.0), at(end, _BESIDE))
            change = jnp.where(jnp.maximum(before, after) < change / _SHARE, change, 0.0)
            # Where the limit alone is different, as that of sign(ab) may be, it is itself one side.
            across = _relative_change(at(begin, -1.0), at(end, 1.0))
            return jnp.max(change), jnp.where(jnp.max(across) > jnp.max(change) / 2, 1.0, 0.0)

        whole = jnp.zeros(1, start.dtype), jnp.ones(1, start.dtype)
        begin, end = lax.fori_loop(0, _ROUNDS, lambda _, cells: cut(cells, _CUTS), cut(whole, _CELLS))
        jumps, units = jax.vmap(jump)(begin, end)
        most = jnp.argmax(jumps)
        return jumps[most], start + begin[most] * move - units[most] * apart, start + end[most] * move + apart

    return _Jumps(*jax.vmap(of_segment)(starts, moves))


def _what_jumps(
    recording: Recording, numbers: dict[str, Array], node: Apply, below: Float[Array, " M"], above: Float[Array, " M"]
) -> tuple[str, str]:
    """The line and the primitive that differ first on either side, among all that a function is computed from."""
    for part in reachable([node], up_to=(Moment,)):
        if not isinstance(part, Apply) or _is_continuous(part):
            continue
        before, after = (_values(recording, numbers, point, part.args) for point in (below, above))

        def at_inputs(*args: Array, part: Apply = part) -> Value:
            return applied_at_one_input(part, list(args))

        primitive = _primitive_that_jumps(jax.make_jaxpr(at_inputs)(*before), before, after, _rounding(below.dtype))
        if primitive is not None:
            return str(part.line), primitive
    return str(node.line), "it"


def _primitive_that_jumps(
    program: ClosedJaxpr, below: Sequence[ArrayLike], above: Sequence[ArrayLike], rounding: float
) -> str | None:
    """The name of the first primitive whose results differ on either side."""
    variables = (*program.jaxpr.constvars, *program.jaxpr.invars)
    known = {v: pair for v, *pair in zip(variables, (*program.consts, *below), (*program.consts, *above), strict=True)}
    for equation in program.jaxpr.eqns:
        sides = [
            [atom.val if isinstance(atom, Literal) else known[atom][side] for atom in equation.invars]
            for side in (0, 1)
        ]
        results = [evaluate(program, equation, side) for side in sides]
        for variable, *pair in zip(equation.outvars, *results, strict=True):
            known[variable] = pair
            if pair[0] is None or pair[0].dtype == bool:
                continue
            if jnp.max(_relative_change(*(jnp.asarray(value, float) for value in pair))) > rounding:
                for inner in jaxprs_in_params(equation.params):
                    if len(inner.invars) == len(equation.invars) and not inner.constvars:
                        return _primitive_that_jumps(ClosedJaxpr(inner, []), sides[0], sides[1], rounding)
                return equation.primitive.name
    return None
