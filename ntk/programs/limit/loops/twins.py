"""A sampled loop at two lengths: two recordings of one step, so that the longer one can be walked for all inputs."""

from collections.abc import Hashable
from dataclasses import fields
from typing import NamedTuple

from ntk.programs.language.graph import Node, SomeNode
from ntk.programs.language.loops import AtStep, Body, Loop, Scanned
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.plan import NotOnArrays
from ntk.programs.limit.forms import Forms


class Walked(NamedTuple):
    """A loop that is walked for the inputs of both sides.

    Attributes:
        loop: The longer one, if there are two.
        sides: The loop of each side. One if all inputs have one shape.
        twins: For each side, what a node of the longer loop is in its own.
    """

    loop: Loop
    sides: list[Loop]
    twins: list[dict[Node, Node]]

    def of(self, side: int, node: SomeNode) -> SomeNode:
        """What a node of the longer loop is on a side."""
        return self.twins[side].get(node, node)  # type: ignore[return-value]


def walked_loops(forms: Forms) -> list[Walked]:
    """The sampled loops in order. Those of inputs of two shapes come in pairs.

    Raises:
        NotOnArrays: They do not: the program does different things at two lengths.
    """
    return forms.recording.once(_walked_loops, forms)


def _walked_loops(forms: Forms) -> list[Walked]:
    loops = forms.sampled_loops
    if not forms.recording.has_two_shapes:
        return [Walked(loop, [loop], [{}]) for loop in loops]
    half = len(loops) // 2  # All of the first shape was recorded before all of the second.
    if len(loops) != 2 * half:
        raise NotOnArrays
    found = []
    for sides in zip(loops[:half], loops[half:], strict=True):
        longer = max(sides, key=lambda loop: loop.body.length)
        found.append(Walked(longer, list(sides), [_twins(longer, side, forms) for side in sides]))
    return found


def _twins(loop: Loop, other: Loop, forms: Forms) -> dict[Node, Node]:
    """What each node of a loop is in another one that does the same."""
    if other is loop:
        return {}
    ids: dict[Hashable, int] = {}
    numbers = [_numbered(forms, each.body, of.body, ids) for each, of in ((loop, other), (other, loop))]
    back = {number: node for node, number in numbers[1].items()}

    def told(place: int, each: Loop) -> tuple[list[int], list[int]]:
        read = [node.number for node in forms.recording.nodes if isinstance(node, Scanned) and node.loop is each]
        body = each.body
        return [numbers[place][z] for z in (*body.carries, *body.outs)], read

    if set(numbers[0].values()) != set(back) or told(0, loop) != told(1, other):
        raise NotOnArrays
    return {node: back[number] for node, number in numbers[0].items()}


def _numbered(forms: Forms, body: Body, other: Body, ids: dict[Hashable, int]) -> dict[Node, int]:
    """A number for each node of a step: equal for two that are made of equal ones in the same way."""
    found: dict[Node, int] = {}

    def key(value: object) -> Hashable:
        if isinstance(value, Node):
            return ("number", found[value]) if value in found else value
        if isinstance(value, tuple):
            return tuple(map(key, value))
        return "body" if value is body else value

    def number(what: Hashable) -> int:
        return ids.setdefault(what, len(ids))

    shared = set(other.reads)
    own = [read for read in body.reads if read not in shared and read not in body.states]
    if not all(isinstance(read, AtStep) or forms.entries(read) for read in own):
        raise NotOnArrays  # It reads a number that depends on the length.
    found.update((read, number(("shared", read))) for read in body.reads if read in shared)
    found.update((state, number(("state", state.number, state.axes))) for state in body.states)
    found.update((read, number((type(read), place))) for place, read in enumerate(own))
    for node in body.nodes:
        attributes = [key(getattr(node, attribute.name)) for attribute in fields(node)[3:]]
        if isinstance(node, Vector):  # whose terms are in the order of their making
            attributes = [frozenset(map(key, node.terms)), node.shape]
        found[node] = number((type(node), *attributes))
    return found
