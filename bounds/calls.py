"""Functions that a caller passes, called by the names of their arguments."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from ntk.calls import check_function, check_hashable, hint_of_method, of_user
from ntk.checks import shown


def called(name: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """`function` of the arguments. An error in it becomes one sentence, with the error itself as its cause.

    Args:
        name: What the message calls the function.
        function: The function to call.
        arguments: Its arguments, each under the name by which the message calls it.

    Raises:
        TypeError: `function` cannot be called, or raises a TypeError.
        ValueError: It raises anything else.
    """
    expected = f"a function of {' and '.join(arguments)}"
    check_function(name, function, expected)
    call = f"{name}({', '.join(arguments)})"
    return of_user(call, expected + hint_of_method(function), function, *arguments.values())


def shapes_returned(name: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The shapes of what a function of JAX returns. A function that `jit` cannot take as a static argument is refused.

    Raises:
        TypeError: `function` cannot be called, has no hash, or raises a TypeError, or an argument holds what is not an
            array.
        ValueError: `function` raises anything else.
    """
    check_function(name, function, f"a function of {' and '.join(arguments)}")
    check_hashable(name, function)

    def evaluated(*values: Any) -> Any:
        return called(name, function, dict(zip(arguments, values, strict=True)))

    for argument, value in arguments.items():
        check_leaves(argument, value)
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(evaluated, *arguments.values()))


def check_leaves(name: str, tree: PyTree) -> None:
    """Refuse a pytree with a leaf that is not an array, a number or a key."""
    if not _has_shapes(tree):
        leaf = next(leaf for leaf in jax.tree.leaves(tree) if not _has_shapes(leaf))
        raise TypeError(f"{name} holds {shown(leaf)}; expected a pytree of arrays and numbers.")


def _has_shapes(tree: PyTree) -> bool:
    """Whether JAX accepts all leaves as arrays."""
    try:
        jax.eval_shape(lambda _: None, tree)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
