"""Which pairs of positions are one position twice: where they read equal entries, ρ = 1 exactly (theory.md 2.3).

Inputs of two shapes make two vectors of what is one: a state of a recurrent network, for sequences of two lengths. So a
mark depends on what a vector is computed from and by which functions and parameters, and not on which node it is.
"""

import copy
import functools
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt32

from ntk.infinite_width.moments import Fingerprint, fingerprints, mixed_bits
from ntk.programs.language.atoms import (
    MASK_COLUMNS,
    Atom,
    Bias,
    Convolve,
    Dropped,
    Embed,
    Entries,
    MatMul,
    Mixed,
    Moved,
    Nonlin,
    One,
    Transposed,
    Window,
)
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.loops import AtStep, Loop, Scanned, State
from ntk.programs.language.positions import Mean, Pad, Pool, Shape, common_shape
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Scalar, Scores, Table
from ntk.programs.language.vectors import Vector
from ntk.programs.scalar_values import with_axes

_NOT_PADDING = np.uint32(0x9E3779B9)  # tells what depends on no entry from the zeros beside it


class StepMarks(NamedTuple):
    """The marks of a loop's vectors at each step, (T, N, *P) each.

    Attributes:
        states: Of the states before the step.
        outs: Of the vectors that are stacked.
    """

    states: list[Fingerprint]
    outs: list[Fingerprint]


class Marks:
    """64 bits for each input and position of a vector, equal where all that the vector depends on is."""

    def __init__(self, x: Float[Array, "N F"]):
        bits = fingerprints(x.reshape(-1, 1, 1))
        self.bits = Fingerprint(*(word.reshape(x.shape) for word in bits))
        self.found: dict[Node, Fingerprint] = {}
        self.loops: dict[Loop, StepMarks] = {}

    def of(self, node: Node) -> Fingerprint:
        """Those of a vector, of an atom, of a scalar or of entries of the input, (N, *P)."""
        for part in reachable([node], up_to=(State, AtStep)):
            if part not in self.found and isinstance(part, Vector | Atom | Scalar | Entries):
                words = (_salted(self._word(part, number), part, number) for number in range(2))
                self.found[part] = Fingerprint(*words)
        return self.found[node]

    def at_step(self, known: dict[Node, Fingerprint]) -> "Marks":
        """Those at one step of a loop, where some are known."""
        marks = copy.copy(self)
        marks.found, marks.loops = {**self.found, **known}, dict(self.loops)
        return marks

    def of_loop(self, loop: Loop) -> "StepMarks":
        """Those of the vectors of a loop, step by step."""
        body = loop.body
        first = [self.of(z) for z in loop.initial]
        fields = [steps_first(self.of(read.vector)) for read in body.fields]

        def step(states: list[Fingerprint], here: list[Fingerprint]) -> tuple[list[Fingerprint], StepMarks]:
            marks = self.at_step(dict(zip((*body.states, *body.fields), (*states, *here), strict=True)))
            carries = [marks.of(carry) for carry in body.carries]
            return carries, StepMarks(states, [marks.of(out) for out in body.outs])

        return lax.scan(step, first, fields, length=body.length)[1]

    def _word(self, node: Node, number: int) -> UInt32[Array, "N ..."]:
        """One of the two words, from those of what the node is made of."""
        of = functools.partial(self._known, number)
        along = functools.partial(_along, number)
        each = functools.partial(self._each, number)
        match node:
            case Entries(places=places):
                return along(self.bits[number][:, places], -1)
            case Embed(source=source):
                return of(source)
            case MatMul(vector=vector) | Moment(vector=vector):
                return of(vector)
            case Convolve(windows=windows, source=source, shared=shared):
                word = of(source) + _NOT_PADDING
                for axis, window in enumerate(windows, 1):
                    word = _sum(window.reads(word, (axis,)), (number, axis))
                return word if shared else word + _of_places(node.shape, number)[None]
            case Scores(columns=columns):
                return self.bits[number][:, columns]
            case Dropped(vector=vector):
                masks = along(self.bits[number][:, -MASK_COLUMNS:], -1)
                each_position = masks.reshape(-1, *(1 for _ in node.shape)) + _of_places(node.shape, number)[None]
                return _sum([of(vector), each_position], (number, 0))
            case Scanned(loop=loop, number=place):
                if loop not in self.loops:
                    self.loops[loop] = self.of_loop(loop)
                return jnp.moveaxis(self.loops[loop].outs[place][number], 0, 1)
            case Moved(map=Mean(axis=axis), vector=vector):
                return along(of(vector), 1 + axis)
            case Moved(map=Pool() as pool, vector=vector):
                window = Window(pool.window, pool.stride, 1, 0, 0, False)
                return _sum(window.reads(of(vector), (1 + pool.axis,)), (number, 1 + pool.axis))
            case Moved(map=Pad() as pad, vector=vector):
                return pad.apply(of(vector) + _NOT_PADDING, 1 + pad.axis)
            case Moved(map=move, vector=vector):
                return move.apply(of(vector), 1 + move.axis)
            case Transposed(order=order, vector=vector):
                return jnp.transpose(of(vector), (0, *(1 + axis for axis in order)))
            case Mixed(weights=weights, vector=vector):
                z = of(vector)[..., None, :]
                return along(_sum([with_axes(of(weights), z.ndim - 1), z], (number, 0)), -1)
            case Table(array=array):
                bits = np.asarray(array, np.float64)[..., None].view(np.uint32)
                return self._nothing(node.shape) + _sum(jnp.moveaxis(bits, -1, 0), (number, 0))[None]
            case Bias(axes=axes) if axes:
                return self._nothing(axes) + _of_places(axes, number)[None]
            case Apply(over=over, args=args) if over:
                word = each(args, common_shape([arg.shape for arg in args]))
                for _ in range(over):
                    word = along(word, -1)
                results = jnp.expand_dims(_of_places(node.axes, number), range(word.ndim))
                return word[(..., *(None for _ in node.axes))] + results
            case Nonlin(args=args) | Apply(args=args):
                return each(args, node.shape)
            case Entry(of=several, place=place):
                return mixed_bits(of(several) + jnp.uint32(place))
            case Vector(terms=terms):  # of which the order is that of the making, and differs between shapes
                words = [mixed_bits(each(term, node.shape)) for term in terms]
                return sum(words, self._nothing(node.shape))
        return self._nothing(node.shape if isinstance(node, Atom | Scalar) else ())

    def _known(self, number: int, part: Node) -> UInt32[Array, "N ..."]:
        return self.found[part][number]

    def _each(self, number: int, parts: Iterable[Node], shape: Shape) -> UInt32[Array, "..."]:
        """Of several nodes that meet at each position."""
        words = [with_axes(self._known(number, part), len(shape)) for part in parts]
        return self._nothing(shape) + _sum(words, (number, 0))

    def _nothing(self, shape: Shape) -> UInt32[Array, "N ..."]:
        """Of what is the same for all inputs at all positions."""
        return jnp.zeros((len(self.bits.word1), *shape), jnp.uint32)


