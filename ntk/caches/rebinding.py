"""Comparing and copying functions together with the values that they refer to.

A function refers to the variables around it, to its defaults, and to the global names in its code. If a global name is
a function of the same module, the values of that function count too. Numbers, strings and containers are compared by
content, arrays and all other objects by identity. A change of an object in place is not noticed.
"""

import contextlib
import functools
import weakref
from collections.abc import Callable, Hashable, Iterator
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import jax
import numpy as np

from ntk.caches.lifetimes import Same

_Jitted = type(jax.jit(lambda: None))
_ALIKE: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()


def as_of_now(fn: Callable[..., Any], wrapped: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A copy of the function with the values around it as they are now. Equal code and values give one copy.

    Without the copy, a lambda in a loop would see the last value of the loop's variable when it is evaluated. Without
    the comparison, a lambda would be a new function in each round of a loop.

    Args:
        fn: The function.
        wrapped: A function that is applied to the copy once. None means that the copy itself is returned.

    Returns:
        The copy, or the result of `wrapped`.
    """
    key = wrapped, content(fn)
    found = _ALIKE.get(key)
    if found is None:
        found = copied(fn)
        found = found if wrapped is None else wrapped(found)
        with contextlib.suppress(TypeError):  # some objects take no weak references
            _ALIKE[key] = found
    return found


def copied(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function with the values that it refers to now. Any other object is returned as it is."""
    return jax.jit(_copied(_inner(fn), {})) if isinstance(fn, _Jitted) else _copied(fn, {})


def content(value: object) -> Hashable:
    """A key that is equal for two values that do the same. It keeps neither of them alive."""
    return _content(value, {})


def _content(value: object, seen: dict[int, int]) -> Hashable:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | CodeType):
        return type(value), value if isinstance(value, str | bytes | CodeType) else repr(value)
    if isinstance(value, tuple | list | set | frozenset):
        parts = [_content(part, seen) for part in value]
        return type(value), frozenset(parts) if isinstance(value, set | frozenset) else tuple(parts)
    if isinstance(value, dict):
        return type(value), tuple((_content(key, seen), _content(part, seen)) for key, part in value.items())
    if isinstance(value, functools.partial):
        return functools.partial, _content((value.func, value.args, value.keywords), seen)
    if id(value) in seen:
        return "again", seen[id(value)]
    if isinstance(value, FunctionType):
        seen[id(value)] = len(seen)
        cells = tuple(_content(_inside(cell), seen) for cell in value.__closure__ or ())
        names = tuple((name, _of_global(value, name, seen)) for name in _globals_of(value))
        return value.__code__, _content((value.__defaults__, value.__kwdefaults__), seen), cells, names
    if isinstance(value, _Jitted):
        return _identity(value), _content(_inner(value), seen)
    if isinstance(value, MethodType):
        return _identity(value.__self__), _content(value.__func__, seen)
    return _identity(value)


def _inner(jitted: Any) -> Callable[..., Any]:
    return jitted.__wrapped__


def _of_global(fn: FunctionType, name: str, seen: dict[int, int]) -> Hashable:
    value = fn.__globals__[name]
    if isinstance(value, FunctionType) and value.__globals__ is not fn.__globals__:
        return _identity(value)
    return _content(value, seen)


def _identity(value: object) -> Hashable:
    with contextlib.suppress(TypeError):
        return Same(value)
    with contextlib.suppress(TypeError):  # some objects take no weak references, such as a range
        return hash(value), type(value), value
    return object()  # it is equal to no other key


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, functools.partial):
        return functools.partial(_copied(value.func, copies), *value.args, **value.keywords)
    if not isinstance(value, FunctionType):
        return value
    names = _globals_of(value)
    scope = value.__globals__
    if names:
        scope = {name: scope[name] for name in ("__builtins__", "__name__", "__file__") if name in scope}
    cells = tuple(CellType() for _ in value.__closure__ or ())
    copy = FunctionType(value.__code__, scope, value.__name__, value.__defaults__, cells)
    copies[id(value)] = copy
    copy.__kwdefaults__, copy.__qualname__, copy.__module__ = value.__kwdefaults__, value.__qualname__, value.__module__
    for cell, original in zip(cells, value.__closure__ or (), strict=True):
        inside = _inside(original)
        if inside is not _EMPTY:
            cell.cell_contents = _copied(inside, copies)
    for name in names:
        found = value.__globals__[name]
        same = isinstance(found, FunctionType) and found.__globals__ is value.__globals__
        scope[name] = _copied(found, copies) if same else found
    return copy


_EMPTY = "a variable without a value"


def _inside(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _globals_of(fn: FunctionType) -> tuple[str, ...]:
    """The global names in the code of a function that may change. Those of installed libraries do not change."""
    if "site-packages" in fn.__code__.co_filename:
        return ()
    return tuple(dict.fromkeys(name for name in _names_in(fn.__code__) if name in fn.__globals__))


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
