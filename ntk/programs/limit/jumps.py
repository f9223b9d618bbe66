"""Functions of scalars that jump where these have their limits: networks of finite width lie on either side.

Whether a function jumps is seen from its values. Along segments from the limits to the borders of their errors, the
cells with the largest changes are cut again and again: what is continuous changes less and less, a jump stays. A
function of primitives that are known to be continuous is not looked at, which saves time and decides nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal, jaxprs_in_params
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.dtypes import common_dtype
from ntk.jaxprs import evaluate
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.program import Recording
from ntk.programs.language.scalars import OPERATORS, Apply, Constant, Entry, Moment, Option, applied

_JUMP = 1e-2  # relative; the last cells are so small that what is continuous changes by far less
_ERRORS = 6  # standard errors of a moment within which its limit is taken to lie
_JOINT_MOVES = 8  # of all moments at once
_CELLS, _CUTS, _KEPT, _ROUNDS = 32, 8, 4, 16  # at first, then of each cell, of which so many are kept, so often
_SEGMENTS = 32  # of one function that are searched, those with the largest changes
# Primitives of JAX whose values are continuous wherever they are finite.
_CONTINUOUS = """
abs acos acosh add add_any asin asinh atan atanh broadcast_in_dim cbrt clamp concatenate convert_element_type copy cos
cosh cumlogsumexp cummax cummin cumprod cumsum custom_jvp_call custom_vjp_call div dot_general erf erf_inv erfc exp exp2
expm1 integer_pow jit log log1p logistic max min mul neg pad pjit pow reduce_max reduce_min reduce_prod reduce_sum remat
reshape rev rsqrt scan sin sinh slice sort split sqrt square squeeze stack stop_gradient sub tan tanh transpose
""".split()  # noqa: SIM905


class _Jumps(NamedTuple):
    """Of each segment, the largest jump that is left, and the moments on either side of it."""

    size: Float[Array, " S"]
    below: Float[Array, "S M"]
    above: Float[Array, "S M"]


def moments_before_jumps(recording: Recording) -> tuple[Moment, ...]:
    """The moments that functions read which may jump; none where all functions are continuous."""
    nodes = reachable(_may_jump(recording), up_to=(Moment,))
    return tuple(node for node in nodes if isinstance(node, Moment))


def check_jumps(recording: Recording, numbers: dict[str, Array], limits: Float[Array, "R M N"]) -> None:
    """Refuse functions of scalars that jump at their limits, or within the errors of these.

    Args:
        recording: The program.
        numbers: The values of its options.
        limits: Those of `moments_before_jumps`, for each input, as independent replicates found them; one if exact.
    """
    sampled = len(limits) > 1
    wide = common_dtype(limits.dtype, jnp.float32)
    numbers = {name: jnp.asarray(value, wide) for name, value in numbers.items()}
    at = jnp.mean(limits.astype(wide), axis=0)
    step = jnp.where(at == 0, 1e-12, 64 * jnp.finfo(limits.dtype).eps * jnp.abs(at))
    if sampled:
        step = jnp.maximum(step, _ERRORS * jnp.std(limits.astype(wide), axis=0, ddof=1) / len(limits) ** 0.5)
    alone = np.eye(len(at))
    together = np.random.default_rng(0).choice((-1.0, 1.0), (_JOINT_MOVES, len(at)))
    directions = jnp.asarray(np.concatenate([alone, -alone, together]), wide)
    changes = np.asarray(_changes(recording, numbers, at, step, directions))
    for number, node in enumerate(_may_jump(recording)):
        largest = np.argsort(changes[number], axis=None)[-_SEGMENTS:]
        if changes[number].ravel()[largest[-1]] <= _JUMP:
            continue
        which, inputs = np.unravel_index(largest, changes[number].shape)
        found = _search(recording, number, numbers, at.T[inputs], directions[which] * step.T[inputs])
        worst = int(jnp.argmax(found.size))
        if found.size[worst] > _JUMP:
            sides = [_values(recording, numbers, point[worst], node.args) for point in (found.below, found.above)]
            raise ValueError(
                f"a function of scalars jumps at its limit{', or too close by' if sampled else ''}, at {node.line} (in"
                f" '{_what_jumps(jax.make_jaxpr(node.fn)(*sides[0]), *sides)}'); expected a function that is continuous"
                f" there{', or more samples' if sampled else ''}: of networks of finite width some lie on either side."
            )


def _may_jump(recording: Recording) -> list[Apply]:
    """The functions of moments that consist of more than what is known to be continuous."""
    return recording.once(_functions_to_look_at, recording)


def _functions_to_look_at(recording: Recording) -> list[Apply]:
    return [
        node
        for node in recording.nodes
        if isinstance(node, Apply)
        and not _is_continuous(node.fn, len(node.args))
        and any(isinstance(part, Moment) for part in reachable([node]))
    ]


def _is_continuous(fn: Callable[..., Any], count: int) -> bool:
    if fn in OPERATORS:
        return True
    return _consists_of_continuous(jax.make_jaxpr(fn)(*(jnp.zeros(()) for _ in range(count))).jaxpr)


def _consists_of_continuous(jaxpr: Any) -> bool:
    return all(
        equation.primitive.name in _CONTINUOUS
        and all(jnp.issubdtype(result.aval.dtype, jnp.floating) for result in equation.outvars)
        and all(map(_consists_of_continuous, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


def _values(
    recording: Recording, numbers: dict[str, Array], point: Float[Array, " M"], wanted: tuple[Node, ...]
) -> list[Array]:
    """The values of scalars where the moments have those of a point."""
    values: dict[Node, Any] = dict(zip(moments_before_jumps(recording), point, strict=True))
    for node in reachable(wanted, up_to=(Moment,)):
        match node:
            case Constant(value=value):
                values[node] = value
            case Option(name=name):
                values[node] = numbers[name]
            case Apply(args=args):
                values[node] = applied(node, [values[arg] for arg in args])
            case Entry(of=of, place=place):
                values[node] = values[of][place]
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
    """How much each function changes along segments that start at the limits: the largest change over a cell."""
    suspects = tuple(_may_jump(recording))

    def along(direction: Float[Array, " M"]) -> Float[Array, "A N"]:
        def of_input(start: Float[Array, " M"], move: Float[Array, " M"]) -> Float[Array, " A"]:
            places = jnp.linspace(0.0, 1.0, _CELLS + 1, dtype=start.dtype)
            found = jax.vmap(lambda t: _values(recording, numbers, start + t * move, suspects))(places)
            return jnp.stack([jnp.max(_relative_change(values[:-1], values[1:])) for values in found])

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
        def cut(cells: tuple[Array, Array], cuts: int) -> tuple[Array, Array, Array]:
            """The changes over the parts of cells, largest first, and where these begin and end."""
            begin, end = cells
            shares = jnp.linspace(0.0, 1.0, cuts + 1, dtype=begin.dtype)
            places = begin[:, None] + (end - begin)[:, None] * shares[None]
            values = jax.vmap(jax.vmap(lambda t: _values(recording, numbers, start + t * move, suspect)[0]))(places)
            change = _relative_change(values[:, :-1], values[:, 1:])
            change, best = lax.top_k(jnp.max(change.reshape(begin.size * cuts, -1), axis=1), _KEPT)
            return change, places[:, :-1].ravel()[best], places[:, 1:].ravel()[best]

        def narrowed(_: Any, cells: tuple[Array, Array]) -> tuple[Array, Array]:
            return cut(cells, _CUTS)[1:]

        whole = jnp.zeros(1, start.dtype), jnp.ones(1, start.dtype)
        cells = lax.fori_loop(0, _ROUNDS, narrowed, cut(whole, _CELLS)[1:])
        change, begin, end = cut(cells, _CUTS)
        # A compiler may round the same sum to either neighbour, so the sides are a few units further apart.
        apart = 4 * jnp.finfo(start.dtype).eps * (jnp.abs(start) + jnp.abs(move)) * jnp.sign(move)
        return change[0], start + begin[0] * move - apart, start + end[0] * move + apart

    return _Jumps(*jax.vmap(of_segment)(starts, moves))


def _what_jumps(program: ClosedJaxpr, below: Sequence[ArrayLike], above: Sequence[ArrayLike]) -> str:
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
            if jnp.max(_relative_change(*(jnp.asarray(value, float) for value in pair))) > _JUMP:
                for inner in jaxprs_in_params(equation.params):
                    if len(inner.invars) == len(equation.invars) and not inner.constvars:
                        return _what_jumps(ClosedJaxpr(inner, []), *sides)
                return equation.primitive.name
    return "it"
