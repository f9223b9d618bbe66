"""Atoms, which vectors are linear combinations of (theory.md 3.1), and the parameters that they read.

An atom is the vector of ones, a Gaussian vector, a coordinate-wise function of vectors or a linear map of positions. A
matrix, an embedding, a convolution and a bias give Gaussian vectors.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Int

from ntk.programs.language.graph import Node
from ntk.programs.language.positions import AxisMap, Shape
from ntk.programs.language.scalars import Scalar

if TYPE_CHECKING:  # A vector is made of atoms, and an atom of vectors.
    from ntk.programs.language.vectors import Function, Vector


@dataclass(frozen=True, eq=False, repr=False)
class Parameter(Node):
    """A trained parameter, of which all entries are N(0, 1) before they are scaled.

    Attributes:
        name: Its key in `params`.
        kind: "matrix", "input_matrix", "embedding", "bias" or "output", or that of a convolution.
        std: σ.
        mean: μ of an output weight. The limit exists only where it is 0.
        fan_in: d of an input matrix, and of an output weight that reads d entries of the input; the number of tokens of
            an embedding. None for all others.
        axes: The sizes of the window of a convolution, after those of the position axes if these do not share it; the
            sizes of the position axes of a bias; () for all others.
        offsets: k, the number of positions in the window of a convolution; 1 for all others.
    """

    name: str
    kind: str
    std: Scalar
    mean: Scalar
    fan_in: int | None
    axes: Shape = ()
    offsets: int = 1

    @property
    def is_looked_up(self) -> bool:
        """Whether it has a row for each token."""
        return self.kind == "embedding"


class Atom(Node):
    """A vector that is not a linear combination of others."""

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return ()


@dataclass(frozen=True, eq=False, repr=False)
class One(Atom):
    """The vector of ones, at each position."""

    axes: Shape = ()

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return self.axes


Family = tuple[Node | str, bool]  # a matrix and whether it is transposed, a bias, or the name of a tap


class Gaussian(Atom):
    """A vector of coordinates that become Gaussian. Given what they read, vectors of two families are independent."""

    parameter: Parameter  # of all but taps

    @property
    def family(self) -> Family:
        """What all Gaussian vectors share that are correlated: the matrix, its transpose, or the bias."""
        return getattr(self, "parameter", self), getattr(self, "transposed", False)


@dataclass(frozen=True, eq=False, repr=False)
class MatMul(Gaussian):
    """(σ/√n) W z, or (σ/√n) Wᵀz."""

    parameter: Parameter
    transposed: bool
    vector: "Vector"

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of z."""
        return self.vector.shape


@dataclass(frozen=True, eq=False, repr=False)
class Entries(Node):
    """Entries ξ of the input, d at each position, by their places in it: what a convolution of the input reads.

    Attributes:
        entries: The places, position by position.
        axes: The sizes of the position axes.
    """

    entries: tuple[int, ...]
    axes: Shape = ()

    @property
    def shape(self) -> Shape:
        """The sizes of the position axes."""
        return self.axes

    @property
    def places(self) -> Int[np.ndarray, "*P d"]:
        """The places as an array."""
        return np.reshape(self.entries, (*self.axes, -1))


