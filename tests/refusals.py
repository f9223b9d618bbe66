"""Tables of refused calls. Each row has a name, the call as a function, the exception, and a part of its message.

The part is a regular expression.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import pytest

COUNT = "expected an integer of at least 1"
DELTA = "expected a number between 0 and 1, both excluded"

Row = tuple[str, Callable[..., object], type[Exception], str]


def rows(table: Sequence[Row]) -> pytest.MarkDecorator:
    """Run a test with arguments call, exception and sentence for each row."""
    cases = [row[1:] for row in table]
    return pytest.mark.parametrize(("call", "exception", "sentence"), cases, ids=[row[0] for row in table])


def assert_refused(call: Callable[[], object], exception: type[Exception], sentence: str) -> None:
    """Check that the call raises exactly this exception, with one sentence on one line."""
    with pytest.raises(exception, match=sentence) as refusal:
        call()
    assert refusal.type is exception
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


def assert_refused_under_jit_too(
    call: Callable[..., object], arrays: Sequence[Any], exception: type[Exception], sentence: str
) -> None:
    """The call of these arrays is refused, eager and with the arrays traced."""
    assert_refused(lambda: call(*arrays), exception, sentence)
    traced = jax.jit(lambda *arrays: call(*arrays) and None)
    assert_refused(lambda: traced(*arrays), exception, sentence)
