"""Caches of things made from a user's function, such as compiled programs, that do not keep the function alive.

The caches of `jax.jit` and `functools` hold their keys: a function, and with it all arrays that it closes over. The
keys here are weak references to owners. An owner is a function, or the object that a method is bound to. A cached value
must not refer to its owners.
"""

import functools
import weakref
from collections.abc import Callable, Hashable
from types import MethodType
from typing import Any, ParamSpec, TypeVar

import jax
from jaxtyping import PyTree

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Same(weakref.ref[object]):
    """A weak reference that compares by the identity of its object, and not by the object's own equality."""

    __slots__ = ("_id",)

    _id: int

    def __new__(cls, value: object, callback: Callable[[object], None] | None = None) -> "Same":
        """A reference to the value. `callback` is called with the reference when the value dies."""
        reference = super().__new__(cls, value, callback)
        reference._id = id(value)
        return reference

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Same) and self() is not None and self() is other())


Kept = dict[Hashable, Any]  # what is kept under a key is known to the caller alone

_KEPT: dict[Hashable, Kept] = {}


def kept_with(*owners: object) -> Kept:
    """The dictionary that lives as long as all of the owners: the same one at every call.

    The dictionary of a bound method lives as long as the method's function and the object that it is bound to. If an
    owner takes no weak references, every call gets a new, empty dictionary.
    """
    try:
        key = _key(owners)
        return _KEPT[key] if key in _KEPT else _kept_from_now_on(owners)
    except TypeError:
        return {}


def _kept_from_now_on(owners: tuple[object, ...]) -> Kept:
    def forget(_: object, kept: dict[Hashable, Kept] = _KEPT) -> None:
        """Drop the dictionary of an owner that died. The default keeps the cache while the interpreter ends."""
        kept.pop(key, None)

    key = _key(owners, forget)
    return _KEPT.setdefault(key, {})


def _key(owners: tuple[object, ...], callback: Callable[[object], None] | None = None) -> Hashable:
    return tuple(
        (Same(owner.__self__, callback), Same(owner.__func__, callback))
        if isinstance(owner, MethodType)
        else Same(owner, callback)
        for owner in owners
    )


def compiled(
    *, owners: int = 1, static: int = 0
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """`jax.jit` for functions whose first arguments are owners; the compiled program lives as long as all of them.

    Args:
        owners: How many arguments are owners.
        static: How many arguments after the owners are static. The other arguments are arrays.

    Returns:
        The decorator.
    """

    def decorated(body: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @functools.wraps(body)
        def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            programs = kept_with(*args[:owners])
            if body not in programs:
                programs[body] = _program(body, args[:owners], static)
            result: Result = programs[body](*args[owners:], **kwargs)
            return result

        return run

    return decorated


def _program(body: Callable[..., Result], owners: tuple[object, ...], static: int) -> Callable[..., Result]:
    references = [reference(owner) for owner in owners]

    def of_owners(*args: PyTree, **kwargs: PyTree) -> Result:
        return body(*(owner() for owner in references), *args, **kwargs)

    of_owners.__name__ = of_owners.__qualname__ = body.__name__
    return jax.jit(of_owners, static_argnums=tuple(range(static)))


def reference(owner: object) -> Callable[[], Any]:
    """A function that returns the owner. It keeps the owner alive only if the owner takes no weak references."""
    try:
        return weakref.WeakMethod(owner) if isinstance(owner, MethodType) else weakref.ref(owner)
    except TypeError:
        return lambda: owner
