"""The arrays of a plan, computed step by step."""

import copy
import functools
import string
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntk.decomposition import unit_scaled
from ntk.infinite_width.moments import Fingerprint, same_inputs
from ntk.linalg import highest_einsum
from ntk.programs.language.atoms import Entries, Parameter, Window
from ntk.programs.language.graph import Node
from ntk.programs.language.loops import Scanned
from ntk.programs.limit.arrays.indices import Indices, beside, restricted
from ntk.programs.limit.arrays.marks import Marks
from ntk.programs.limit.arrays.offsets.shifts import Offsets
from ntk.programs.limit.arrays.plan import Key, Moments, Pair, Step, Tree
from ntk.programs.limit.moments import same_masks


class SampledMoments(NamedTuple):
    """What is known of a stacked vector of a sampled loop, of all inputs with each other.

    Attributes:
        with_others: C and τ with each stacked vector of the loop, (N, N, T, T).
        mean: Of a coordinate, (N, T).
    """

    with_others: dict[Scanned, Moments]
    mean: Array


class Known(NamedTuple):
    """What is known of the pairs of two sides, or of one side's inputs each with itself.

    Attributes:
        found: What the steps of a plan give.
        indices: Which positions are equal there.
    """

    found: dict[Key, Tree]
    indices: dict[Key, Indices]

    def of(self, key: Key, indices: Indices) -> Tree:
        """What is known of a key; of moments the entries for these indices, which may be fewer than there are."""
        value = self.found[key]
        if not isinstance(value, Moments):
            return value
        have, want = self.indices[key], indices.numbered()
        return Moments(*(None if part is None else restricted(part, have, want) for part in value))


class Past(NamedTuple):
    """What a step of a loop knows of one input at the steps before, to be met step by step.

    Attributes:
        still: By key, what is the same beside all steps.
        moving: What is known beside each step, with an axis of steps first.
        own: What each step gives alone, with an axis of steps first.
        step: How many steps are before.
    """

    still: dict[Key, Tree]
    moving: dict[Key, Tree]
    own: dict[Key, Tree]
    step: Array


