"""A program as its user holds it, and what is recorded of it at one shape of the input, or at two."""

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import PyTree

from ntk.caches.lifetimes import kept_with
from ntk.caches.rebinding import content
from ntk.checks import as_numpy, check_finite, is_concrete, shown
from ntk.networks import Description
from ntk.programs.language.atoms import BatchMean, Bias, Convolve, Embed, Entries, Parameter, Tap
from ntk.programs.language.graph import Found, Graph, Node, reachable
from ntk.programs.language.inputs import Input
from ntk.programs.language.loops import check_scopes, with_bodies
from ntk.programs.language.net import BatchNeed, Net, at_next_shape
from ntk.programs.language.outputs import Features, Output, as_output
from ntk.programs.language.positions import Shape
from ntk.programs.language.scalars import Scalar, Value
from ntk.programs.language.vectors import Vector


@dataclass(frozen=True, eq=False, repr=False)
class Side:
    """What a program gives for inputs of one shape.

    Attributes:
        output: The output.
        watched: By name, the place where the gradient is taken, and the vector itself.
    """

    output: Output
    watched: dict[str, tuple[Tap, Vector]]


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """A program at one shape of its input, or at two. It is made once, and compared by identity.

    Attributes:
        graph: All quantities of the program.
        sides: What it gives on the two sides of a kernel; the same where both have inputs of one shape.
        parameters: By name, all parameters that the program asks for.
        needs: The conditions on a batch.
        nonnegative: Scalars that must not be negative, with the names that messages use.
        nodes: All that the outputs and the watched vectors depend on, in an order in which it can be computed.
    """

    graph: Graph
    sides: tuple[Side, Side]
    parameters: dict[str, Parameter]
    needs: list[BatchNeed]
    nonnegative: list[tuple[str, Scalar]]
    nodes: list[Node]

    @property
    def has_two_shapes(self) -> bool:
        """Whether the two sides have inputs of different shapes."""
        return self.sides[0] is not self.sides[1]

    @property
    def output(self) -> Output:
        """The output, of a program at one shape."""
        return self.sides[0].output

    @property
    def watched(self) -> dict[str, tuple[Tap, Vector]]:
        """The watched vectors, of a program at one shape."""
        return self.sides[0].watched

    @property
    def vectors_read(self) -> list[tuple[Parameter, Vector, Vector]]:
        """Each output weight of both sides, and the vectors that it reads there."""
        return _met(*(side.output.vectors for side in self.sides))

    @property
    def features_read(self) -> list[tuple[Parameter, Features, Features]]:
        """Each output weight of both sides that reads the input, and what it reads there."""
        return _met(*(side.output.features for side in self.sides))

    @property
    def watched_twice(self) -> dict[str, tuple[Vector, Vector]]:
        """By name, the vectors that are watched on both sides."""
        first, second = (side.watched for side in self.sides)
        return {name: (first[name][1], second[name][1]) for name in first if name in second}

    @property
    def lookups(self) -> list[Embed]:
        """The embeddings of tokens. Where there are any, nothing else reads the input."""
        every = with_bodies(self.nodes)
        return [node for node in every if isinstance(node, Embed) and node.parameter.is_looked_up]

    @property
    def couples_inputs(self) -> bool:
        """Whether an output depends on the other inputs of the batch."""
        return any(isinstance(node, BatchMean) for node in with_bodies(self.nodes))

    def once(self, fn: Callable[..., Found], *args: Hashable) -> Found:
        """fn(*args), computed once and kept for as long as the recording lives."""
        return self.graph.once(fn, *args)


SomeRead = TypeVar("SomeRead", Vector, Features)


def _met(
    first: Iterable[tuple[Parameter, SomeRead]], second: Iterable[tuple[Parameter, SomeRead]]
) -> list[tuple[Parameter, SomeRead, SomeRead]]:
    found = dict(second)
    return [(weight, read, found[weight]) for weight, read in first if weight in found]


