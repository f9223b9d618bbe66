"""The empirical NTK of any function f(params, x): its program read, a rule chosen for every parameter, tile by tile."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ntk.caches.lifetimes import compiled
from ntk.checks import check_choice, check_count, check_flag, shown
from ntk.finite_width.arguments import check_kernels, check_outputs, checked_batch, checked_inputs, checked_trained
from ntk.finite_width.functions import ModelFunction, batch_of_one, check_axes, num_inputs, output_axes
from ntk.finite_width.rules.columns import kernel_by_columns
from ntk.finite_width.rules.contraction import OutputAxes, of_one_dtype, wide
from ntk.finite_width.rules.families import family_kernel
from ntk.finite_width.rules.memory import largest_batch
from ntk.finite_width.rules.plan import Family, Tile, plan
from ntk.finite_width.rules.reading import Reading, Side, directly, in_common, read
from ntk.finite_width.trained import ParamFilter
from ntk.tiles import kernel_by_tiles

METHODS = ("auto", "layerwise", "jacobian", "vector_products")


class Options(NamedTuple):
    """What a kernel is to be, known at compile time."""

    trace_axes: tuple[int, ...]
    diagonal_axes: tuple[int, ...]
    method: str
    batch_size: int | str | None
    per_layer: bool
    trained: tuple[int, ...]
    batch_dependent: bool


class Task(NamedTuple):
    """A kernel that is ready to be computed.

    Attributes:
        reading1: The function, read at inputs of the first side.
        reading2: Likewise of the second side, whose inputs may be of another shape.
        axes: Its outputs.
        families: Its parameters, with their rules.
        batch_size: Inputs to a tile of either side.
    """

    reading1: Reading
    reading2: Reading
    axes: OutputAxes
    families: list[Family]
    batch_size: int

    def kernel(self, side1: Side, side2: Side | None) -> jax.Array:
        """Of two tiles of inputs, (N1, N2, *kept)."""
        return self._mean([self._part(family, side1, side2) for family in self.families], side1, side2)

    def kernels_of_leaves(self, side1: Side, side2: Side | None) -> list[jax.Array | None]:
        """The same for every leaf of the parameters alone; None for those that are not trained."""
        parts: dict[int, list[jax.Array]] = {leaf: [] for leaf in self.reading1.linear | self.reading1.direct}
        for family in self.families:
            for member in family.members:
                parts[member[0]].append(self._part(family._replace(members=(member,)), side1, side2))
        means = {leaf: self._mean(part, side1, side2) for leaf, part in parts.items()}
        return [means.get(leaf) for leaf in range(len(self.reading1.leaves))]

    def _part(self, family: Family, side1: Side, side2: Side | None) -> jax.Array:
        other = None if side2 is None else (self.reading2, side2)
        return family_kernel(family, self.axes, (self.reading1, side1), other)

    def _mean(self, parts: list[jax.Array], side1: Side, side2: Side | None) -> jax.Array:
        """The sum of all parts, of none where no parameter is used, divided by what is traced."""
        dtype = wide(self.reading1.output.dtype)
        if not parts:
            return jnp.zeros((len(side1.outputs), len((side2 or side1).outputs), *self.axes.kept), dtype)
        return (functools.reduce(jnp.add, of_one_dtype(*parts)) / self.axes.num_traced).astype(dtype)


def empirical_ntk(
    f: ModelFunction,
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    trace_axes: tuple[int, ...] = (-1,),
    diagonal_axes: tuple[int, ...] = (),
    method: str = "auto",
    batch_size: int | str | None = None,
    per_layer: bool = False,
    param_filter: ParamFilter | None = None,
    batch_dependent: bool = False,
) -> Any:
    """The NTK ⟨∇f(ξ), ∇f(ξ̄)⟩ over the parameters of any pure function (Jacot et al. 2018), without their Jacobian.

    The program of f is traced and read. Where it uses a parameter linearly (products and einsums in any layout,
    convolutions, biases, lookups; inside scan, cond, jit, vmap and remat too) the kernel is made of Gram matrices of
    operands and of δ (theory.md 5.1), or of gradients formed part by part, whichever takes fewer operations. Every
    other parameter falls back to its Jacobian. All of it is exact, with the derivatives that f itself has;
    `explain_empirical` prints what is done for each parameter.

    Output axes are counted without the batch; for f → (N,) there is none and `trace_axes` is ignored. A traced axis is
    averaged: its trace is divided by its size, as in neural-tangents. For f → (N, O):

        trace_axes=(-1,), the default    (N1, N2)          the mean over outputs
        trace_axes=()                    (N1, N2, O, O)    every pair of outputs
        diagonal_axes=(-1,)              (N1, N2, O)       each output with itself (and trace_axes=())

    Gram products are computed at highest precision and at least in float32, which the kernel then has; f keeps its own
    precision.

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x. Anything pure: Flax NNX and Linen
            (`model.apply`), Equinox, Haiku, plain JAX. It is compiled once, as by `jax.jit`: what it closes over is
            what it was then.
        params: A pytree of arrays (`eqx.partition` gives those of an Equinox module). Its floating-point leaves are
            trained; all others are constants, traced like these. What Flax keeps beside the parameters is constant
            too, such as running statistics: NNX variables that are no `nnx.Param`, Linen's collections beside "params"
            (any if f is `model.apply`; in another function "batch_stats", "cache", "intermediates" and
            "perturbations"). Complex leaves are refused where they would be trained.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs; None means `x1`, of which only one half is computed where that pays.
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal; an axis named here is not traced.
        method: "auto"; "layerwise", Gram matrices wherever a parameter is used linearly, whatever they cost;
            "jacobian", the gradients of all parameters; "vector_products", one column of the kernel after the other,
            for the least memory.
        batch_size: Inputs of each side to a tile, None for all at once, "auto" for as many as memory allows.
        per_layer: Return the part of every parameter, in a pytree like `params`; they add up to the NTK.
        param_filter: Chooses among the trained leaves by path, such as 'params/Dense_0/kernel'; None for all.
        batch_dependent: Allow rows of f that depend on the whole batch (batch normalization in training mode). The
            kernel is then that of all rows of f(params, x1) with all rows of f(params, x2), each batch taken whole.

    Returns:
        (N1, N2, …): then each output axis twice, once if it is a diagonal, not at all if traced. With `per_layer` a
        pytree of such arrays, None for what is not trained.

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
    trained = checked_trained(f, params, param_filter)
    options = checked_options(trace_axes, diagonal_axes, method, batch_size, per_layer, trained, batch_dependent)
    x1, x2 = checked_inputs(f, params, x1, x2, batch_dependent=batch_dependent)
    result = _compute(f, options, params, x1, x2)
    check_kernels("ntk", result, params, x1=x1, x2=x2)
    return result


