"""Loops over positions. The body is recorded once, whatever the number of steps (theory.md 3.12).

A body is made of what a step reads: its states, which are the results of the step before, fields at the step, and
whatever is the same at all steps. `Scanned` stacks a vector of the body over all steps.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from types import UnionType

import jax
from jaxtyping import PyTree

from ntk.calls import check_function, of_user
from ntk.checks import MOST_STEPS, check_count, check_flag, shown
from ntk.programs.language.atoms import Atom, Rearranged
from ntk.programs.language.graph import Graph, Node, users_line
from ntk.programs.language.inputs import Input, InputAtStep
from ntk.programs.language.positions import Shape
from ntk.programs.language.scalars import Constant, Option, Scalar
from ntk.programs.language.vectors import Vector, broadcast, combination, rearranged, single, zeros

Step = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]  # of a state and of xs at one step: the state, and the results


@dataclass(eq=False, repr=False)
class Body:
    """One step of a loop, compared by identity.

    Attributes:
        length: The number of steps.
        states: Before the step.
        carries: The states after it, in the same order.
        outs: The vectors that are stacked over all steps.
        nodes: What the step computes, in order: all that depends on a state or on a field at the step, without these.
        reads: The leaves among what it depends on: states, fields at the step and what is the same at all steps.
    """

    length: int
    states: tuple["State", ...] = ()
    carries: tuple[Vector, ...] = ()
    outs: list[Vector] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    reads: list[Node] = field(default_factory=list)

    @property
    def fields(self) -> list["AtStep"]:
        """The fields that it reads at the step."""
        return [read for read in self.reads if isinstance(read, AtStep) and read.body is self]


@dataclass(frozen=True, eq=False, repr=False)
class State(Atom):
    """A state before the step: the result of the step before."""

    body: Body
    number: int
    axes: Shape

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return self.axes


@dataclass(frozen=True, eq=False, repr=False)
class AtStep(Rearranged):
    """A field at the step: at one position of its first axis."""

    body: Body
    vector: Vector

    @property
    def shape(self) -> Shape:
        """The sizes of its other position axes."""
        return self.vector.shape[1:]


@dataclass(frozen=True, eq=False, repr=False)
class Loop(Node):
    """All steps of a body.

    Attributes:
        body: The step.
        initial: The states before the first step.
        reads: What the body reads besides its states.
    """

    body: Body
    initial: tuple[Vector, ...]
    reads: tuple[Node, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Scanned(Rearranged):
    """A vector of the body after each step, along a first position axis."""

    loop: Loop
    number: int

    @property
    def vector(self) -> Vector:  # type: ignore[override]
        """The vector of the body."""
        return self.loop.body.outs[self.number]

    @property
    def shape(self) -> Shape:
        """The number of steps, and the sizes of the vector's position axes."""
        return (self.loop.body.length, *self.vector.shape)


def at_step(body: Hashable, every: Vector) -> Vector:
    """A field at the step."""
    return rearranged(every, every.shape[1:], AtStep, body)


def field_at_step(vector: Vector) -> tuple[Body, Vector] | None:
    """The field that a vector is at the step of a body, if it is made of nothing but fields there."""
    bodies = {atom.body if isinstance(atom, AtStep) else None for atom, _ in vector.terms}
    fields = [(factor, atom.vector) for atom, factor in vector.terms if isinstance(atom, AtStep)]
    (body,) = bodies if len(bodies) == 1 else (None,)
    if body is None or not all(isinstance(factor, Constant | Option) for factor, _ in fields):
        return None
    return body, combination(vector.graph, *fields)


def with_bodies(nodes: Iterable[Node]) -> list[Node]:
    """The nodes, and those of the bodies of all loops among them, in the order of their making."""
    found: dict[int, Node] = {}
    to_visit = list(nodes)
    while to_visit:
        node = to_visit.pop()
        if node.index not in found:
            found[node.index] = node
            if isinstance(node, Loop):
                to_visit += [*node.body.nodes, *node.body.states, *node.body.reads]
    return [found[index] for index in sorted(found)]


def check_scopes(nodes: Iterable[Node]) -> None:
    """Refuse nodes outside of all loops that are made of what a step has."""
    for node in nodes:
        if isinstance(node, State | AtStep):
            raise ValueError(
                f"a vector of a step is used outside its loop, net.scan at {node.line}; expected what net.scan returns:"
                " the states after the last step, and the results of all steps."
            )


