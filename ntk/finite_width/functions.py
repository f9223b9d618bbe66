"""What is asked of a function f(params, x), its parameters, inputs and outputs before any kernel of it is computed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.checks import check_results, is_concrete
from ntk.finite_width.rules.contraction import OutputAxes

ModelFunction = Callable[[Any, Any], jax.Array]
ParamFilter = Callable[[str], bool]
Values = list[jax.Array]  # the trained leaves of the parameters, in their order


def check_function(f: Any, params: Any) -> None:
    """Refuse what is no function with a hash, and parameters that hold complex or no floating-point leaves."""
    if not callable(f):
        raise TypeError(f"f is {f!r}; expected a function f(params, x).")
    try:
        hash(f)
    except TypeError:
        message = f"f is {f!r}, which has no hash; expected a function or a method, to compile it once."
        raise TypeError(message) from None
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    if any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes):
        raise TypeError("params has complex leaves; expected real ones, such as real and imaginary parts.")
    if not any(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(f"params is {params!r}; expected a pytree with at least one floating-point leaf.")


def check_inputs(name: str, x: Any) -> Any:
    """A pytree of arrays with one leading axis of inputs in common."""
    try:
        x = jax.tree.map(jnp.asarray, x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}; expected an array or a pytree of arrays.") from None
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} has shapes {shapes}; expected arrays with one leading axis of inputs in common.")
    return x


def check_outputs(f: ModelFunction, params: Any, x: Any) -> tuple[int, ...]:
    """The shape of one input's output; refused where f does not return one floating-point row for each input."""
    whole = jax.eval_shape(f, params, x)
    if not isinstance(whole, jax.ShapeDtypeStruct) or whole.shape[:1] != (num_inputs(x),):
        raise ValueError(
            f"f returns {whole} for {num_inputs(x)} inputs; expected one array with a row for each of them."
        )
    if not jnp.issubdtype(whole.dtype, jnp.floating):
        raise TypeError(f"f(params, x) has dtype {whole.dtype}; expected a real floating-point array.")
    return whole.shape[1:]


def check_inputs_apart(f: ModelFunction, params: Any, x: Any) -> None:
    """Refuse an f whose rows depend on each other, seen by evaluating a few of them together and alone.

    Looked at once for every f and shape, with concrete values.
    """
    if not is_concrete(params, x):
        return
    shapes = tuple((jnp.shape(leaf), str(jnp.result_type(leaf))) for leaf in jax.tree.leaves((params, x)))
    seen = _seen(f, shapes)
    if seen:
        return
    check_outputs(f, params, x)
    rows = np.unique(np.linspace(0, num_inputs(x) - 1, 8).astype(int))
    few = jax.tree.map(lambda leaf: leaf[rows], x)
    with jax.ensure_compile_time_eval():
        together, alone = jax.device_get(_together_and_alone(f, params, few))
    if not np.all(np.isfinite(together)):
        return  # the result will not be finite either, and is refused for it
    # Low-precision products differ by a few per cent between batch sizes; a mean over the batch by far more.
    spread = np.max(np.abs(together - together.mean(0)))
    rounding = 64 * float(jnp.finfo(together.dtype).eps) * np.max(np.abs(together))
    if np.max(np.abs(together - alone)) > 0.05 * spread + rounding:
        raise ValueError(
            "f mixes the inputs of a batch (a row changes when it is evaluated alone); expected a function of each"
            " input by itself, such as batch normalization in evaluation mode; empirical_ntk has batch_dependent=True."
        )
    if spread > rounding:  # where all rows are alike, as with a last layer of zeros, nothing can be seen
        seen.append(True)


def check_kernels(kernels: Any, params: Any, x1: Any, x2: Any) -> None:
    """Refuse a pytree of kernels that are not finite, and say whether an argument or the dtype is at fault."""

    def named(name: str, tree: Any) -> dict[str, Any]:
        paths = [f"{name} '{path}'" if path else name for path in leaf_paths(tree)]
        leaves = zip(paths, jax.tree.leaves(tree), strict=True)
        return {path: leaf for path, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)}

    arguments = named("params", params) | named("x1", x1) | named("x2", x2)
    check_results(named("ntk", kernels), arguments)


@functools.lru_cache(maxsize=256)
def _seen(f: ModelFunction, shapes: tuple) -> list[bool]:
    """Remembers what has been looked at."""
    del f, shapes
    return []


@functools.partial(jax.jit, static_argnums=0)
def _together_and_alone(f: ModelFunction, params: Any, x: Any) -> tuple[jax.Array, jax.Array]:
    return f(params, x), jax.vmap(lambda one: f(params, batch_of_one(one))[0])(x)


def output_axes(outputs: tuple[int, ...], trace_axes: Any, diagonal_axes: Any) -> OutputAxes:
    """The axes of outputs that `trace_axes` and `diagonal_axes` name; a diagonal axis is not traced."""
    diagonal = _normalized_axes("diagonal_axes", diagonal_axes, outputs)
    trace = _normalized_axes("trace_axes", trace_axes if outputs else (), outputs)
    return OutputAxes(outputs, tuple(axis for axis in trace if axis not in diagonal), diagonal)


def _normalized_axes(name: str, axes: Any, outputs: tuple[int, ...]) -> tuple[int, ...]:
    for axis in axes:
        if not -len(outputs) <= axis < len(outputs):
            raise ValueError(
                f"{name} is {axes!r}; expected axes of an output of shape {outputs}, the batch not counted."
            )
    normalized = tuple(axis % len(outputs) for axis in axes)
    if len(set(normalized)) < len(normalized):
        raise ValueError(f"{name} is {axes!r}; expected each axis once.")
    return normalized


def check_axes(name: str, axes: Any) -> tuple[int, ...]:
    """Axes as a tuple of integers."""
    if not isinstance(axes, tuple | list) or not all(isinstance(axis, int) for axis in axes):
        raise ValueError(f"{name} is {axes!r}; expected a tuple of integers.")
    return tuple(axes)


def trained_leaves(params: Any, param_filter: ParamFilter | None) -> list[int]:
    """Which leaves of the parameters are floating-point and pass the filter of their paths.

    Raises:
        ValueError: There is none.
    """
    paths = leaf_paths(params)
    floating = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(params)]
    trained = [i for i, path in enumerate(paths) if floating[i] and (param_filter is None or param_filter(path))]
    if not trained:
        raise ValueError(f"param_filter is false for all of {', '.join(paths)}; expected it to be true for some.")
    return trained


def of_trained(
    f: Callable[..., Any], params: Any, param_filter: ParamFilter | None = None
) -> tuple[Callable[..., Any], Values]:
    """The function f of the trained leaves alone, all others as they are in `params`; and these leaves."""
    leaves, structure = jax.tree.flatten(params)
    trained = trained_leaves(params, param_filter)

    def of_values(values: Values, *args: Any, **kwargs: Any) -> Any:
        chosen = dict(zip(trained, values, strict=True))
        return f(jax.tree.unflatten(structure, [chosen.get(i, leaf) for i, leaf in enumerate(leaves)]), *args, **kwargs)

    return of_values, [jnp.asarray(leaves[i]) for i in trained]


def leaf_paths(params: Any) -> list[str]:
    """The path of every leaf, such as 'params/Dense_0/kernel'."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def batch_of_one(x: Any) -> Any:
    """One input as a batch."""
    return jax.tree.map(lambda leaf: leaf[None], x)


def num_inputs(x: Any) -> int:
    """N of a pytree of inputs (N, …)."""
    return jax.tree.leaves(x)[0].shape[0]
