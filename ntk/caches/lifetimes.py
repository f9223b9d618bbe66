"""What is made of a function of the user's, such as a compiled program, lives no longer than that function.

The caches of `jax.jit` and `functools` hold what they are keyed by: a function, and all the arrays that it closes over.
Here the keys are weak references to the function's owner: the function itself, or the object that a method is bound to.
What is kept must not refer to its owner.
"""

import functools
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

import jax


class Same(weakref.ref):
    """A weak reference that equals those to the same object, whatever equality means to it."""

    __slots__ = ("_id",)

    _id: int

    def __new__(cls, value: Any, callback: Callable[[Any], Any] | None = None) -> "Same":
        """A reference to the value; `callback` is called with it when the value dies."""
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
    """A dictionary that lives as long as `owner`, always the same one; an empty one if it takes no weak references.

    That of a bound method lives as long as the object that it is bound to.
    """
    if isinstance(owner, MethodType):
        return kept_with(owner.__self__).setdefault(owner.__func__, {})
    try:
        return _KEPT.setdefault(Same(owner, _forget), {})
    except TypeError:
        return {}


def compiled(*, static: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`jax.jit` of a function of an owner, so many static arguments that hold no arrays, and arrays.

    What is compiled lives as long as the owner.
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
    """A function that returns the owner, and holds it only if it takes no weak references: nothing is kept with it."""
    try:
        return weakref.WeakMethod(owner) if isinstance(owner, MethodType) else weakref.ref(owner)
    except TypeError:
        return lambda: owner
