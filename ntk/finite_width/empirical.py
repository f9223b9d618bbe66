"""The empirical NTK of any function f(params, x), tile by tile."""

import jax
from jax import lax
from jaxtyping import Array, Float, PyTree

from ntk.caches.lifetimes import compiled
from ntk.finite_width.arguments import checked_arguments
from ntk.finite_width.columns import kernel_by_columns
from ntk.finite_width.functions import ModelFunction, batch_of_one, loops_refused
from ntk.finite_width.task import Options, Task, checked_options, prepared, reading, tile_size
from ntk.tiles import kernel_by_tiles, num_inputs
from ntk.trees import ParamFilter, Params


def empirical_ntk(
    f: ModelFunction,
    params: Params,
    x1: PyTree,
    x2: PyTree = None,
    *,
    trace_axes: tuple[int, ...] = (-1,),
    diagonal_axes: tuple[int, ...] = (),
    method: str = "auto",
    batch_size: int | str | None = None,
    per_layer: bool = False,
    param_filter: ParamFilter | None = None,
    batch_dependent: bool = False,
) -> PyTree[Float[Array, "N1 N2 *kept"]]:
    """The NTK ⟨∇f(ξ), ∇f(ξ̄)⟩ over the parameters of any pure function (Jacot et al. 2018), without their Jacobian.

    The program of f is traced and read. It may use a parameter linearly: in products and einsums of any layout, in
    convolutions, biases and lookups, also inside scan, cond, jit, vmap and remat. The kernel of such a parameter is
    computed from Gram matrices of operands and of δ (theory.md 5.1), or from gradients that are formed part by part,
    whichever takes fewer operations. For every other parameter the Jacobian is formed. The result is exact, and has the
    derivatives that f has. `explain_empirical` prints the rule that each parameter gets.

    Output axes are counted without the batch. f → (N,) has none, and `trace_axes` is ignored. A traced axis is
    averaged: its trace is divided by its size, as in neural-tangents. For f → (N, O):

        trace_axes=(-1,), the default    (N1, N2)          the mean over outputs
        trace_axes=()                    (N1, N2, O, O)    every pair of outputs
        diagonal_axes=(-1,)              (N1, N2, O)       each output with itself (and trace_axes=())

    Gram products are computed at highest precision and at least in float32, and the kernel has their dtype. f keeps
    its own precision.

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x. It may be any pure function: of Flax
            NNX or Linen (`model.apply`), Equinox, Haiku or plain JAX. It is compiled once, as by `jax.jit`. If a value
            that it closes over changes later, the kernel does not change.
        params: A pytree of arrays (`eqx.partition` gives those of an Equinox module). Its floating-point leaves are
            trained, and all others are constants. State that Flax keeps beside the parameters, such as running
            statistics, is constant too. In NNX, state is every variable that is not an `nnx.Param`. In Linen, it is
            every collection beside "params" if f is `model.apply`. If f is another function, it is "batch_stats",
            "cache", "intermediates" and "perturbations". A complex leaf that would be trained is refused.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs. None means `x1`. The kernel is then symmetric, and only one half of it is computed if that
            saves time.
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal; an axis named here is not traced.
        method: "auto" takes the cheapest rule for each parameter. "layerwise" takes Gram matrices for all parameters
            that are used linearly. "jacobian" forms the gradients of all parameters. "vector_products" computes one
            column of the kernel after the other, with the least memory.
        batch_size: How many inputs of each side a tile has. None means all, "auto" means as many as memory allows.
        per_layer: Whether to return the part of every parameter, in a pytree like `params`. The parts sum to the NTK.
        param_filter: Chooses among the trained leaves by path, such as 'params/Dense_0/kernel'. None means all.
        batch_dependent: Whether rows of f may depend on the whole batch (batch normalization in training mode). The
            kernel is then that of all rows of f(params, x1) with all rows of f(params, x2).

    Returns:
        (N1, N2, …). Each output axis follows twice, or once if it is a diagonal, or not at all if it is traced. With
        `per_layer` a pytree of such arrays, with None for each leaf that is not trained.

    Raises:
        TypeError: f is not a function, params has a complex leaf to be trained, or f does not return a floating-point
            array.
        ValueError: f fails for params or x1; an axis, the method, the batch size or a shape is not as above; no
            parameter is chosen, options exclude each other, a row of f depends on other rows of x, or the result is
            too large for its dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> def f(params, x):
        ...     return x @ params["w"] + params["b"]
        >>> params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> print(ntk.empirical_ntk(f, params, x))  # x·x̄ + 1 for each of three outputs, averaged
        [[6. 3.]
         [3. 2.]]
        >>> print(ntk.empirical_ntk(f, params, x, per_layer=True)["b"])
        [[1. 1.]
         [1. 1.]]
        >>> ntk.empirical_ntk(f, params, x, trace_axes=()).shape
        (2, 2, 3, 3)
    """
    arguments = checked_arguments(f, params, x1, x2, param_filter=param_filter, batch_dependent=batch_dependent)
    options = checked_options(
        arguments,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        method=method,
        batch_size=batch_size,
        per_layer=per_layer,
        batch_dependent=batch_dependent,
    )
    result = _compute(f, options, *arguments.arrays)
    arguments.check_result("ntk", result)
    return result


