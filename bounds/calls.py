"""Functions that a caller passes: their errors name the function and its arguments."""

from collections.abc import Hashable
from types import FunctionType
from typing import Any

import jax

from ntk.checks import shown


def called(name: str, function: Any, arguments: dict[str, Any]) -> Any:
    """`function` of the arguments; an error in it becomes one sentence, with its traceback above.

    Args:
        name: What the message calls the function.
        function: The function to call.
        arguments: Its arguments, each under the name by which the message calls it.
    """
    check_function(name, function, tuple(arguments))
    try:
        return function(*arguments.values())
    except Exception as error:
        given = " and ".join(arguments)
        what = "" if isinstance(function, FunctionType) else f", {shown(function)},"
        raise ValueError(
            f"{name}{what} raises {type(error).__name__} for {given} as given; expected a function of"
            f" {given}{_hint(function)}."
        ) from error


def shapes_returned(name: str, function: Any, arguments: dict[str, Any]) -> Any:
    """The shapes of what a function of JAX returns; refused where the function cannot be a static argument of `jit`."""
    check_function(name, function, tuple(arguments))
    if not isinstance(function, Hashable):
        raise TypeError(f"{name} is {shown(function)}, which has no hash; expected a hashable function.")

    def evaluated(*values: Any) -> Any:
        return called(name, function, dict(zip(arguments, values, strict=True)))

    for argument, value in arguments.items():
        check_leaves(argument, value)
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(evaluated, *arguments.values()))


def check_function(name: str, function: Any, arguments: tuple[str, ...]) -> None:
    """Refuse what cannot be called."""
    if not callable(function):
        raise TypeError(
            f"{name} is {shown(function)}; expected a function of {' and '.join(arguments)}{_hint(function)}."
        )


def check_leaves(name: str, tree: Any) -> None:
    """Refuse a pytree with a leaf that is not an array, a number or a key."""
    if not _has_shapes(tree):
        leaf = next(leaf for leaf in jax.tree.leaves(tree) if not _has_shapes(leaf))
        raise TypeError(f"{name} holds {shown(leaf)}; expected a pytree of arrays and numbers.")


def _has_shapes(tree: Any) -> bool:
    """Whether JAX accepts all leaves as arrays."""
    try:
        jax.eval_shape(lambda _: None, tree)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _hint(function: Any) -> str:
    return ", such as its method apply" if hasattr(function, "apply") else ""