@dataclass(frozen=True, eq=False, repr=False)
class Embed(Gaussian):
    """(σ/√d) U ξ for d entries ξ of the input at each position; or σ E_ξ, the row of an embedding for a token ξ."""

    parameter: Parameter
    source: Entries

    @property
    def entries(self) -> tuple[int, ...]:
        """The places of all that it reads."""
        return self.source.entries

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of ξ."""
        return self.source.shape


class Window(NamedTuple):
    """What a convolution reads along one axis: `size` positions, `dilation` apart, for every `stride` positions.

    Attributes:
        size: The number of offsets.
        stride: How far the next window is.
        dilation: How far the next offset is.
        before: The number of positions added before the first.
        after: The number of positions added after the last.
        circular: Whether the positions added are those of the other end, else zeros.
    """

    size: int
    stride: int
    dilation: int
    before: int
    after: int
    circular: bool

    def count(self, size: int) -> int:
        """The number of windows along an axis of that size."""
        return (self.before + size + self.after - (self.size - 1) * self.dilation - 1) // self.stride + 1

    @property
    def padding(self) -> tuple[int, int]:
        """The numbers of positions added before and after."""
        return self.before, self.after

    def reads(self, values: Array, axes: tuple[int, ...]) -> list[Array]:
        """What stands at each offset of all windows, along some axes of an array alike."""
        counts = {axis: self.count(values.shape[axis]) for axis in axes}
        widths = [self.padding if axis in axes else (0, 0) for axis in range(values.ndim)]
        if self.circular:
            values = jnp.pad(values, widths, mode="wrap")
        else:
            values = lax.pad(values, jnp.zeros((), values.dtype), [(*width, 0) for width in widths])
        found = []
        for offset in range(self.size):
            part, start = values, offset * self.dilation
            for axis in axes:
                last = start + (counts[axis] - 1) * self.stride
                part = lax.slice_in_dim(part, start, last + 1, self.stride, axis)
            found.append(part)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class Convolve(Gaussian):
    """(σ/√(kn)) Σ_o W_o z_{sp+o} over k offsets o, at each position p; of the input, ξ for z and d for n.

    If the positions do not share W, it is W_po.
    """

    parameter: Parameter
    windows: tuple[Window, ...]
    source: "Vector | Entries"
    shared: bool

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: the numbers of windows."""
        return tuple(window.count(size) for window, size in zip(self.windows, self.source.shape, strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class Bias(Gaussian):
    """σ b of a bias, one for each position if it has axes; or σ v of an output weight that is used as a vector."""

    parameter: Parameter
    axes: Shape = ()

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes."""
        return self.axes


@dataclass(frozen=True, eq=False, repr=False)
class Tap(Gaussian):
    """Zero. It is added to a watched vector, so that the gradient there can be taken."""

    name: str
    axes: Shape = ()

    @property
    def family(self) -> Family:
        """Its name. Inputs of another shape may have other positions."""
        return self.name, False

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of the watched vector."""
        return self.axes


@dataclass(frozen=True, eq=False, repr=False)
class Nonlin(Atom):
    """A coordinate-wise function of vectors and scalars."""

    function: "Function"
    args: "tuple[Vector | Scalar, ...]"

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of its arguments."""
        return next(arg.shape for arg in self.args if not isinstance(arg, Scalar))


MASK_COLUMNS = 4  # after the entries of an input: in limits of programs with dropout, the number of its masks


@dataclass(frozen=True, eq=False, repr=False)
class Dropped(Atom):
    """A vector times a random mask over the keep rate. Each input has masks of its own, at each position.

    Attributes:
        vector: The vector.
        keep: The probability that an entry of the mask is 1 and not 0.
        site: What tells its masks from those of other places of the program.
    """

    vector: "Vector"
    keep: Scalar
    site: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of the vector."""
        return self.vector.shape


@dataclass(frozen=True, eq=False, repr=False)
class BatchMean(Atom):
    """The mean of a vector over all inputs of the batch, coordinate by coordinate."""

    vector: "Vector"

    @property
    def shape(self) -> Shape:
        """The sizes of its position axes: those of the vector."""
        return self.vector.shape


class Rearranged(Atom):
    """A linear map of the positions of a field, coordinate by coordinate."""

    vector: "Vector"


@dataclass(frozen=True, eq=False, repr=False)
class Moved(Rearranged):
    """A linear map along one position axis: an index, padding, pooling."""

    map: AxisMap
    vector: "Vector"

    @property
    def shape(self) -> Shape:
        """The sizes of the position axes after the map."""
        return self.map.shape(self.vector.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Mixed(Rearranged):
    """Σ_q w_pq z_q over the last positions q of a field, for scalars w."""

    weights: Scalar
    vector: "Vector"

    @property
    def shape(self) -> Shape:
        """The sizes of the position axes: the last is that of p."""
        return (*self.vector.shape[:-1], self.weights.shape[-2])


@dataclass(frozen=True, eq=False, repr=False)
class Transposed(Rearranged):
    """The field with its position axes in another order: each place of `order` is that of the axis that comes there."""

    order: tuple[int, ...]
    vector: "Vector"

    @property
    def shape(self) -> Shape:
        """The sizes of the position axes in that order."""
        return tuple(self.vector.shape[axis] for axis in self.order)