def ntk_diagonal(
    f: ModelFunction,
    params: Any,
    x: Any,
    *,
    trace_axes: tuple[int, ...] = (-1,),
    diagonal_axes: tuple[int, ...] = (),
    batch_size: int | str | None = None,
    param_filter: ParamFilter | None = None,
) -> jax.Array:
    """The diagonal of `empirical_ntk`, ‖∇f(ξ)‖² of every input with itself, at the cost of one tile's width.

    Args:
        f: As for `empirical_ntk`.
        params: A pytree.
        x: Inputs (N, …).
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal.
        batch_size: Inputs at once; None for all, "auto" for as many as memory allows.
        param_filter: Chooses the trained leaves by path; None for all.

    Returns:
        (N, …) with the output axes of `empirical_ntk`.

    Raises:
        TypeError: As for `empirical_ntk`.
        ValueError: As for `empirical_ntk`.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> print(ntk.ntk_diagonal(lambda params, x: x @ params, jnp.ones(2), x))
        [5. 1.]
    """
    trained = checked_trained(f, params, param_filter)
    options = checked_options(trace_axes, diagonal_axes, "auto", batch_size, False, trained, False)
    x = checked_batch("x", f, params, x)
    result = _diagonal(f, options, params, x)
    check_kernels("ntk", result, params, x=x)
    return result


def checked_options(
    trace_axes: Any,
    diagonal_axes: Any,
    method: Any,
    batch_size: Any,
    per_layer: Any,
    trained: tuple[int, ...],
    batch_dependent: Any,
) -> Options:
    """The options of a kernel, refused where they are none or exclude each other."""
    check_choice("method", method, METHODS)
    if isinstance(batch_size, str):
        check_choice("batch_size", batch_size, ("auto",))
    elif batch_size is not None:
        check_count("batch_size", batch_size)
    check_flag("per_layer", per_layer)
    check_flag("batch_dependent", batch_dependent)
    if batch_dependent and batch_size is not None:
        raise ValueError(
            f"batch_size is {shown(batch_size)} with batch_dependent=True; expected None, a batch has no tiles."
        )
    if method == "vector_products" and (per_layer or batch_dependent):
        raise ValueError("method is 'vector_products' with per_layer or batch_dependent; expected another method.")
    axes = check_axes("trace_axes", trace_axes), check_axes("diagonal_axes", diagonal_axes)
    return Options(*axes, method, batch_size, bool(per_layer), trained, bool(batch_dependent))


