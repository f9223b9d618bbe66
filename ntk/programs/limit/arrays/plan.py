"""What the kernels of a program need, found from its outputs backwards: which moments, and for which positions.

Each moment follows from others by one rule (`ntk.programs.limit.arrays.rules`). A plan is a list of them in an order in
which they can be computed, first for the inputs of each side with themselves, then for the two sides with each other.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from jaxtyping import Array, PyTree

from ntk.programs.language.atoms import Atom, Entries
from ntk.programs.language.loops import Loop
from ntk.programs.language.scalars import Scalar
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import Indices, joined

Tree: TypeAlias = (
    PyTree  # what a rule gives: moments, the values or the means of one side, marks, or lists of these of a loop
)
Field = Vector | Atom | Entries  # with position axes or without


class Pair(NamedTuple):
    """The moments of two fields with each other: `Moments`."""

    a: Field
    b: Field


class Alone(NamedTuple):
    """The limit of a scalar, or the mean of a vector; of φ(u) three means (`mean_of`)."""

    of: Scalar | Vector | Atom


@dataclass(frozen=True)  # A tuple would be equal to `Alone` of the same vector.
class Mark:
    """What tells the positions of a vector apart: `Marks.of`."""

    of: Vector | Atom


@dataclass(frozen=True)
class Along:
    """What the steps of a loop give of each input with itself, at each step: `ntk.programs.limit.arrays.loops`."""

    loop: Loop


@dataclass(frozen=True)
class Meeting:
    """The moments of the vectors of two loops, for pairs of steps. Its indices are those of the stacked vectors."""

    first: Loop
    second: Loop


@dataclass(frozen=True)
class Averages:
    """The moments of means over all positions, in a list: `ntk.programs.limit.arrays.offsets.averages`."""

    pairs: tuple[Pair, ...]


Key = Pair | Alone | Mark | Along | Meeting | Averages


class Moments(NamedTuple):
    """C and τ, None where they are 0 whatever the inputs are; and of two functions φ(u) and ψ(ū) also E φ'(u)ψ'(ū)."""

    C: Array | None
    tau: Array | None
    dot: Array | None = None


class Need(NamedTuple):
    """What a rule reads.

    Attributes:
        side: 0 for moments between the two sides, 1 or 2 for those of one side's inputs, each with itself.
        key: Of what.
        indices: Which positions are equal, of a pair.
    """

    side: int
    key: Key
    indices: Indices = Indices((), ())


class Rule(NamedTuple):
    """How something follows from other things.

    Attributes:
        needs: Those, with the names of their axes.
        compute: The result from the values (`Values`) and what is needed, in the order of `needs`. The axes of every
            array are those of `Indices.names`.
        within: The steps of a loop over offsets that it runs.
    """

    needs: list[Need]
    compute: Callable[..., Tree]
    within: Sequence["Step"] = ()


class NotOnArrays(Exception):
    """A program without rules on arrays. Each of its positions has to be a vector of its own."""


class Step(NamedTuple):
    """One rule of a plan, and what it gives."""

    key: Key
    indices: Indices
    rule: Rule

    @property
    def entries(self) -> int:
        """Those of its array for one pair of inputs, or of the largest array of its loop."""
        if isinstance(self.key, Meeting):
            lengths = [loop.body.length for loop in (self.key.first, self.key.second)]
            return math.prod(lengths) if self.indices.left[0] != self.indices.right[0] else lengths[0]
        if not isinstance(self.key, Pair):
            return max((step.entries for step in self.rule.within), default=1)
        a, b = self.key
        sizes = dict(zip((*self.indices.left, *self.indices.right), (*a.shape, *b.shape), strict=True))
        return math.prod(sizes.values())


RuleOf = Callable[[Key, Indices, bool], Rule]


class Plan(NamedTuple):
    """The rules to follow.

    Attributes:
        own: For the inputs of each side, each with itself; the same for both sides of one shape.
        cross: For the two sides with each other.
    """

    own: tuple[list[Step], list[Step]]
    cross: list[Step]


def plan(
    rule_of: RuleOf, goals: dict[Pair, Indices], alone: Iterable[Alone], other: Iterable[Alone] | None = None
) -> Plan:
    """The rules that lead to some moments between the two sides, and to some limits of each side alone.

    Args:
        rule_of: The rule for a key, for its indices, of moments of each input with itself or of all pairs.
        goals: The moments, and which positions are equal in each.
        alone: The limits.
        other: Those of the second side, if its inputs have another shape than those of the first.

    Raises:
        NotOnArrays: `rule_of` has no rule for something that is needed.
    """
    cross = steps_to(rule_of, [Need(0, *goal) for goal in goals.items()], own=False)
    needs = [need for step in cross for need in step.rule.needs if need.side]
    needs += [Need(1, key) for key in alone]
    if other is None:
        both = steps_to(rule_of, needs, own=True)
        return Plan((both, both), cross)
    needs += [Need(2, key) for key in other]
    first, second = ([need for need in needs if need.side == side] for side in (1, 2))
    return Plan((steps_to(rule_of, first, own=True), steps_to(rule_of, second, own=True)), cross)


def steps_to(rule_of: RuleOf, goals: list[Need], own: bool) -> list[Step]:
    """The rules in order. Positions are kept for all pairs where one that reads them asks for it.

    Raises:
        NotOnArrays: `rule_of` has no rule for something, or something is needed at two kinds of offsets.
    """
    indices: dict[Key, Indices] = {}
    rules: dict[Key, Rule] = {}
    wanted = list(goals)
    while wanted:
        _, key, asked = wanted.pop()
        if key in indices and indices[key].steps != asked.steps:
            raise NotOnArrays
        both = joined(asked, indices.get(key, asked))
        if indices.get(key) != both:
            indices[key], rules[key] = both, rule_of(key, both, own)
            wanted.extend(_needs(rules[key], own))
    ordered: dict[Key, None] = {}
    stack = [(key, False) for _, key, _ in goals]
    while stack:  # depth first, each after what it needs
        key, ready = stack.pop()
        if ready:
            ordered[key] = None
        elif key not in ordered:
            stack.append((key, True))
            stack.extend((need.key, False) for need in _needs(rules[key], own))
    return [Step(key, indices[key], rules[key]) for key in ordered]


def _needs(rule: Rule, own: bool) -> list[Need]:
    """What has to be computed in the same pass."""
    return [need for need in rule.needs if own or not need.side]
