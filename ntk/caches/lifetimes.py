"""Caches of things made from a user's function, such as compiled programs, that do not keep the function alive.

The caches of `jax.jit` and `functools` hold their keys: a function, and with it all arrays that it closes over. The
keys here are weak references to the function's owner. The owner is the function itself, or the object that a method is
bound to. A cached value must not refer to its owner.
"""

import functools
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

import jax


class Same(weakref.ref):
    """A weak reference that compares by the identity of its object, and not by the object's own equality."""

    __slots__ = ("_id",)

    _id: int

    def __new__(cls, value: Any, callback: Callable[[Any], Any] | None = None) -> "Same":
        """A reference to the value. `callback` is called with the reference when the value dies."""
        reference = super().__new__(cls, value, callback)
        reference._id = id(value)
        return reference

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Same) and self() is not None and self() is other())


_KEPT: dict[Same, dict[Any, Any]] = {}


def _forget(reference: Any, kept: dict[Same, dict[Any, Any]] = _KEPT) -> None:
    """Drop what was kept with an owner that died. The default holds the cache while the interpreter ends."""
    kept.pop(reference, None)


def kept_with(owner: Any) -> dict[Any, Any]:
    """The dictionary that lives as long as `owner`: the same one at every call.

    The dictionary of a bound method lives as long as the object that the method is bound to. An owner that takes no
    weak references gets a new, empty dictionary at every call.
    """
    if isinstance(owner, MethodType):
        return kept_with(owner.__self__).setdefault(owner.__func__, {})
    try:
        return _KEPT.setdefault(Same(owner, _forget), {})
    except TypeError:
        return {}


def compiled(*, static: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`jax.jit` for functions whose first argument is an owner; the compiled program lives as long as the owner.

    Args:
        static: How many arguments after the owner are static. The other arguments are arrays.

    Returns:
        The decorator.
    """

    def decorated(body: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(body)
        def run(owner: Any, *args: Any) -> Any:
            programs = kept_with(owner)
            if body not in programs:
                programs[body] = _program(body, owner, static)
            return programs[body](*args)

        return run

    return decorated


def _program(body: Callable[..., Any], owner: Any, static: int) -> Callable[..., Any]:
    reference = _reference(owner)

    def of_owner(*args: Any) -> Any:
        return body(reference(), *args)

    of_owner.__name__ = of_owner.__qualname__ = body.__name__
    return jax.jit(of_owner, static_argnums=tuple(range(static)))


def _reference(owner: Any) -> Callable[[], Any]:
    """A function that returns the owner. It holds the owner only if that takes no weak references."""
    try:
        return weakref.WeakMethod(owner) if isinstance(owner, MethodType) else weakref.ref(owner)
    except TypeError:
        return lambda: owner
