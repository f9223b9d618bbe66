"""Functions f(params, x): of which leaves, what their outputs are, and what JAX cannot differentiate."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ntk.checks import shown
from ntk.finite_width.rules.contraction import OutputAxes

ModelFunction = Callable[[Any, Any], jax.Array]
Values = list[jax.Array]  # the trained leaves of the parameters, in their order


def output_axes(outputs: tuple[int, ...], trace_axes: Any, diagonal_axes: Any) -> OutputAxes:
    """The axes of outputs that `trace_axes` and `diagonal_axes` name; a diagonal axis is not traced."""
    diagonal = _normalized_axes("diagonal_axes", diagonal_axes, outputs)
    trace = _normalized_axes("trace_axes", trace_axes if outputs else (), outputs)
    return OutputAxes(outputs, tuple(axis for axis in trace if axis not in diagonal), diagonal)


def _normalized_axes(name: str, axes: Any, outputs: tuple[int, ...]) -> tuple[int, ...]:
    for axis in axes:
        if not -len(outputs) <= axis < len(outputs):
            raise ValueError(
                f"{name} is {shown(axes)}; expected axes of an output of shape {outputs}, the batch not counted."
            )
    normalized = tuple(axis % len(outputs) for axis in axes)
    if len(set(normalized)) < len(normalized):
        raise ValueError(f"{name} is {shown(axes)}; expected each axis once.")
    return normalized


def check_axes(name: str, axes: Any) -> tuple[int, ...]:
    """Axes as a tuple of integers."""
    if not isinstance(axes, tuple | list) or not all(type(axis) is int for axis in axes):
        raise ValueError(f"{name} is {shown(axes)}; expected a tuple of integers.")
    return tuple(axes)


def of_user(called: str, expected: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a function of the user returns; what it raises is told in one sentence, with the error itself as its cause.

    `called` is how the caller knows the function and its arguments.
    """
    try:
        return function(*args)
    except Exception as error:
        (reason, *_) = str(error).strip().splitlines() or [""]
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{called} fails with {type(error).__name__}: {reason[:200]}; expected {expected}.") from error


def of_trained(f: Callable[..., Any], params: Any, trained: tuple[int, ...]) -> tuple[Callable[..., Any], Values]:
    """The function f of the trained leaves alone, all others as they are in `params`; and these leaves."""
    leaves, structure = jax.tree.flatten(params)

    def of_values(values: Values, *args: Any, **kwargs: Any) -> Any:
        chosen = dict(zip(trained, values, strict=True))
        return f(jax.tree.unflatten(structure, [chosen.get(i, leaf) for i, leaf in enumerate(leaves)]), *args, **kwargs)

    return of_values, [jnp.asarray(leaves[i]) for i in trained]


def batch_of_one(x: Any) -> Any:
    """One input as a batch."""
    return jax.tree.map(lambda leaf: leaf[None], x)


def num_inputs(x: Any) -> int:
    """N of a pytree of inputs (N, …)."""
    return jax.tree.leaves(x)[0].shape[0]


@contextlib.contextmanager
def loops_refused() -> Iterator[None]:
    """Where f is differentiated backward: say what JAX's refusal of a `while` loop means."""
    try:
        yield
    except ValueError as error:
        if "Reverse-mode differentiation does not work" not in str(error):
            raise
        raise ValueError(
            "f has a loop of unknown length, through which JAX takes no gradient backward; expected lax.scan, or"
            " lax.fori_loop with bounds that are Python integers."
        ) from None