def ntk_diagonal(
    f: ModelFunction,
    params: Params,
    x: PyTree,
    *,
    trace_axes: tuple[int, ...] = (-1,),
    diagonal_axes: tuple[int, ...] = (),
    batch_size: int | str | None = None,
    param_filter: ParamFilter | None = None,
) -> Float[Array, " N *kept"]:
    """The diagonal of `empirical_ntk`: ‖∇f(ξ)‖² of every input, without the kernel between different inputs.

    Args:
        f: f(params, x) → (N, …outputs), as `empirical_ntk` takes it.
        params: A pytree of arrays.
        x: Inputs (N, …).
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal.
        batch_size: How many inputs are taken at once. None means all, "auto" means as many as memory allows.
        param_filter: Chooses the trained leaves by path. None means all.

    Returns:
        (N, …) with the output axes of `empirical_ntk`.

    Raises:
        TypeError: f is not a function, params has a complex leaf to be trained, or f does not return a floating-point
            array.
        ValueError: An axis, the batch size or a shape is not as above, no parameter is chosen, a row of f depends on
            other rows of x, or the result is too large for its dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> print(ntk.ntk_diagonal(lambda params, x: x @ params, jnp.ones(2), x))
        [5. 1.]
    """
    arguments = checked_arguments(f, params, x, None, param_filter=param_filter, names=("x", "x"))
    options = checked_options(arguments, trace_axes=trace_axes, diagonal_axes=diagonal_axes, batch_size=batch_size)
    result = _diagonal(f, options, params, arguments.x1)
    arguments.check_result("ntk", result)
    return result


@compiled(static=1)
@loops_refused()
def _compute(f: ModelFunction, options: Options, params: Params, x1: PyTree, x2: PyTree) -> PyTree:
    if options.method == "vector_products":
        size = tile_size(options, reading(f, options, params, x1), x1, x1)
        return kernel_by_columns(f, params, options.trained, options.axes, x1, x2, size)
    task = prepared(f, options, params, x1, x2)
    result = _tiled(task, options, x1, x2)
    return jax.tree.unflatten(jax.tree.structure(params), result) if options.per_layer else result


def _tiled(task: Task, options: Options, x1: PyTree, x2: PyTree) -> PyTree:
    """The kernel, or a list of the kernels of all leaves."""
    kernel = task.kernels_of_leaves if options.per_layer else task.kernel
    if options.batch_dependent:  # the whole batch is one input, and its rows are an axis of the outputs
        side2 = None if x2 is None else task.reading2.side(batch_of_one(x2))
        return jax.tree.map(lambda rows: rows[0, 0], kernel(task.reading1.side(batch_of_one(x1)), side2))
    sides = task.reading1.side, task.reading2.side
    largest = max(num_inputs(x1), 0 if x2 is None else num_inputs(x2))
    if task.batch_size < largest:
        return kernel_by_tiles(sides, kernel, task.axes.transposed, x1, x2, task.batch_size)
    side1, side2 = sides[0](x1), None if x2 is None else sides[1](x2)
    if largest <= task.axes.tile_size:
        return kernel(side1, side2)
    # Every part has products of the size of the kernel. Tiles keep them small: one tile is in memory at a time.
    size = -(-largest // -(-largest // task.axes.tile_size))
    return kernel_by_tiles((lambda side: side, lambda side: side), kernel, task.axes.transposed, side1, side2, size)


@compiled(static=1)
@loops_refused()
def _diagonal(f: ModelFunction, options: Options, params: Params, x: PyTree) -> Float[Array, " N *kept"]:
    task = prepared(f, options._replace(batch_size=1), params, x, None)
    size = tile_size(options, task.reading1, x, x)

    def entry(x: PyTree) -> Float[Array, "*kept"]:
        return task.kernel(task.reading1.side(batch_of_one(x)), None)[0, 0]

    return lax.map(entry, x, batch_size=size)