def scan(
    graph: Graph, step: Step, initial: PyTree, xs: PyTree, reverse: bool, length: int | None
) -> tuple[PyTree, PyTree]:
    """The states after the last step, and the results of all steps along a first axis: see `Net.scan`."""
    check_function("step", step, "a function of a state and of xs at the step")
    check_flag("reverse", reverse)
    first, structure = _flattened("initial", initial, Vector)
    fields, structure_of_xs = _flattened("xs", xs, Vector | Input)
    lengths = {each.shape[0] if each.shape else 0 for each in fields}
    if length is not None:
        check_count("length", length, maximum=MOST_STEPS)
        lengths.add(length)
    if len(lengths) != 1 or not min(lengths):
        shapes = ", ".join(str(each.shape) for each in fields) or "nothing"
        raise ValueError(f"xs has shapes {shapes}, and length is {length}; expected a first axis of one length.")
    if reverse:
        fields = [each[::-1] for each in fields]
    (count,), begun, inputs = lengths, len(graph.nodes), (fields, structure_of_xs)
    body, (carries, outs, structure_of_outs) = _recorded(graph, step, (first, structure), inputs, count)
    axes = [state.shape for state in body.states]
    if [carry.shape for carry in carries] != axes:
        # A state that begins as zeros of no axes has the axes that the step gives it.
        first = [broadcast(z, carry.shape) if not z.terms else z for z, carry in zip(first, carries, strict=True)]
        body, (carries, outs, structure_of_outs) = _recorded(graph, step, (first, structure), inputs, count)
        axes = [state.shape for state in body.states]
    if [carry.shape for carry in carries] != axes:
        raise ValueError(
            f"step returns states with axes {[carry.shape for carry in carries]}; expected {axes}, as before it."
        )
    body.carries, body.outs = tuple(carries), list(dict.fromkeys([*carries, *outs]))
    body.nodes, body.reads = _inside(body, graph.nodes[begun:])
    # States and fields at the step of a loop around this one are read as they are there.
    reads = tuple(
        each.vector if isinstance(each, AtStep) and each.body is body else each
        for each in body.reads
        if each not in body.states
    )
    loop = graph.make(Loop, body, tuple(first), reads)

    def stacked(vector: Vector) -> Vector:
        if not vector.terms:
            return zeros(graph, (body.length, *vector.shape))
        return single(graph.make(Scanned, loop, body.outs.index(vector)))

    results = [stacked(out)[::-1] if reverse else stacked(out) for out in outs]
    return structure.unflatten([stacked(carry)[-1] for carry in carries]), structure_of_outs.unflatten(results)


_Flat = tuple[list[PyTree], jax.tree_util.PyTreeDef]


def _recorded(
    graph: Graph, step: Step, states: _Flat, xs: _Flat, length: int
) -> tuple[Body, tuple[list[Vector], list[Vector], jax.tree_util.PyTreeDef]]:
    """A body, and the vectors that the step returns: states and results."""
    (first, structure), (fields, structure_of_xs) = states, xs
    body = Body(length)
    body.states = tuple(graph.make(State, body, number, z.shape) for number, z in enumerate(first))
    parts = [at_step(body, each) if isinstance(each, Vector) else InputAtStep(body, each) for each in fields]
    before = structure.unflatten([single(state) for state in body.states])
    here = structure_of_xs.unflatten(parts)
    returned = of_user("step(state, x)", "a function of a state and of xs at the step", step, before, here)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"step returns {shown(returned)}; expected a pair: the states, and the results of the step.")
    carries, found = _flattened("the states that step returns", returned[0], Vector)
    if found != structure:
        raise ValueError(f"step returns states of structure {found}; expected {structure}, as before the step.")
    return body, (carries, *_flattened("the results that step returns", returned[1], Vector))


def _flattened(name: str, tree: PyTree, kind: type | UnionType) -> _Flat:
    # JAX would ask nodes of the program for their leaves, which these refuse as if a function of arrays were applied.
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda leaf: isinstance(leaf, Node | Input))
    for leaf in leaves:
        if isinstance(leaf, Scalar):
            raise TypeError(f"{name} holds the scalar of {leaf.line}; expected vectors, such as scalar * net.one().")
        if isinstance(leaf, Node) and not isinstance(leaf, Vector):
            raise TypeError(f"{name} holds the output of {leaf.line}; expected vectors, read out after the loop.")
        if not isinstance(leaf, kind):
            raise TypeError(f"{name} holds {shown(leaf)} at {users_line()}; expected vectors of the program.")
    return leaves, structure


def _inside(body: Body, made: list[Node]) -> tuple[list[Node], list[Node]]:
    """What a step computes, and what it reads. What does not depend on the step is not computed in it."""
    depends: set[int] = set()
    for node in made:
        own = isinstance(node, State | AtStep) and node.body is body
        if own or any(part.index in depends for part in node.parts):
            depends.add(node.index)
    nodes: dict[int, Node] = {}
    reads: dict[int, Node] = {}
    to_visit: list[Node] = list(body.outs)
    while to_visit:
        node = to_visit.pop()
        leaf = node.index not in depends or (isinstance(node, State | AtStep) and node.body is body)
        if node.index not in (reads if leaf else nodes):
            (reads if leaf else nodes)[node.index] = node
            to_visit += [] if leaf else node.parts
    return [nodes[index] for index in sorted(nodes)], [reads[index] for index in sorted(reads)]
