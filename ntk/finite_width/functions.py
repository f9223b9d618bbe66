"""What is asked of a function f(params, x), its parameters, inputs and outputs before any kernel of it is computed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.checks import check_finite, is_concrete
from ntk.finite_width.contraction import OutputAxes


def output_axes(outputs: tuple[int, ...], trace_axes: Any, diagonal_axes: Any) -> OutputAxes:
    """The axes of outputs that `trace_axes` and `diagonal_axes` name; a diagonal axis is not traced."""
    diagonal = _normalized_axes("diagonal_axes", diagonal_axes, outputs)
    trace = _normalized_axes("trace_axes", trace_axes if outputs else (), outputs)
    return OutputAxes(outputs, tuple(axis for axis in trace if axis not in diagonal), diagonal)


def trained_leaves(params: Any, param_filter: Callable[[str], bool] | None) -> list[int]:
    """Which leaves of the parameters are floating-point and pass the filter of their paths."""
    paths = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    return [
        i
        for i, (path, leaf) in enumerate(paths)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) and (param_filter is None or param_filter(path))
    ]


def _normalized_axes(name: str, axes: Any, outputs: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(axes, tuple | list) or not all(isinstance(axis, int) for axis in axes):
        raise ValueError(f"{name} is {axes!r}; expected a tuple of integers.")
    for axis in axes:
        if not -len(outputs) <= axis < len(outputs):
            raise ValueError(
                f"{name} is {axes!r}; expected axes of an output of shape {outputs}, the batch not counted."
            )
    normalized = tuple(axis % len(outputs) for axis in axes)
    if len(set(normalized)) < len(normalized):
        raise ValueError(f"{name} is {axes!r}; expected each axis once.")
    return normalized


def check_function(f: Any, params: Any) -> None:
    if not callable(f):
        raise TypeError(f"f is {f!r}; expected a function f(params, x).")
    try:
        hash(f)
    except TypeError:
        raise TypeError(
            f"f is {f!r}, which has no hash; expected a function or a method, to compile it once."
        ) from None
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    if any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes):
        raise TypeError("params has complex leaves; expected real ones, such as real and imaginary parts.")
    if not any(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(f"params is {params!r}; expected a pytree with at least one floating-point leaf.")


def check_inputs(name: str, x: Any) -> Any:
    try:
        x = jax.tree.map(jnp.asarray, x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}; expected an array or a pytree of arrays.") from None
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} has shapes {shapes}; expected arrays with one leading axis of inputs in common.")
    return x


def check_outputs(f: Callable[[Any, Any], jax.Array], params: Any, x: Any) -> tuple[int, ...]:
    """The shape of one input's output, after looking whether f treats inputs one by one."""
    whole = jax.eval_shape(f, params, x)
    if not isinstance(whole, jax.ShapeDtypeStruct) or whole.shape[:1] != (_length(x),):
        raise ValueError(f"f returns {whole} for {_length(x)} inputs; expected one array with a row for each of them.")
    if not jnp.issubdtype(whole.dtype, jnp.floating):
        raise TypeError(f"f(params, x) has dtype {whole.dtype}; expected a real floating-point array.")
    if is_concrete(params, x):
        with jax.ensure_compile_time_eval():
            two = jax.tree.map(lambda leaf: leaf[:2], x)
            pair, alone = jax.device_get(_two_rows_both_ways(f, params, two))
        check_finite("f(params, x)", pair)
        # Low-precision products differ by a few per cent between batch sizes; a mean over the batch by far more.
        if np.max(np.abs(pair - alone)) > 0.05 * np.max(np.abs(pair)):
            raise ValueError(
                "f mixes the inputs of a batch (a row changes when it is evaluated alone); expected a function"
                " of each input by itself, such as batch normalization in evaluation mode."
            )
    return whole.shape[1:]


@functools.partial(jax.jit, static_argnums=0)
def _two_rows_both_ways(f: Callable[[Any, Any], jax.Array], params: Any, x: Any) -> tuple[jax.Array, jax.Array]:
    return f(params, x), jax.vmap(lambda one: f(params, _batch_of_one(one))[0])(x)


def _batch_of_one(x: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], x)


def _length(x: Any) -> int:
    return jax.tree.leaves(x)[0].shape[0]
