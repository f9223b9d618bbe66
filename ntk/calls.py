"""Functions that a caller passes: what they raise is told in one sentence that names the call."""

from collections.abc import Callable
from typing import Any

_LONGEST = 200  # characters of what an error says


def of_user(called: str, expected: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a function of the user returns. What it raises is told in one sentence, with the error itself as its cause.

    Args:
        called: The call as a message shows it.
        expected: What the message says is expected.
        function: The function of the user.
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
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{called} fails with {type(error).__name__}: {reason[:_LONGEST]}; expected {expected}.") from error
