"""Elementwise functions with a derivative rule of their own that holds everywhere, in loops too.

`jax.custom_jvp` loses its rule inside `lax.scan` and `lax.fori_loop` as soon as a derivative is taken of a reverse
one: what does not change from step to step is moved out of the loop by a partial evaluation that inlines the function
and forgets the rule (JAX 0.10.2; JAX 0.12.0.1 keeps it). Hessians are then those of the plain operations, NaN or wrong
without a word. A primitive keeps its rule through every transformation.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Elementwise = Callable[..., jax.Array]
Tangents = tuple[jax.Array, ...]
Rule = Callable[[Tangents, Tangents], jax.Array]


def with_derivative(rule: Rule) -> Callable[[Elementwise], Elementwise]:
    """A decorator that gives a derivative rule to an elementwise function of arrays that broadcast.

    Args:
        rule: Maps the primals and their tangents to the tangent of the result. It is itself differentiable.

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
        primitive = Primitive(fn.__name__)
        primitive.def_impl(jax.jit(fn))
        primitive.def_abstract_eval(functools.partial(_result, fn))
        mlir.register_lowering(primitive, mlir.lower_fun(fn, multiple_results=False))

        def jvp(primals: Sequence, tangents: Sequence) -> tuple[jax.Array, jax.Array]:
            tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
            shape = jnp.broadcast_shapes(*map(jnp.shape, primals))
            value = primitive.bind(*primals)
            return value, jnp.broadcast_to(rule(tuple(primals), tuple(tangents)), shape).astype(value.dtype)

        def batch(arguments: Sequence[jax.Array], axes: Sequence[int | None]) -> tuple[jax.Array, int]:
            ranks = [jnp.ndim(x) - (axis is not None) for x, axis in zip(arguments, axes, strict=True)]
            rows = [_rows(x, axis, max(ranks)) for x, axis in zip(arguments, axes, strict=True)]
            return primitive.bind(*rows), 0

        ad.primitive_jvps[primitive] = jvp
        batching.primitive_batchers[primitive] = batch

        @functools.wraps(fn)
        def call(*arguments: jax.Array) -> jax.Array:
            return primitive.bind(*map(jnp.asarray, arguments))

        return call

    return decorate


def _result(fn: Elementwise, *arguments: jax.core.ShapedArray) -> jax.core.ShapedArray:
    result = jax.eval_shape(fn, *arguments)
    return jax.core.ShapedArray(result.shape, result.dtype)


def _rows(x: jax.Array, axis: int | None, rank: int) -> jax.Array:
    """The batch first and `rank` axes after it; an axis of one stands for a batch that is not there."""
    if axis is None:
        return jnp.expand_dims(x, range(rank + 1 - jnp.ndim(x)))
    x = jnp.moveaxis(x, axis, 0)
    return x.reshape(x.shape[0], *(1,) * (rank + 1 - x.ndim), *x.shape[1:])