Network = Callable[..., Output | Scalar]  # fn(net, x, **options)
Static = tuple[Network, tuple[str, ...], "_Choices"]  # of a program as a pytree: all but the leaves


@jax.tree_util.register_pytree_with_keys_class
class TensorProgram(Description):
    """A network of any architecture, written once. `tensor_program` makes it.

    It is a pytree, of which the leaves are the options that are numbers. Called with options, it returns the program
    with these options.

    Attributes:
        fn: The function that the program was made from.
        numbers: The options that are floating-point numbers, such as standard deviations. JAX may replace them.
        choices: All other options.
    """

    def __init__(self, fn: Network, numbers: dict[str, PyTree], choices: dict[str, Hashable]):
        self.fn, self.numbers, self.choices = fn, numbers, choices
        self.__name__ = "program"
        functools.update_wrapper(self, fn)

    def __call__(self, **options: object) -> "TensorProgram":
        """The program with these options in place of its own.

        Raises:
            TypeError: The program has no option of that name, or the value has another type than the option.
            ValueError: A number is not one finite real number.
        """
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

    def tree_flatten_with_keys(self) -> tuple[list[tuple[jax.tree_util.DictKey, PyTree]], Static]:
        """The numbers as leaves."""
        children = [(jax.tree_util.DictKey(name), value) for name, value in self.numbers.items()]
        return children, (self.fn, tuple(self.numbers), _Choices(self.choices))

    @classmethod
    def tree_unflatten(cls, static: Static, leaves: Iterable[PyTree]) -> "TensorProgram":
        """The program with these leaves."""
        fn, names, choices = static
        return cls(fn, dict(zip(names, leaves, strict=True)), choices.values)

    def record(self, shape: Shape, other: Shape | None = None) -> Recording:
        """What the program does with one input of that shape; or with one of it and one of another shape."""
        shapes = (shape,) if other in (None, shape) else (shape, other)
        key = shapes, tuple(self.numbers), _Choices(self.choices), content(self.fn)
        recordings = kept_with(self.fn).setdefault(TensorProgram, {})
        if key not in recordings:
            recordings[key] = _record(self, shapes)
        return recordings[key]


def check_program(program: object) -> None:
    """Refuse what is not a tensor program."""
    if not isinstance(program, TensorProgram):
        raise TypeError(f"program is {type(program).__name__}; expected a tensor_program.")


