"""Functions that a user passes. Their errors are reported in one sentence that names the call."""

from collections.abc import Callable
from typing import TypeVar

from ntk.checks import shown

Result = TypeVar("Result")

_LONGEST = 200  # characters of another error's message


def check_function(name: str, function: object, expected: str) -> None:
    """Refuse an object that cannot be called. If it has a method `apply`, as a model has, the message names the method.

    Raises:
        TypeError: `function` cannot be called.

    Example:
        >>> from ntk.calls import check_function
        >>> check_function("loss", "mse", "a function of outputs and targets")
        Traceback (most recent call last):
        TypeError: loss is 'mse'; expected a function of outputs and targets.
    """
    if not callable(function):
        raise TypeError(f"{name} is {shown(function)}; expected {expected}{hint_of_method(function)}.")


def check_hashable(name: str, function: object) -> None:
    """Refuse a function without a hash. A later call finds the compiled program by the hash.

    Raises:
        TypeError: `function` has no hash.
    """
    try:
        hash(function)
    except TypeError:
        message = (
            f"{name} is {shown(function)}, which has no hash; expected a function or a method, to compile it once."
        )
        raise TypeError(message) from None


def of_user(called: str, expected: str, function: Callable[..., Result], *args: object) -> Result:
    """The result of a user's function. Its errors are raised again in one sentence, with the error itself as the cause.

    Args:
        called: The call, as the message shows it.
        expected: The function that is expected, in words.
        function: The user's function.
        *args: Its arguments.

    Raises:
        TypeError: The function raises a TypeError.
        ValueError: It raises anything else.

    Example:
        >>> from ntk.calls import of_user
        >>> of_user("f(x)", "a function of positive numbers", lambda x: 1 / x, 0)
        Traceback (most recent call last):
        ValueError: f(x) fails with ZeroDivisionError: division by zero; expected a function of positive numbers.
    """
    try:
        return function(*args)
    except Exception as error:
        (reason, *_) = str(error).strip().splitlines() or [""]
        reason = reason.replace("jaxlib._jax.ArrayImpl", "jax.Array")  # as Python names its type
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{called} fails with {type(error).__name__}: {reason[:_LONGEST]}; expected {expected}.") from error


def hint_of_method(function: object) -> str:
    """The end of a message about an object that was passed in place of its method `apply`."""
    return ", such as its method apply" if hasattr(function, "apply") else ""
