"""Functions with a derivative rule of their own that holds everywhere, in loops too.

`jax.custom_jvp` loses its rule inside `lax.scan` and `lax.fori_loop` when a reverse-mode derivative is differentiated
again. A partial evaluation moves values that are constant over the steps out of the loop. It inlines the function and
drops the rule (JAX 0.10.2; JAX 0.12.0.1 keeps it). Derivatives are then those of the plain operations: NaN, or wrong
numbers without a warning. A primitive keeps its rule through every transformation.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike

Arrays = tuple[jax.Array, ...]
Elementwise = Callable[..., jax.Array]
# The tangent of a result, or of each of several, from the primals and their tangents.
Rule = Callable[[Arrays, Arrays], jax.Array]
Rules = Callable[[Arrays, Arrays], Arrays]


def with_rule(fn: Callable[..., Arrays], rule: Rules, *arguments: ArrayLike) -> Arrays:
    """The results of a function of arrays. `rule` is the derivative of the function.

    Args:
        fn: A function that returns a tuple of arrays.
        rule: It maps the primals and their tangents to the tangents of the results. It is linear in the tangents and
            may itself be differentiated.
        *arguments: Floating-point arrays.

    Returns:
        `fn(*arguments)`.

    Example:
        >>> import jax
        >>> from ntk.duals.rules import with_rule
        >>> def tripled(x):
        ...     return with_rule(lambda x: (3.0 * x,), lambda primals, tangents: (3.0 * tangents[0],), x)[0]
        >>> print(jax.grad(tripled)(1.0))
        3.0
    """
    return tuple(_ruled.bind(*map(jnp.asarray, arguments), fn=fn, rule=rule))


def with_derivative(rule: Rule) -> Callable[[Elementwise], Elementwise]:
    """A decorator that gives a derivative rule to an elementwise function of arrays that broadcast.

    Args:
        rule: It maps the primals and their tangents to the tangent of the result. It may itself be differentiated.

    Returns:
        The decorator.

    Example:
        >>> import jax
        >>> from ntk.duals.rules import with_derivative
        >>> @with_derivative(lambda primals, tangents: 3.0 * tangents[0])
        ... def tripled(x):
        ...     return 3.0 * x
        >>> print(jax.grad(tripled)(1.0))
        3.0
    """

    def decorate(fn: Elementwise) -> Elementwise:
        @jax.jit
        def results(*arguments: jax.Array) -> Arrays:
            return (fn(*arguments),)

        def rules(primals: Arrays, tangents: Arrays) -> Arrays:
            shape = jnp.broadcast_shapes(*map(jnp.shape, primals))
            return (jnp.broadcast_to(rule(primals, tangents), shape),)

        @functools.wraps(fn)
        def call(*arguments: jax.Array) -> jax.Array:
            return with_rule(results, rules, *arguments)[0]

        return call

    return decorate


_ruled = Primitive("with_rule")
_ruled.multiple_results = True


def _call(*arguments: Any, fn: Callable[..., Arrays], rule: Rules) -> Arrays:
    return fn(*arguments)


def _shapes(*arguments: jax.core.ShapedArray, fn: Callable[..., Arrays], rule: Rules) -> list[jax.core.ShapedArray]:
    return [jax.core.ShapedArray(result.shape, result.dtype) for result in jax.eval_shape(fn, *arguments)]


def _lower(ctx: Any, *arguments: Any, fn: Callable[..., Arrays], rule: Rules) -> Any:
    return mlir.lower_fun(fn, multiple_results=True)(ctx, *arguments)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], fn: Callable[..., Arrays], rule: Rules
) -> tuple[Arrays, Arrays]:
    values = tuple(map(jnp.asarray, primals))
    results = with_rule(fn, rule, *values)
    moved = rule(values, tuple(ad.instantiate_zeros(tangent) for tangent in tangents))
    return results, tuple(tangent.astype(result.dtype) for result, tangent in zip(results, moved, strict=True))


def _batch(
    arguments: Sequence[Any], axes: Sequence[int | None], fn: Callable[..., Arrays], rule: Rules
) -> tuple[Arrays, list[int]]:
    axes = tuple(axes)
    results = with_rule(jax.vmap(fn, axes), jax.vmap(rule, (axes, axes)), *arguments)
    return results, [0] * len(results)


_ruled.def_impl(_call)
_ruled.def_abstract_eval(_shapes)
mlir.register_lowering(_ruled, _lower)
ad.primitive_jvps[_ruled] = _jvp
batching.primitive_batchers[_ruled] = _batch
