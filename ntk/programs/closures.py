"""Functions with the values that they refer to at the time of recording."""

import functools
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any


def as_of_now(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with the variables around it as they are now; one function for equal code and values.

    A lambda in a loop would otherwise be called with the last value of the loop's variable, when the program is
    evaluated; and one that refers to nothing would be another function in each round.
    """
    if not isinstance(fn, FunctionType):
        return fn
    values = tuple(cell.cell_contents for cell in fn.__closure__ or ())
    code = (fn.__code__, fn.__defaults__, tuple((fn.__kwdefaults__ or {}).items()), id(fn.__globals__))
    try:
        return _rebuilt(_Content(fn, values, (*code, values, tuple(map(type, values)))))
    except TypeError:  # a value without a hash
        return _Content(fn, values, ()).function()


class _Content:
    """A function and the values of its cells, compared by `key`."""

    def __init__(self, fn: FunctionType, values: tuple, key: tuple):
        self.fn, self.values, self.key = fn, values, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self.key == other.key

    def function(self) -> FunctionType:
        cells = tuple(map(CellType, self.values))
        fn = FunctionType(self.fn.__code__, self.fn.__globals__, self.fn.__name__, self.fn.__defaults__, cells)
        fn.__kwdefaults__ = self.fn.__kwdefaults__
        return fn


@functools.lru_cache(maxsize=1024)
def _rebuilt(content: _Content) -> FunctionType:
    return content.function()
