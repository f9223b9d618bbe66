"""Functions of a network that read each kind of description in its own way."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

R_co = TypeVar("R_co", covariant=True)
Reading = TypeVar("Reading", bound=Callable[..., Any])


@runtime_checkable
class OfNetworks(Protocol[R_co]):
    """A function of a network and arguments that depend on its kind."""

    __name__: str

    def __call__(self, net: Any, *args: Any, **options: Any) -> R_co:
        """Read the network in the way that is registered for its type."""

    def register(self, *kinds: type) -> Callable[[Reading], Reading]:
        """Decorate what is called for networks of these types."""

    def reads(self, net: Any) -> bool:
        """Whether something is a network of a type that is registered."""


def of_networks(public: Callable[..., R_co]) -> OfNetworks[R_co]:
    """Like `functools.singledispatch`, but an argument that is missing or not known is named to the caller.

    `public` has the documentation, and is called where `net` is of no registered type.
    """
    readings: dict[type, tuple[Callable[..., R_co], inspect.Signature]] = {}

    @functools.wraps(public)
    def of_network(net: Any, *args: Any, **options: Any) -> R_co:
        if type(net) not in readings:
            return public(net, *args, **options)
        reading, signature = readings[type(net)]
        try:
            signature.bind(net, *args, **options)
        except TypeError as error:
            expected = ", ".join(list(signature.parameters)[1:])
            message = f"{public.__name__} of {type(net).__name__}: {error}; expected, after net, {expected}."
            raise TypeError(message) from None
        return reading(net, *args, **options)

    def register(*kinds: type) -> Callable[[Reading], Reading]:
        def decorated(reading: Reading) -> Reading:
            readings.update(dict.fromkeys(kinds, (reading, inspect.signature(reading))))
            return reading

        return decorated

    function: Any = of_network
    function.register = register
    function.reads = lambda net: type(net) in readings
    return function
