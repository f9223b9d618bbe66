"""Which pairs of positions are one position twice: where they read equal entries, ρ = 1 exactly (theory.md 2.3)."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from ntk.infinite_width.moments import Fingerprint, fingerprints
from ntk.programs.language.graph import Node
from ntk.programs.language.positions import Mean, Pad, Pool, Shape, Window
from ntk.programs.language.scalars import Apply, Entry, Moment, Scalar, Table
from ntk.programs.language.vectors import (
    Atom,
    Bias,
    Convolve,
    Embed,
    Entries,
    MatMul,
    Mixed,
    Moved,
    Nonlin,
    Transposed,
    Vector,
)

_NOT_PADDING = np.uint32(0x9E3779B9)  # tells what depends on no entry from the zeros beside it


class Marks:
    """64 bits for each input and position of a vector, equal where all that the vector depends on is."""

    def __init__(self, x: Float[Array, "N F"]):
        bits = fingerprints(x.reshape(-1, 1, 1))
        self.bits = Fingerprint(*(word.reshape(x.shape) for word in bits))
        self.found: dict[Node, Fingerprint] = {}

    def of(self, node: Node) -> Fingerprint:
        """Those of a vector, of an atom, of a scalar or of entries of the input, (N, *P)."""
        if node not in self.found:
            self.found[node] = Fingerprint(*(self._word(node, number) for number in range(2)))
        return self.found[node]

    def _word(self, node: Node, number: int) -> UInt32[Array, "N ..."]:
        def of(part: Node) -> UInt32[Array, "N ..."]:
            return self.of(part)[number]

        match node:
            case Entries(places=places):
                return _mixed(self.bits[number][:, places], -1)
            case Embed(source=source):
                return of(source)
            case MatMul(vector=vector) | Moment(vector=vector):
                return of(vector)
            case Convolve(windows=windows, source=source, shared=shared):
                word = of(source) + _NOT_PADDING
                for axis, window in enumerate(windows, 1):
                    word = _mixed_sum(window.reads(word, (axis,)))
                return word if shared else word + _of_places(node.shape)[None]
            case Moved(map=Mean(axis=axis), vector=vector):
                return _mixed(of(vector), 1 + axis)
            case Moved(map=Pool() as pool, vector=vector):
                window = Window(pool.window, pool.stride, 1, 0, 0, False)
                return _mixed_sum(window.reads(of(vector), (1 + pool.axis,)))
            case Moved(map=Pad() as pad, vector=vector):
                return pad.apply(of(vector) + _NOT_PADDING, 1 + pad.axis)
            case Moved(map=move, vector=vector):
                return move.apply(of(vector), 1 + move.axis)
            case Transposed(order=order, vector=vector):
                return jnp.transpose(of(vector), (0, *(1 + axis for axis in order)))
            case Mixed(weights=weights, vector=vector):
                rows = _aligned(of(weights), len(vector.shape) + 1)
                return _mixed(_mixed_sum([rows, of(vector)[..., None, :]]), -1)
            case Table(array=array):
                bits = jnp.asarray(np.asarray(array, np.float32).view(np.uint32))
                return self._nothing(node) + bits[None]
            case Bias(axes=axes):
                return self._nothing(node) + _of_places(axes)[None]
            case Apply(over=over, args=args) if over:
                return self._word_over(node, [of(arg) for arg in args])
            case Nonlin(args=args) | Apply(args=args):
                return _mixed_sum([_aligned(of(arg), len(node.shape)) for arg in args]) + self._nothing(node)
            case Entry(of=several, place=place):
                return of(several) + jnp.uint32(place)
            case Vector(terms=terms):
                parts = [part for term in terms for part in term]
                return _mixed_sum([_aligned(of(part), len(node.shape)) for part in parts]) + self._nothing(node)
        return self._nothing(node)

    def _nothing(self, node: Node) -> UInt32[Array, "N ..."]:
        """Of what is the same for all inputs at all positions."""
        shape = node.shape if isinstance(node, Atom | Vector | Scalar) else ()
        return jnp.zeros((len(self.bits.word1), *shape), jnp.uint32)

    def _word_over(self, node: Apply, words: Sequence[UInt32[Array, "N ..."]]) -> UInt32[Array, "N ..."]:
        """Of a function over the last axes: it depends on all that stands along them, and on its place."""
        rank = max(word.ndim for word in words)
        joint = _mixed_sum([_aligned(word, rank - 1) for word in words])
        for _ in range(node.over):
            joint = _mixed(joint, -1)
        places = jnp.expand_dims(_of_places(node.axes), range(joint.ndim))
        return joint[(..., *(None for _ in node.axes))] + places


def _aligned(word: UInt32[Array, "N ..."], rank: int) -> UInt32[Array, "..."]:
    """Beside others of so many position axes."""
    return jnp.expand_dims(word, tuple(range(1, 2 + rank - word.ndim)))


def _of_places(shape: Shape) -> UInt32[Array, "*P"]:
    """A word for each place; 0 where there is one alone."""
    if not shape:
        return jnp.zeros((), jnp.uint32)
    return jnp.asarray(np.random.default_rng(0).integers(2**32, size=shape, dtype=np.uint32))


def _multipliers(count: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.random.default_rng(count).integers(2**31, size=count, dtype=np.uint32) * 2 + 1


def _mixed(word: UInt32[Array, "..."], axis: int) -> UInt32[Array, "..."]:
    """Σ along an axis, each times an odd number of its own, so that the order counts."""
    last = jnp.moveaxis(word, axis, -1)  # accelerators have no products of matrices of integers
    multipliers = jnp.expand_dims(_multipliers(last.shape[-1]), range(last.ndim - 1))
    return jnp.sum(last * multipliers, axis=-1, dtype=jnp.uint32)


def _mixed_sum(words: Sequence[UInt32[Array, "..."]]) -> Any:
    """Σ of words that broadcast, each times an odd number of its own."""
    terms = [multiplier * word for multiplier, word in zip(_multipliers(len(words)), words, strict=True)]
    return sum(terms[1:], terms[0]) if terms else jnp.uint32(0)
