"""The NTK by vector products, one input and output of the second side at a time: least memory, most time."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntk.finite_width.functions import ModelFunction, Values, batch_of_one, loops_refused, of_trained
from ntk.finite_width.rules.contraction import OutputAxes, wide


def kernel_by_columns(
    f: ModelFunction, params: Any, trained: tuple[int, ...], axes: OutputAxes, x1: Any, x2: Any, batch_size: int
) -> jax.Array:
    """(N1, N2, *kept): for every input of x2 and output, the gradient, and f's derivative along it at all of x1.

    Memory: one gradient, a column of the kernel, and the forward pass over `batch_size` inputs of x1.
    """
    of_values, values = of_trained(f, params, trained)

    def of_one(values: Values, x: Any) -> jax.Array:
        return of_values(values, batch_of_one(x))[0]

    def column(x: Any) -> jax.Array:
        """(N1, *kept), summed over the outputs of x."""
        outputs, pull_back = jax.vjp(lambda values: of_one(values, x), values)

        def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
            unit = jax.nn.one_hot(number, outputs.size, dtype=outputs.dtype).reshape(outputs.shape)
            with loops_refused():
                gradient = pull_back(unit)

            def along(x: Any) -> jax.Array:
                return jax.jvp(functools.partial(of_one, x=x), (values,), gradient)[1]

            return total + axes.of_unit(lax.map(along, x1, batch_size=batch_size), unit), None

        start = jnp.zeros((len(jax.tree.leaves(x1)[0]), *axes.kept), wide(outputs.dtype))
        return lax.scan(add, start, jnp.arange(outputs.size))[0]

    return lax.map(column, x1 if x2 is None else x2).swapaxes(0, 1) / axes.num_traced