class Values:
    """The arrays of a plan for all pairs of two sides; or, without `known`, for each input of one side with itself.

    Attributes:
        numbers: The values of the scalars that do not depend on the inputs; and ησ² of the parameters whose learning
            rates are given.
        sides: The inputs of both, (N, F).
        known: The arrays of each side with itself.
        sources: By the name of a watched vector, what is added to τ of it, so that a derivative can be taken there.
        paired: Whether the moments are of all pairs of inputs.
        sampled: The moments of the vectors of sampled loops.
        given: At one step of a loop, what is known from the step before and from outside.
        past: There, what is known of the steps before, if these are met; None at the first step.
        offsets: In a loop over offsets, how far apart the positions of two sides are.
    """

    def __init__(
        self,
        numbers: dict[Node, Tree],
        sides: tuple[Float[Array, "N1 F"], Float[Array, "N2 G"]],
        known: tuple[Known, Known] | None = None,
        sources: dict[str, Array] | None = None,
        sampled: "Mapping[Scanned, SampledMoments]" = MappingProxyType({}),
    ):
        self.numbers, self.sides, self.known = numbers, sides, known
        self.sources, self.paired = sources or {}, known is not None
        self.given: dict[Key, Tree] = {}
        self.past: Past | None = None
        self.sampled = sampled
        self.offsets = Offsets({}, {})

    def at_step(self, given: dict[Key, Tree], known: tuple[Known, Known] | None, marks: Marks | None) -> "Values":
        """Those at one step of a loop, or at a pair of steps, where some are given."""
        values = copy.copy(self)
        values.given, values.known = given, known
        if marks is not None:
            values.marks = marks
        return values

    def at_offsets(self, offsets: Offsets) -> "Values":
        """Those for pairs of positions that are an offset apart."""
        values = copy.copy(self)
        values.offsets = offsets
        return values

    @functools.cached_property
    def marks(self) -> Marks:
        """What tells the positions of one side apart; the pairs of two sides do not ask for it."""
        return Marks(self.sides[0])

    def follow(self, steps: Sequence[Step]) -> Known:
        """What every step gives."""
        here = Known({}, {step.key: step.indices for step in steps})
        for step in steps:
            read = []
            for side, key, indices in step.rule.needs:
                home = self.known[side - 1] if side and self.known else here
                read.append(home.of(key, indices))
            here.found[step.key] = step.rule.compute(self, *read)
        return here

    def variance(self, parameter: Parameter) -> float | Array:
        """σ²."""
        return self.numbers[parameter.std] ** 2

    def trained_variance(self, parameter: Parameter) -> float | Array:
        """ησ², η the parameter's learning rate: 1 if none is given."""
        return self.numbers[parameter] if parameter in self.numbers else self.variance(parameter)

    def filled(self, moment: Array | None, key: Pair, indices: Indices, side: int | None = None) -> Array:
        """The moment, with zeros where it is None.

        Args:
            moment: C or τ.
            key: Of what.
            indices: Which positions are equal.
            side: Of which inputs, each with itself, it is; None for the pairs that are computed here.
        """
        if moment is not None:
            return moment
        sizes = dict(zip((*indices.right, *indices.left), (*key.b.shape, *key.a.shape), strict=True))
        inputs = [len(x) for x in self.sides] if self.paired and side is None else [len(self.sides[side or 0])]
        return jnp.zeros([*inputs, *(sizes[name] for name in indices.names)], self.sides[0].dtype)

    def beside(self, value: Tree, indices: Indices, side: int) -> Tree:
        """What one side has at its inputs and positions, to broadcast against moments; a number as it is."""
        if not jnp.ndim(value):
            return value
        if side:
            value = self._seconds(value, value.ndim - len(indices.right), indices)
        return beside(value, indices.sides[side], indices.names, side, self.paired)

    def _seconds(self, value: Array, first: int, indices: Indices) -> Array:
        """What the second side has, at the offset from the positions of the first side.

        Args:
            value: For each input and position. The first axes of positions may be missing, and sizes may be 1.
            first: Where the first axis of positions is, or would be.
            indices: Which axes are an offset apart.
        """
        for axis in indices.looped:
            place = first + axis
            if place > 0 and value.shape[place] > 1:
                value = self.offsets.seconds(value, place, axis, indices.steps[axis])
        return value

    def read(self, window: Window, array: Array, place: int, axis: int, indices: Indices) -> list[Array]:
        """What windows of both sides read along an axis of which the positions are an offset apart."""
        return self.offsets.read(window, array, place, axis, indices.steps[axis])

    def where_no_offset(self, array: Array, indices: Indices) -> Array:
        """The array where positions are equal along all axes of a loop over offsets, else 0."""
        return jnp.where(self.offsets.none(indices.looped), array, 0.0) if indices.looped else array

    def gram(self, source1: Entries, source2: Entries, indices: Indices) -> Array:
        """ξ·ξ̄/d for entries of the inputs at their positions."""
        return self.gram_of([self.part(source, side) for side, source in enumerate((source1, source2))], indices)

    def part(self, source: Entries, side: int) -> Float[Array, "N ... d"]:
        """ξ/√d for entries of the inputs of one side, at their positions."""
        return unit_scaled(self.sides[side][:, source.places])

    def gram_of(self, parts: Sequence[Array], indices: Indices) -> Array:
        """The products of two such parts."""
        left, right, both = (
            "".join(string.ascii_lowercase[n] for n in names) for names in (*indices.sides, indices.names)
        )
        inputs = "XY" if self.paired else "XX"
        lead = inputs if self.paired else "X"
        subscripts = f"{inputs[0]}{left}Z,{inputs[1]}{right}Z->{lead}{both}"
        return highest_einsum(subscripts, parts[0], self._seconds(parts[1], 1, indices))

    def embedded(self, parameter: Parameter, products: Array) -> Moments:
        """C = σ² ξ·ξ̄/d, and τ = ησ² ξ·ξ̄/d, from the products."""
        return Moments(self.variance(parameter) * products, self.trained_variance(parameter) * products)

    def equal(self, source1: Entries, source2: Entries, indices: Indices) -> Array:
        """1 where the tokens at two positions are equal, else 0."""
        tokens = [x[:, s.places[..., 0]] for x, s in zip(self.sides, (source1, source2), strict=True)]
        first, second = (self.beside(each, indices, side) for side, each in enumerate(tokens))
        return (first == second).astype(first.dtype)

    def same_masks(self, ndim: int) -> Array:
        """1 where both inputs are one, with the same masks, else 0; to broadcast against moments."""
        if not self.paired:
            return jnp.ones((), self.sides[0].dtype)
        return jnp.expand_dims(same_masks(*self.sides), range(2, ndim))

    def same(self, marks: Sequence[Fingerprint], indices: Indices) -> Bool[Array, "..."]:
        """Which pairs have equal marks: there the vector is one and the same."""
        words = [[self.beside(word, indices, side) for word in mark] for side, mark in enumerate(marks)]
        return same_inputs(Fingerprint(*words[0]), Fingerprint(*words[1]))
