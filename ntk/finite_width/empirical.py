"""The empirical NTK of any function f(params, x): read, planned, and computed tile by tile."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntk.checks import check_choice, check_count, check_representable
from ntk.finite_width.contraction import OutputAxes
from ntk.finite_width.functions import check_function, check_inputs, check_outputs, output_axes, trained_leaves
from ntk.finite_width.layers import family_kernel
from ntk.finite_width.plan import Tile, plan
from ntk.finite_width.reading import Reading, Side, directly, read
from ntk.tiles import kernel_by_tiles

METHODS = ("auto", "layerwise", "jacobian")


def empirical_ntk(
    f: Callable[[Any, Any], jax.Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    trace_axes: tuple[int, ...] = (-1,),
    diagonal_axes: tuple[int, ...] = (),
    method: str = "auto",
    batch_size: int | None = None,
    per_layer: bool = False,
    param_filter: Callable[[str], bool] | None = None,
) -> Any:
    check_choice("method", method, METHODS)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    check_function(f, params)
    x1 = check_inputs("x1", x1)
    x2 = None if x2 is None or x2 is x1 else check_inputs("x2", x2)
    result = _empirical_ntk(
        f, method, tuple(trace_axes), tuple(diagonal_axes), batch_size, per_layer, param_filter, params, x1, x2
    )
    check_representable(ntk=result)
    return result


@functools.partial(jax.jit, static_argnums=range(7))
def _empirical_ntk(f, method, trace_axes, diagonal_axes, batch_size, per_layer, param_filter, params, x1, x2):
    leaves, structure = jax.tree.flatten(params)
    leaves = list(map(jnp.asarray, leaves))
    trained = trained_leaves(params, param_filter)

    def of_one_input(leaves, x):
        return f(jax.tree.unflatten(structure, leaves), jax.tree.map(lambda leaf: leaf[None], x))[0]

    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x1)
    reading = read(of_one_input, leaves, one, trained)
    axes = output_axes(reading.outputs, trace_axes, diagonal_axes)
    num1, num2 = (None if x is None else jax.tree.leaves(x)[0].shape[0] for x in (x1, x2))
    size = batch_size or max(num1, num2 or 0)
    if method == "jacobian":
        reading = directly(reading, reading.linear)
    symmetric = x2 is None and size >= num1
    tile = Tile(min(size, num1), None if symmetric else min(size, num2 or num1), axes)
    reading, families = plan(reading, tile, method)

    def kernels(side1: Side, side2: Side | None) -> jax.Array:
        return sum(family_kernel(family, reading, axes, side1, side2) for family in families) / axes.num_traced

    if size >= num1 and size >= (num2 or 0):
        side1 = reading.side(x1)
        return kernels(side1, None if x2 is None else reading.side(x2))
    return kernel_by_tiles(reading.side, kernels, axes.transposed, x1, x2, size)
