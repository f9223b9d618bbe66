"""The graph that a tensor program is recorded into. Each node is made once, after all that it is made from."""

import functools
import linecache
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import jax

# The files whose frames lie between a line of the user's program and the node that it makes.
_NAMES = (
    "graph",
    "positions",
    "functions",
    "scalars",
    "atoms",
    "vectors",
    "inputs",
    "outputs",
    "weights",
    "loops",
    "net",
)
_NOTATION = {str(Path(__file__).with_name(f"{name}.py")) for name in _NAMES}


class Line(NamedTuple):
    """Where the user's program asked for something."""

    file: str
    number: int

    @property
    def source(self) -> str:
        """The text of the line; empty if the file cannot be read."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        source = f": {self.source}" if self.source else ""
        return f"{Path(self.file).name}, line {self.number}{source}"


def users_line() -> Line:
    """The innermost line of the call stack outside the notation itself."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if not (package in ("jax", "jaxtyping") or file in _NOTATION):
            break
        frame = frame.f_back
    return Line(frame.f_code.co_filename, frame.f_lineno)


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """One quantity of a program. `Graph.make` makes it, so that equal quantities are one object.

    Attributes:
        graph: The graph of the node.
        index: The place of the node there. All that it is made from stands before it.
        line: The first line of the user's program that asks for it.
    """

    __array_ufunc__ = None  # NumPy's numbers leave sums and products with nodes to the nodes

    graph: "Graph" = field(repr=False)
    index: int = field(repr=False)
    line: Line = field(repr=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self.line}"  # What a node is made of may be the whole program.

    @functools.cached_property
    def parts(self) -> tuple["Node", ...]:
        """The nodes that this one is made from."""
        return tuple(_nodes_in(tuple(getattr(self, attribute.name) for attribute in fields(self)[3:])))


def refuse_arrays_of(kind: type, what: str, expected: str) -> None:
    """Let JAX's functions refuse a class of nodes with a sentence that says what to write instead."""

    def refuse(_: object) -> NoReturn:
        raise TypeError(f"a function of arrays is applied to {what} at {users_line()}; expected {expected}.")

    kind.__jax_array__ = refuse  # type: ignore[attr-defined]
    jax.tree_util.register_pytree_node(kind, refuse, lambda *_: refuse(None))


SomeNode = TypeVar("SomeNode", bound=Node)
Found = TypeVar("Found")


class Graph:
    """All nodes of one program at one shape of its input, or at two.

    Attributes:
        nodes: In the order in which they were made.
        line: Where new nodes are said to occur; None for the line of the user's program that is under way.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.line: Line | None = None
        self._made: dict[tuple[Hashable, ...], Node] = {}
        self._found: dict[tuple[Hashable, ...], object] = {}

    def once(self, fn: Callable[..., Found], *args: Hashable) -> Found:
        """fn(*args), computed once and kept for as long as the graph lives."""
        key = (fn, *args)
        if key not in self._found:
            self._found[key] = fn(*args)
        return self._found[key]  # type: ignore[return-value]

    def make(self, kind: type[SomeNode], *attributes: Hashable) -> SomeNode:
        """The node of that kind with those attributes. Equal attributes give the same node."""
        key = (kind, *attributes)
        node = self._made.get(key)
        if node is None:
            node = kind(self, len(self.nodes), self.line or users_line(), *attributes)
            self._made[key] = node
            self.nodes.append(node)
        return node  # type: ignore[return-value]


def reachable(roots: Iterable[Node], up_to: tuple[type[Node], ...] = ()) -> list[Node]:
    """The roots and all that they are made from, in order. The search ends at nodes of the kinds `up_to`."""
    found: dict[int, Node] = {}
    to_visit = list(roots)
    while to_visit:
        node = to_visit.pop()
        if node.index not in found:
            found[node.index] = node
            if not isinstance(node, up_to):
                to_visit.extend(node.parts)
    return [found[index] for index in sorted(found)]


def _nodes_in(values: tuple[object, ...]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from _nodes_in(value)
