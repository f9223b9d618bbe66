"""The empirical NTK of any function f(params, x), by contracting Jacobians.

Memory: one Jacobian of a tile of each side, 2·batch_size·(outputs)·(parameters) numbers. Time: as many backward passes
as there are outputs for every input, and O(N² · outputs² · parameters) for the contraction.
"""

import functools
import math
import string
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntk.checks import check_choice, check_count, check_finite, check_representable, is_concrete

METHODS = ("auto", "jacobian")


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
) -> jax.Array:
    """The NTK ⟨∇f(ξ), ∇f(ξ̄)⟩ over all parameters of any pure function (Jacot et al. 2018).

    Output axes are counted without the batch; for f → (N,) there is none and `trace_axes` is ignored. A traced axis is
    averaged: its trace is divided by its size, as in neural-tangents. For f → (N, O):

        trace_axes=(-1,), the default    (N1, N2)          the mean over outputs
        trace_axes=()                    (N1, N2, O, O)    every pair of outputs
        diagonal_axes=(-1,)              (N1, N2, O)       each output with itself (and trace_axes=())

    Gram products are computed at highest precision; f keeps its own.

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x. Anything pure: Flax, plain JAX.
        params: A pytree; leaves that are not floating-point are constants.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs; None means `x1`.
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal; an axis named here is not traced.
        method: "auto" or "jacobian".
        batch_size: Inputs of each side whose Jacobian is held at once; None for all of them.

    Returns:
        (N1, N2, …): then each output axis twice, once if it is a diagonal, not at all if traced.

    Raises:
        TypeError: f is no function, or does not return a floating-point array.
        ValueError: An axis, the method, the batch size or a shape is not as above, or a row of f depends on other
            rows of x (batch normalization in training mode): there is no kernel of pairs then. Too large a result.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> def f(params, x):
        ...     return x @ params
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> print(ntk.empirical_ntk(f, jnp.ones((2, 3)), x))  # x·x̄ for each of three outputs, averaged
        [[5. 2.]
         [2. 1.]]
        >>> ntk.empirical_ntk(f, jnp.ones((2, 3)), x, trace_axes=()).shape
        (2, 2, 3, 3)
    """
    check_choice("method", method, METHODS)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    _check_function(f, params)
    x1 = _check_inputs("x1", x1)
    x2 = x1 if x2 is None else _check_inputs("x2", x2)
    outputs = _check_outputs(f, params, x1)
    if x2 is not x1 and (outputs2 := _check_outputs(f, params, x2)) != outputs:
        raise ValueError(f"f returns outputs of shape {outputs2} for x2; expected {outputs} as for x1.")
    diagonal = _normalized_axes("diagonal_axes", diagonal_axes, outputs)
    trace = _normalized_axes("trace_axes", trace_axes if outputs else (), outputs)
    trace = tuple(axis for axis in trace if axis not in diagonal)
    summed = _contract(f, _subscripts(len(outputs), trace, diagonal), batch_size, params, x1, x2)
    result = summed / math.prod(outputs[axis] for axis in trace)
    check_representable(ntk=result)
    return result


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _contract(
    f: Callable[[Any, Any], jax.Array], subscripts: str, batch_size: int | None, params: Any, x1: Any, x2: Any
) -> jax.Array:
    leaves, rebuild = jax.tree.flatten(params)
    trained = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]

    def jacobian(x: Any) -> list[jax.Array]:
        """∂f/∂leaf of one input for every trained leaf, each (…outputs, size of the leaf)."""

        def f_of_trained(values: list[jax.Array]) -> jax.Array:
            all_leaves = list(leaves)
            for i, value in zip(trained, values, strict=True):
                all_leaves[i] = value
            return f(jax.tree.unflatten(rebuild, all_leaves), _batch_of_one(x))[0]

        values = [leaves[i] for i in trained]
        outputs = jax.eval_shape(f_of_trained, values).shape
        return [J.reshape(*outputs, -1) for J in jax.jacrev(f_of_trained)(values)]

    def row(x: Any) -> jax.Array:
        J1 = jacobian(x)

        def entry(y: Any) -> jax.Array:
            products = [
                jnp.einsum(subscripts, a, b, precision=lax.Precision.HIGHEST)
                for a, b in zip(J1, jacobian(y), strict=True)
            ]
            return functools.reduce(jnp.add, products)

        return lax.map(entry, x2, batch_size=batch_size or _length(x2))

    return lax.map(row, x1, batch_size=batch_size or _length(x1))


def _subscripts(num_axes: int, trace: tuple[int, ...], diagonal: tuple[int, ...]) -> str:
    """The einsum of two Jacobians (…outputs, parameters): traced axes are summed, pairs of the others kept."""
    letters = iter(string.ascii_letters.replace("P", ""))
    left, right, result = "", "", ""
    for axis in range(num_axes):
        a = next(letters)
        b = a if axis in trace or axis in diagonal else next(letters)
        left, right = left + a, right + b
        result += "" if axis in trace else a if axis in diagonal else a + b
    return f"{left}P,{right}P->{result}"


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


def _check_function(f: Any, params: Any) -> None:
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


def _check_inputs(name: str, x: Any) -> Any:
    try:
        x = jax.tree.map(jnp.asarray, x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}; expected an array or a pytree of arrays.") from None
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} has shapes {shapes}; expected arrays with one leading axis of inputs in common.")
    return x


def _check_outputs(f: Callable[[Any, Any], jax.Array], params: Any, x: Any) -> tuple[int, ...]:
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