def tensor_program(fn: Network) -> TensorProgram:
    """A network written as a Python function `fn(net, x)` over vectors, to be read three ways (theory.md 3.1).

    Args:
        fn: The network. `net` hands out parameters and coordinate-wise functions (`Net`), and x is one input (`Input`).
            The function returns an output, `net.output(name) @ vector` or `net.output(name) @ x`, or a linear
            combination of outputs. Further arguments with defaults are options. An option with a floating-point default
            may be an array, and kernels can be differentiated in it.

    Returns:
        A `TensorProgram`, for `ntk.infinite_kernels`, `ntk.finite` and `ntk.check_gia`.

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
    expected = "expected a function of net, x and options with defaults"
    if not callable(fn):
        raise TypeError(f"fn is {shown(fn)}; {expected}.")
    try:
        names = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # of some functions written in C
        raise TypeError(f"fn is {shown(fn)}, of which the arguments are not known; {expected}.") from None
    if len(names) < 2 or any(option.default is option.empty for option in names[2:]):
        raise TypeError(f"fn is {shown(fn)}; {expected}.")
    options = {option.name: option.default for option in names[2:]}
    numbers = {name: value for name, value in options.items() if isinstance(value, float | np.floating | jax.Array)}
    choices = {name: _choice(name, value) for name, value in options.items() if name not in numbers}
    return TensorProgram(fn, numbers, choices)


class _Choices:
    """Options that are compared by their types too: a depth of 1.0 is not a depth of 1, although 1.0 == 1."""

    def __init__(self, values: dict[str, Hashable]):
        self.values = values
        self._key = tuple((name, _typed(value)) for name, value in values.items())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Choices) and self._key == other._key


def _typed(value: object) -> tuple[object, ...]:
    return (tuple, *map(_typed, value)) if type(value) is tuple else (type(value), value)


def _record(program: TensorProgram, shapes: Sequence[Shape]) -> Recording:
    net, sides = Net(Graph()), []
    for shape in shapes:
        net = at_next_shape(net)
        places = Input(np.arange(int(np.prod(shape))).reshape(shape))
        options = {name: net.option(name) for name in program.numbers} | program.choices
        output = as_output(net.graph, program.fn(net, places, **options))
        for kind, names in (("parameter", net.parameters), ("watched vector", net.watched)):
            for name in names:
                if "[" in name:  # Brackets tell the parts that belong to one position.
                    raise ValueError(f"a {kind} has the name {name!r}; expected one without brackets.")
        sides.append(Side(output, dict(net.watched)))
    return recorded(net, sides)


def recorded(net: Net, sides: Sequence[Side]) -> Recording:
    """What `net` has handed out on the way to the output of one side, or of two."""
    watched = (vector for side in sides for _, vector in side.watched.values())
    conditions = [*(need.unless for need in net.needs), *(scalar for _, scalar in net.nonnegative)]
    used = [*(side.output for side in sides), *watched, *conditions]
    parameters = net.before | net.parameters | _by_name(reachable(used))
    nodes = reachable([*used, *parameters.values()])
    check_scopes(nodes)
    fields = {weight for side in sides for weight, vector in side.output.vectors if vector.shape}
    for node in with_bodies(nodes):
        if isinstance(node, Bias) and node.parameter in fields:
            raise ValueError(
                f"output weight {node.parameter.name!r} reads a field, and is a vector at {node.line}; expected a"
                " weight that reads one position, or the mean of them, to be one."
            )
    both = sides[0], sides[-1]
    found = Recording(net.graph, both, parameters, list(net.needs), list(net.nonnegative), nodes)
    _check_tokens_alone(found)
    return found


def _check_tokens_alone(recording: Recording) -> None:
    """Refuse a program that looks its input up and also reads it as numbers."""
    if not recording.lookups:
        return
    for node in recording.nodes:
        reads = isinstance(node, Features) or (isinstance(node, Convolve) and isinstance(node.source, Entries))
        if reads or (isinstance(node, Embed) and not node.parameter.is_looked_up):
            raise ValueError(
                f"the program looks its input up at {recording.lookups[0].line}, and reads it as numbers at"
                f" {node.line}; expected inputs of tokens or of numbers."
            )


def _by_name(nodes: list[Node]) -> dict[str, Parameter]:
    """The parameters in use. An output weight of one name reads vectors, or features of the input of one size."""
    found: dict[str, Parameter] = {}
    for node in nodes:
        if isinstance(node, Parameter):
            first = found.setdefault(node.name, node)
            if first is not node:
                raise ValueError(
                    f"output weight {node.name!r} reads {_fan_in(node)} at {node.line}, and {_fan_in(first)} at"
                    f" {first.line}; expected a weight of its own for each."
                )
    return found


def _fan_in(weight: Parameter) -> str:
    return "a vector of the network" if weight.fan_in is None else f"{weight.fan_in} entries of the input"


def _number(name: str, value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray | jax.Array):
        raise TypeError(f"option {name} is {shown(value)}; expected a real number.")
    if np.shape(value) != ():
        raise ValueError(f"option {name} has shape {np.shape(value)}; expected one real number.")
    if is_concrete(value):
        check_finite(f"option {name}", as_numpy(f"option {name}", value, "a real number"))
    return value


def _choice(name: str, value: object) -> Hashable:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"option {name} is {shown(value)}; expected something hashable, such as a tuple.") from None
    return value
