"""The NTK by vector products, one input of the second side after the other: the least memory, and the most time."""

from typing import Any

import jax
from jax import lax

from ntk.finite_width.functions import ModelFunction, ParamFilter, batch_of_one, num_inputs, of_trained
from ntk.finite_width.rules.contraction import OutputAxes


def kernel_by_columns(
    f: ModelFunction,
    params: Any,
    param_filter: ParamFilter | None,
    axes: OutputAxes,
    x1: Any,
    x2: Any,
    batch_size: int | None,
) -> jax.Array:
    """(N1, N2, *kept): for every input of x2 and output, the gradient, and f's derivative along it at all of x1.

    Memory: a gradient an output, and the forward pass over `batch_size` inputs of x1 (None: all).
    """
    of_values, values = of_trained(f, params, param_filter)

    def column(x: Any) -> jax.Array:
        gradients = jax.jacrev(lambda values: of_values(values, batch_of_one(x))[0].reshape(-1))(values)

        def products(x: Any) -> jax.Array:
            """Of one input of x1 with all gradients: (outputs of x2's input, *outputs)."""
            function = lambda values: of_values(values, batch_of_one(x))[0]  # noqa: E731
            return jax.vmap(lambda gradient: jax.jvp(function, (values,), (gradient,))[1])(gradients)

        return lax.map(products, x1, batch_size=batch_size or num_inputs(x1))

    full = lax.map(column, x1 if x2 is None else x2)
    full = full.reshape(*full.shape[:2], *axes.shape, *axes.shape)
    return axes.selected(full.swapaxes(0, 1)) / axes.num_traced
