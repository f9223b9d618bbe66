"""Functions of scalars that jump where these have their limits: networks of finite width lie on either side."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jaxtyping import Array, Float

from ntk.programs.graph import Node, reachable
from ntk.programs.program import Recording
from ntk.programs.scalars import OPERATORS, Apply, Constant, Entry, Moment, Option, applied_to_each

_JUMP = 1e-2  # far above what a continuous function changes by over rounding
_ERRORS = 6  # standard errors of a moment within which its limit is taken to lie
_JOINT_MOVES = 8  # of all moments at once
# Primitives of JAX whose values are continuous wherever they are finite.
_CONTINUOUS = """
abs add add_any broadcast_in_dim concatenate convert_element_type copy cos cosh custom_jvp_call custom_vjp_call div
dot_general erf erf_inv erfc exp exp2 expm1 integer_pow jit log log1p logistic max min mul neg pjit pow reduce_max
reduce_min reduce_prod reduce_sum reshape rsqrt sin sinh slice sqrt square squeeze stop_gradient sub tan tanh
transpose
"""


def moments_before_jumps(recording: Recording) -> tuple[Moment, ...]:
    """The moments that functions read which may jump; none where all functions are continuous."""
    nodes = reachable(_may_jump(recording), up_to=(Moment,))
    return tuple(node for node in nodes if isinstance(node, Moment))


def check_jumps(
    recording: Recording, numbers: dict[str, Array], limits: Float[Array, "R M N"], x: Float[Array, "N F"]
) -> None:
    """Refuse functions of scalars that jump at their limits, or within the errors of these.

    Args:
        recording: The program.
        numbers: The values of its options.
        limits: Those of `moments_before_jumps`, for each input, as independent replicates found them; one if exact.
        x: The inputs.
    """
    sampled = len(limits) > 1
    jumps = np.asarray(_jumps(recording, numbers, limits, x))
    for node, jump in zip(_may_jump(recording), jumps, strict=True):
        if jump > _JUMP:
            raise ValueError(
                f"a function of scalars jumps where these have their limits, {'or too close by, ' if sampled else ''}at"
                f" {node.line}; expected one that is continuous there{', or more samples' if sampled else ''}: of"
                " networks of finite width some lie on either side."
            )


def _may_jump(recording: Recording) -> list[Apply]:
    """The functions of moments that consist of more than what is continuous."""
    return [
        node
        for node in recording.nodes
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
def _jumps(
    recording: Recording, numbers: dict[str, Array], limits: Float[Array, "R M N"], x: Float[Array, "N F"]
) -> Float[Array, " A"]:
    """How much the functions change at most when moments move a little, one at a time and together."""
    suspects, moments = _may_jump(recording), moments_before_jumps(recording)
    nodes = reachable(suspects, up_to=(Moment,))
    at = jnp.mean(limits, axis=0)
    step = jnp.where(at == 0, 1e-12, 64 * jnp.finfo(x.dtype).eps * jnp.abs(at))
    if len(limits) > 1:
        step = jnp.maximum(step, _ERRORS * jnp.std(limits, axis=0, ddof=1) / len(limits) ** 0.5)

    def moved(direction: Float[Array, " M"]) -> list[Array]:
        values: dict[Node, Any] = dict(zip(moments, at + direction[:, None] * step, strict=True))
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

    alone = np.eye(len(moments))
    together = np.random.default_rng(0).choice((-1.0, 1.0), (_JOINT_MOVES, len(moments)))
    directions = jnp.asarray(np.concatenate([alone, -alone, together]), x.dtype)
    here, there = moved(jnp.zeros(len(moments), x.dtype)), jax.vmap(moved)(directions)
    changes = (jnp.abs(value - known) / (1.0 + jnp.abs(known)) for value, known in zip(there, here, strict=True))
    return jnp.stack([jnp.max(jnp.nan_to_num(change)) for change in changes])