@compiled(static=1)
def _compute(f: ModelFunction, options: Options, params: Any, x1: Any, x2: Any) -> Any:
    if options.method == "vector_products":
        axes = _axes(f, options, params, x1)
        size = _tile_size(options, _reading(f, options, params, x1), axes, x1, x1)
        return kernel_by_columns(f, params, options.trained, axes, x1, x2, size)
    task = prepared(f, options, params, x1, x2)
    result = _tiled(task, options, x1, x2)
    return jax.tree.unflatten(jax.tree.structure(params), result) if options.per_layer else result


def _tiled(task: Task, options: Options, x1: Any, x2: Any) -> Any:
    """The kernel, or those of all leaves."""
    kernel = task.kernels_of_leaves if options.per_layer else task.kernel
    if options.batch_dependent:  # all inputs are one, whose outputs have rows
        side2 = None if x2 is None else task.reading2.side(batch_of_one(x2))
        return jax.tree.map(lambda rows: rows[0, 0], kernel(task.reading1.side(batch_of_one(x1)), side2))
    sides = task.reading1.side, task.reading2.side
    largest = max(num_inputs(x1), 0 if x2 is None else num_inputs(x2))
    if task.batch_size < largest:
        return kernel_by_tiles(sides, kernel, task.axes.transposed, x1, x2, task.batch_size)
    side1, side2 = sides[0](x1), None if x2 is None else sides[1](x2)
    if largest <= task.axes.tile_size:
        return kernel(side1, side2)
    # Every part has products of the size of the kernel: formed by tiles, of which only one is there at a time.
    size = -(-largest // -(-largest // task.axes.tile_size))
    return kernel_by_tiles((lambda side: side, lambda side: side), kernel, task.axes.transposed, side1, side2, size)


@compiled(static=1)
def _diagonal(f: ModelFunction, options: Options, params: Any, x: Any) -> jax.Array:
    task = prepared(f, options._replace(batch_size=1), params, x, None)
    size = _tile_size(options, task.reading1, task.axes, x, x)

    def entry(x: Any) -> jax.Array:
        return task.kernel(task.reading1.side(batch_of_one(x)), None)[0, 0]

    return lax.map(entry, x, batch_size=size)


def prepared(f: ModelFunction, options: Options, params: Any, x1: Any, x2: Any) -> Task:
    """Read f and choose the rules; under a trace, or abstractly."""
    axes = _axes(f, options, params, x1)
    reading1 = reading2 = _reading(f, options, params, x1)
    if x2 is not None and _one_input(x2, options) != _one_input(x1, options):
        reading1, reading2 = in_common(reading1, _reading(f, options, params, x2))
    if options.method == "jacobian":
        reading1, reading2 = directly(reading1, reading1.linear), directly(reading2, reading2.linear)
    if options.batch_dependent:
        size, tile = 1, Tile(1, None if x2 is None else 1, axes)
    else:
        size = _tile_size(options, reading1, axes, x1, x1 if x2 is None else x2)
        symmetric = x2 is None and size >= num_inputs(x1)
        num2 = num_inputs(x1 if x2 is None else x2)
        tile = Tile(min(size, num_inputs(x1)), None if symmetric else min(size, num2), axes)
    reading1, families = plan(reading1, tile, options.method)
    return Task(reading1, directly(reading2, reading1.direct), axes, families, size)


def _reading(f: ModelFunction, options: Options, params: Any, x: Any) -> Reading:
    """f, read at one input; with `batch_dependent` at a batch, which is one then."""
    leaves, structure = jax.tree.flatten(params)

    def of_leaves(leaves: Any, x: Any) -> jax.Array:
        params = jax.tree.unflatten(structure, leaves)
        return f(params, x) if options.batch_dependent else f(params, batch_of_one(x))[0]

    return read(of_leaves, [jnp.asarray(leaf) for leaf in leaves], _one_input(x, options), options.trained)


def _one_input(x: Any, options: Options) -> Any:
    skip = 0 if options.batch_dependent else 1
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[skip:], leaf.dtype), x)


def _tile_size(options: Options, reading: Reading, axes: OutputAxes, x1: Any, x2: Any) -> int:
    """Inputs of either side to a tile."""
    num1, num2 = num_inputs(x1), num_inputs(x2)
    if isinstance(options.batch_size, str):
        return min(largest_batch(reading, num1, num2), axes.tile_size)
    return min(max(num1, num2), options.batch_size or max(num1, num2))


def _axes(f: ModelFunction, options: Options, params: Any, x1: Any) -> OutputAxes:
    """The outputs of one input, or with `batch_dependent` those of a batch, whose rows are all kept."""
    axes = output_axes(check_outputs(f, params, x1), options.trace_axes, options.diagonal_axes)
    return axes.with_rows(num_inputs(x1)) if options.batch_dependent else axes
