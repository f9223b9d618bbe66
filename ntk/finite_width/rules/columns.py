"""The NTK by vector products, one input of the second side after the other: the least memory, and the most time."""

import functools
from typing import Any

import jax
from jax import lax

from ntk.finite_width.functions import (
    ModelFunction,
    ParamFilter,
    Values,
    batch_of_one,
    loops_refused,
    of_trained,
)
from ntk.finite_width.rules.contraction import OutputAxes


def kernel_by_columns(
    f: ModelFunction,
    params: Any,
    param_filter: ParamFilter | None,
    axes: OutputAxes,
    x1: Any,
    x2: Any,
    batch_size: int,
) -> jax.Array:
    """(N1, N2, *kept): for every input of x2 and output, the gradient, and f's derivative along it at all of x1.

    Memory: a gradient an output, and the forward pass over `batch_size` inputs of x1.
    """
    of_values, values = of_trained(f, params, param_filter)

    def of_one(values: Values, x: Any) -> jax.Array:
        return of_values(values, batch_of_one(x))[0]

    def column(x: Any) -> jax.Array:
        with loops_refused():
            gradients = jax.jacrev(lambda values: of_one(values, x).reshape(-1))(values)

        def products(x: Any) -> jax.Array:
            """Of one input of x1 with all gradients: (outputs of x2's input, *outputs)."""
            along = functools.partial(jax.jvp, functools.partial(of_one, x=x), (values,))
            return jax.vmap(lambda gradient: along((gradient,))[1])(gradients)

        return lax.map(products, x1, batch_size=batch_size)

    full = lax.map(column, x1 if x2 is None else x2)
    full = full.reshape(*full.shape[:2], *axes.shape, *axes.shape)
    return axes.selected(full.swapaxes(0, 1)) / axes.num_traced
