"""The NTK by vector products, one input and one output of the second side at a time.

It takes the least memory and the most time.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from ntk.dtypes import wide
from ntk.finite_width.functions import ModelFunction, Values, batch_of_one, of_trained
from ntk.finite_width.rules.axes import OutputAxes
from ntk.trees import Params


def kernel_by_columns(
    f: ModelFunction,
    params: Params,
    trained: tuple[int, ...],
    axes: OutputAxes,
    x1: PyTree,
    x2: PyTree,
    batch_size: int,
) -> Float[Array, "N1 N2 *kept"]:
    """The kernel from one gradient after the other.

    The gradient of each output at each input of x2 is computed, and then the derivative of f along this gradient at all
    inputs of x1. Memory holds one gradient, one column of the kernel, and the forward pass over `batch_size` inputs of
    x1.
    """
    of_values, values = of_trained(f, params, trained)

    def of_one(values: Values, x: PyTree) -> Float[Array, "*outputs"]:
        return of_values(values, batch_of_one(x))[0]

    def column(x: PyTree) -> Float[Array, " N1 *kept"]:
        """The column of one input of x2, summed over its outputs."""
        outputs, pull_back = jax.vjp(lambda values: of_one(values, x), values)

        def add(total: Float[Array, " N1 *kept"], number: Int[Array, ""]) -> tuple[Float[Array, " N1 *kept"], None]:
            unit = jax.nn.one_hot(number, outputs.size, dtype=outputs.dtype).reshape(outputs.shape)
            gradient = pull_back(unit)

            def along(x: PyTree) -> Float[Array, "*outputs"]:
                return jax.jvp(functools.partial(of_one, x=x), (values,), gradient)[1]

            return total + axes.of_unit(lax.map(along, x1, batch_size=batch_size), unit), None

        start = jnp.zeros((len(jax.tree.leaves(x1)[0]), *axes.kept), wide(outputs.dtype))
        return lax.scan(add, start, jnp.arange(outputs.size))[0]

    return lax.map(column, x1 if x2 is None else x2).swapaxes(0, 1) / axes.num_traced
