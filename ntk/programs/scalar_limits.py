"""The limits of scalars looked at, to refuse what is not continuous or finite there."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jaxtyping import Array, Float

from ntk.checks import check_representable, is_concrete
from ntk.programs.demand import Demand
from ntk.programs.evaluation import sampled_moments
from ntk.programs.finite import applied_to_each
from ntk.programs.forms import Forms
from ntk.programs.graph import Node, reachable
from ntk.programs.moments import OwnInputs
from ntk.programs.points import Points, points_for
from ntk.programs.scalars import OPERATORS, Apply, Constant, Entry, Moment, Option, Scalar

_SAMPLES, _INPUTS = 2**10, 16  # to look at scalars that are sampled, not to measure them
_JUMP = 1e-2  # far above what a continuous function changes by over the steps below
# Primitives of JAX whose values are continuous wherever they are finite.
_CONTINUOUS = """
abs add add_any broadcast_in_dim concatenate convert_element_type copy cos cosh custom_jvp_call custom_vjp_call div
dot_general erf erf_inv erfc exp exp2 expm1 integer_pow jit log log1p logistic max min mul neg pjit pow reduce_max
reduce_min reduce_prod reduce_sum reshape rsqrt sin sinh slice sqrt square squeeze stop_gradient sub tan tanh
transpose
"""


def check_scalars(forms: Forms, numbers: dict[str, Array], x1: Array, x2: Array | None) -> None:
    """Refuse functions of scalars that jump where these have their limits: finite networks lie on both sides."""
    suspects = _may_jump(forms)
    if not suspects or not is_concrete(numbers, x1, x2):
        return
    for x in (x1, x2):
        if x is not None:
            points, some = _points(forms, x)
            jumps = np.asarray(_jumps(forms, points, numbers, some))
            for node, jump in zip(suspects, jumps, strict=True):
                if jump > _JUMP:
                    raise ValueError(
                        f"a function of scalars jumps where these have their limits, at {node.line}; expected one that"
                        " is continuous there: of networks of finite width some lie on either side."
                    )


def check_results(forms: Forms, numbers: dict[str, Array], x1: Array, x2: Array | None, **results: Array) -> None:
    """Refuse concrete results that are not finite, and name the scalar that is to blame where one is."""
    if not is_concrete(results):
        return
    if is_concrete(numbers, x1, x2) and any(np.isnan(np.asarray(result, float)).any() for result in results.values()):
        for x in (x1, x2):
            for node, value in [] if x is None else zip(_scalars(forms), _limits(forms, x, numbers), strict=True):
                if not np.all(np.isfinite(value)):
                    raise ValueError(
                        f"the scalar at {node.line} is {value[~np.isfinite(value)][0]}; expected a number."
                    )
        if not forms.is_exact:
            raise ValueError(
                "the average over samples is not a number; expected functions that are finite at every coordinate."
            )
    check_representable(**results)


def _scalars(forms: Forms) -> list[Scalar]:
    """What scalars there are besides constants and options."""
    return [node for node in forms.recording.nodes if isinstance(node, Moment | Apply | Entry)]


def _limits(forms: Forms, x: Array, numbers: dict[str, Array]) -> list[np.ndarray]:
    points, x = _points(forms, x)
    return [np.asarray(value) for value in _limits_of(forms, tuple(_scalars(forms)), points, numbers, x)]


def _points(forms: Forms, x: Array) -> tuple[Points | None, Array]:
    """Points, if any are needed, and as many of the inputs as can be sampled together."""
    if forms.is_exact:
        return None, x
    x = x if forms.couples_inputs else x[:_INPUTS]
    return points_for(_SAMPLES, max(1, len(x) * len(forms.drawn)), seed=0), x


@functools.partial(jax.jit, static_argnums=(0, 1))
def _limits_of(
    forms: Forms, scalars: tuple[Scalar, ...], points: Points | None, numbers: dict[str, Array], x: Array
) -> list[Array]:
    """The limits of scalars, for each input where they depend on it."""
    if points is None:
        own = OwnInputs(forms, x, numbers)
    else:
        own = sampled_moments(forms, (len(x),), points.directions, points.keys[0], numbers, x).own[0]
    return [jnp.asarray(value, x.dtype) for value in Demand()(*((own.scalar, scalar) for scalar in scalars))]


def _may_jump(forms: Forms) -> list[Apply]:
    """The functions of moments that consist of more than what is continuous."""
    return [
        node
        for node in forms.recording.nodes
        if isinstance(node, Apply)
        and not _is_continuous(node.fn, len(node.args))
        and any(isinstance(part, Moment) for part in reachable([node]))
    ]


@functools.cache
def _is_continuous(fn: Callable[..., Any], count: int) -> bool:
    if fn in OPERATORS:
        return True
    return _consists_of_continuous(jax.make_jaxpr(fn)(*(jnp.zeros(()) for _ in range(count))).jaxpr)


def _consists_of_continuous(jaxpr: Any) -> bool:
    return all(
        equation.primitive.name in _CONTINUOUS.split()
        and jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating)
        and all(map(_consists_of_continuous, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


@functools.partial(jax.jit, static_argnums=0)
def _jumps(forms: Forms, points: Points | None, numbers: dict[str, Array], x: Array) -> Float[Array, " A"]:
    """How much the functions that may jump change when one moment does, by a little to either side."""
    suspects = _may_jump(forms)
    nodes = reachable(suspects, up_to=(Moment,))
    moments = tuple(node for node in nodes if isinstance(node, Moment))
    at = jnp.stack(_limits_of(forms, moments, points, numbers, x))
    step = jnp.where(at == 0, 1e-12, 64 * jnp.finfo(x.dtype).eps * jnp.abs(at))

    def changed(number: Array, sign: float) -> list[Array]:
        moved = at.at[number].add(sign * step[number])
        values: dict[Node, Any] = dict(zip(moments, moved, strict=True))
        for node in nodes:
            match node:
                case Constant(value=value):
                    values[node] = value
                case Option(name=name):
                    values[node] = numbers[name]
                case Apply(args=args):
                    values[node] = applied_to_each(node, [values[arg] for arg in args], x)
                case Entry(of=of, place=place):
                    values[node] = values[of][..., place]
        return [values[node] for node in suspects]

    numbers_of_moments = jnp.arange(len(moments))
    up, down = (jax.vmap(lambda number, sign=sign: changed(number, sign))(numbers_of_moments) for sign in (1.0, -1.0))
    jumps = (jnp.abs(above - below) / (1.0 + jnp.abs(above)) for above, below in zip(up, down, strict=True))
    return jnp.stack([jnp.max(jnp.nan_to_num(jump)) for jump in jumps])
