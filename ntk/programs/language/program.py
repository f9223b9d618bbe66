"""A program as its user holds it, and what is recorded of it at one shape of the input."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk.caches.lifetimes import kept_with
from ntk.caches.rebinding import content
from ntk.checks import as_floating, check_finite
from ntk.dtypes import common_dtype
from ntk.networks import Description
from ntk.programs.language.graph import Graph, Node, reachable
from ntk.programs.language.net import BatchNeed, Input, Net, Output, as_output
from ntk.programs.language.vectors import Parameter, Tap, Vector


@dataclass(frozen=True, eq=False)
class Recording:
    """A program at one shape of its input; made once, and compared by identity.

    Attributes:
        graph: All that it computes.
        output: What it returns.
        parameters: By name, all that the program has asked for.
        watched: By name, the place where the gradient is asked for, and the vector itself.
        needs: What the program needs of a batch.
        nodes: What the output depends on, and what is watched, in an order in which it can be computed.
    """

    graph: Graph
    output: Output
    parameters: dict[str, Parameter]
    watched: dict[str, tuple[Tap, Vector]]
    needs: list[BatchNeed]
    nodes: list[Node]

    def once(self, fn: Callable[..., Any], *args: Any) -> Any:
        """fn(*args), found once for as long as the recording lives."""
        return self.graph.once(fn, *args)


@jax.tree_util.register_pytree_with_keys_class
class TensorProgram(Description):
    """A network of any architecture, written once; made by `tensor_program`.

    A pytree: its leaves are the options that are numbers. Called with options it gives the program with these instead.

    Attributes:
        fn: The function that it was made from.
        numbers: Options that are floating-point numbers, such as standard deviations.
        choices: All other options.
    """

    def __init__(self, fn: Callable[..., Any], numbers: dict[str, Any], choices: dict[str, Any]):
        self.fn, self.numbers, self.choices = fn, numbers, choices
        self.__name__ = "program"
        functools.update_wrapper(self, fn)

    def __call__(self, **options: Any) -> "TensorProgram":
        """The program with these options."""
        numbers, choices = dict(self.numbers), dict(self.choices)
        for name, value in options.items():
            if name not in numbers and name not in choices:
                known = ", ".join((*numbers, *choices)) or "none"
                raise TypeError(f"program {self.__name__} is given option {name!r}; expected one of: {known}.")
            if name in numbers:
                numbers[name] = _number(name, value)
            else:
                choices[name] = _choice(name, value)
        return TensorProgram(self.fn, numbers, choices)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in {**self.numbers, **self.choices}.items())
        return f"TensorProgram({self.__name__}{', ' if options else ''}{options})"

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], Any]:
        """The numbers as leaves."""
        children = [(jax.tree_util.DictKey(name), value) for name, value in self.numbers.items()]
        return children, (self.fn, tuple(self.numbers), _Choices(self.choices))

    @classmethod
    def tree_unflatten(cls, static: Any, leaves: Any) -> "TensorProgram":
        """The program with these leaves."""
        fn, names, choices = static
        return cls(fn, dict(zip(names, leaves, strict=True)), choices.values)

    def record(self, shape: tuple[int, ...]) -> Recording:
        """What the program does with one input of that shape."""
        key = shape, tuple(self.numbers), _Choices(self.choices), content(self.fn)
        recordings = kept_with(self.fn).setdefault(TensorProgram, {})
        if key not in recordings:
            recordings[key] = _record(self, shape)
        return recordings[key]


def tensor_program(fn: Callable[..., Any]) -> TensorProgram:
    """A network written as a Python function `fn(net, x)` over vectors, to be read three ways (theory.md 3.1).

    `net` hands out parameters and coordinate-wise functions (`Net`), x is one input (`Input`); what is returned is an
    output weight times a vector, `net.output(name) @ vector`, or a linear combination of such. Further keyword
    arguments with defaults are options: those with a floating-point default can be arrays and differentiated in.

    Raises:
        TypeError: `fn` does not take (net, x), or an option has no default.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk.programs import infinite, tensor_program
        >>> @tensor_program
        ... def mlp(net, x, *, depth=2, w_std=1.0):
        ...     phi = net.phi("relu")
        ...     z = phi(net.input_matrix("w1", std=w_std) @ x)
        ...     for layer in range(2, depth + 1):
        ...         z = phi(net.matrix(f"w{layer}", std=w_std) @ z)
        ...     return net.output("v") @ z
        >>> x = jnp.array([[1.0, 1.0]])
        >>> print(infinite(mlp(w_std=2.0**0.5), x).ntk)
        [[3.]]
    """
    if not callable(fn):
        raise TypeError(f"tensor_program is given {fn!r}; expected a function of net and x.")
    names = list(inspect.signature(fn).parameters.values())
    if len(names) < 2 or any(option.default is option.empty for option in names[2:]):
        raise TypeError(f"tensor_program is given {fn!r}; expected a function of net, x and options with defaults.")
    options = {option.name: option.default for option in names[2:]}
    numbers = {name: value for name, value in options.items() if isinstance(value, float | np.floating | jax.Array)}
    choices = {name: _choice(name, value) for name, value in options.items() if name not in numbers}
    return TensorProgram(fn, numbers, choices)


def program_inputs(name: str, x: ArrayLike) -> jax.Array:
    """A batch of inputs (N, …) as a floating-point array."""
    x = as_floating(name, x)
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}; expected (N, …), N inputs of at least one axis, none empty.")
    check_finite(name, x)
    return x


def program_batches(x1: ArrayLike, x2: ArrayLike | None) -> tuple[jax.Array, jax.Array | None]:
    """Two batches of inputs of one shape and one dtype; None for the second is the first again."""
    x1 = program_inputs("x1", x1)
    if x2 is None:
        return x1, None
    x2 = program_inputs("x2", x2)
    if x2.shape[1:] != x1.shape[1:]:
        raise ValueError(
            f"x2 has inputs of shape {x2.shape[1:]}; expected {x1.shape[1:]} as in x1: a program is recorded for one"
            " shape (ntk.RNN takes sequences of different lengths)."
        )
    dtype = common_dtype(x1, x2)
    return x1.astype(dtype), x2.astype(dtype)


class _Choices:
    """Options that are told apart by their types too: a depth of 1.0 is none, though 1.0 == 1."""

    def __init__(self, values: dict[str, Any]):
        self.values = values
        self._key = tuple((name, _typed(value)) for name, value in values.items())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Choices) and self._key == other._key


def _typed(value: Any) -> Any:
    return (tuple, *map(_typed, value)) if type(value) is tuple else (type(value), value)


def _record(program: TensorProgram, shape: tuple[int, ...]) -> Recording:
    graph = Graph()
    net = Net(graph)
    places = Input(np.arange(int(np.prod(shape))).reshape(shape))
    options = {name: net.option(name) for name in program.numbers} | program.choices
    output = as_output(graph, program.fn(net, places, **options))
    watched = dict(net.watched)
    needs = [need.unless for need in net.needs]
    vectors = [vector for _, vector in watched.values()]
    nodes = reachable([output, *vectors, *net.parameters.values(), *needs])
    return Recording(graph, output, dict(net.parameters), watched, list(net.needs), nodes)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray | jax.Array):
        raise TypeError(f"option {name} is {value!r}; expected a real number.")
    if np.shape(value) != ():
        raise ValueError(f"option {name} has shape {np.shape(value)}; expected one real number.")
    check_finite(f"option {name}", jnp.asarray(value))
    return value


def _choice(name: str, value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"option {name} is {value!r}; expected something hashable, such as a tuple.") from None
    return value