def steps_first(mark: Fingerprint) -> Fingerprint:
    """The marks of a field, (N, T, *P), with the axis of steps first."""
    return Fingerprint(*(jnp.moveaxis(word, 1, 0) for word in mark))


def _along(number: int, word: UInt32[Array, "..."], axis: int) -> UInt32[Array, "..."]:
    """Of all positions of an axis together."""
    return _sum(jnp.moveaxis(word, axis, 0), (number, axis % word.ndim))


def _salted(word: UInt32[Array, "N ..."], node: Node, number: int) -> UInt32[Array, "N ..."]:
    """The word, changed by what the node does with its parts."""
    what: Hashable
    match node:
        case MatMul(parameter=parameter, transposed=transposed):
            what = parameter, transposed
        case Embed(parameter=parameter) | Convolve(parameter=parameter) | Bias(parameter=parameter):
            what = parameter
        case Nonlin(function=function):
            what = function
        case Dropped(site=site):
            what = site
        case Apply(fn=fn, over=over):
            what = fn, over
        case Constant(value=value) | Option(name=value):
            what = value
        case Moved(map=Mean() | Pool() as pooled):
            what = type(pooled).__name__
        case One() | Moment():
            what = type(node).__name__
        case _:
            return word
    numbers: dict[Hashable, int] = node.graph.once(dict)
    place = numbers.setdefault(what, len(numbers))
    return mixed_bits(word + np.random.default_rng((number, place)).integers(2**32, dtype=np.uint32))


def _of_places(shape: Shape, number: int) -> UInt32[Array, "*P"]:
    """A word for each place, the same in all shapes that have it."""
    word = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        salts = np.random.default_rng((number, axis)).integers(2**32, size=size, dtype=np.uint32)
        word = mixed_bits(word + salts.reshape([-1 if each == axis else 1 for each in range(len(shape))]))
    return word


def _sum(words: Sequence[UInt32[Array, "..."]] | UInt32[Array, "k ..."], seed: tuple[int, int]) -> Array:
    """Σ of words that broadcast, each mixed with a number of its own, so that their order counts.

    Without the mixing, which is not linear, a patch of an image and its transpose would have one mark.
    """
    salts = np.random.default_rng((*seed, len(words))).integers(2**32, size=len(words), dtype=np.uint32)
    if not isinstance(words, Sequence):
        salted = words + jnp.expand_dims(jnp.asarray(salts), range(1, words.ndim))
        return jnp.sum(mixed_bits(salted), axis=0, dtype=jnp.uint32)
    terms = [mixed_bits(word + salt) for word, salt in zip(words, salts, strict=True)]
    return sum(terms[1:], terms[0]) if terms else jnp.zeros((), jnp.uint32)
