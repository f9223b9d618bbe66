"""Inputs of different lengths: those of one length make a group, and a kernel is put together from blocks of groups."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ntk.checks import is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.inputs import check_lengths
from ntk.programs.batches import as_inputs, as_read
from ntk.programs.language.positions import Shape
from ntk.programs.language.program import TensorProgram
from ntk.programs.results import Limits, ProgramKernels
from ntk.tiles import swapped


class Group(NamedTuple):
    """The inputs of one length in a batch.

    Attributes:
        x: Them, (n, *shape), without what lies beyond their length.
        places: Where they stand in the batch.
    """

    x: Array
    places: Int[np.ndarray, " n"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each input."""
        return self.x.shape[1:]


class Groups(NamedTuple):
    """Both sides of a kernel.

    Attributes:
        rows: The first batch.
        columns: The second batch. None if it is the first one again.
    """

    rows: list[Group]
    columns: list[Group] | None

    @property
    def every(self) -> list[Group]:
        """The groups of both batches."""
        return [*self.rows, *(self.columns or [])]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The blocks to compute, by the places of two of all groups. Of one batch those below the diagonal are not."""
        count = len(self.rows)
        if self.columns is None:
            return [(i, j) for i in range(count) for j in range(i, count)]
        return [(i, count + j) for i in range(count) for j in range(len(self.columns))]

    def two(self, i: int, j: int) -> tuple[Array, Array | None]:
        """The inputs of a block. None is the first side again."""
        every = self.every
        return every[i].x, None if i == j else every[j].x


def program_groups(
    program: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> Groups:
    """Two batches of a program as groups, in one dtype. None for the second is the first again.

    Raises:
        TypeError: An array is not floating-point, or of integers where the program reads tokens; or lengths are not
            integers.
        ValueError: A shape, a length or a value is not that of inputs.
    """
    rows = batch_groups(program, "1", x1, lengths1)
    if x2 is None:
        if lengths2 is not None:
            raise ValueError("lengths2 is given without x2; expected lengths1 alone when there is one batch.")
        return Groups(rows, None)
    columns = batch_groups(program, "2", x2, lengths2)
    if len(rows[0].shape) != len(columns[0].shape):
        raise ValueError(
            f"x2 has inputs of shape {columns[0].shape}; expected as many axes as in x1, whose inputs are"
            f" {rows[0].shape}."
        )
    dtype = common_dtype(rows[0].x, columns[0].x)
    sides = ([group._replace(x=group.x.astype(dtype)) for group in groups] for groups in (rows, columns))
    return Groups(*sides)


def batch_groups(program: TensorProgram, side: str, x: ArrayLike, lengths: ArrayLike | None) -> list[Group]:
    """The groups of one batch, the shortest inputs first; `side` is the suffix of the argument names."""
    name, of_lengths = f"x{side}", f"lengths{side}"
    x = as_inputs(name, x)
    if lengths is None:
        return [Group(as_read(program.record(x.shape[1:]), name, x), np.arange(len(x)))]
    if x.ndim < (2 if jnp.issubdtype(x.dtype, jnp.integer) else 3):  # tokens have no axis of entries
        raise ValueError(f"{of_lengths} is given for {name} of shape {x.shape}; expected (N, T, …), T positions each.")
    if not is_concrete(lengths):
        raise ValueError(f"{of_lengths} is {shown(lengths)}; expected concrete integers: shapes depend on them.")
    with jax.ensure_compile_time_eval():
        counts = np.asarray(check_lengths(of_lengths, lengths, name, *x.shape[:2]))
    places = {count: np.flatnonzero(counts == count) for count in np.unique(counts).tolist()}
    # What lies beyond a length may be anything, NaN included.
    parts = ((x[rows, :count], rows) for count, rows in places.items())
    return [Group(as_read(program.record(part.shape[1:]), name, part), rows) for part, rows in parts]


def check_one_shape(couples_inputs: bool, shapes: Iterable[Shape]) -> None:
    """Refuse inputs of several shapes for a program with batch means, which takes them as one batch."""
    different = list(dict.fromkeys(shapes))
    if couples_inputs and len(different) > 1:
        listed = " and ".join(map(str, different))
        raise ValueError(f"inputs have shapes {listed}; expected one shape for a program with batch means.")


def order_of(groups: Iterable[Group]) -> Int[np.ndarray, " N"]:
    """Where each input of a batch stands among those of its groups, one group after another."""
    return np.argsort(np.concatenate([group.places for group in groups]))


def joined(blocks: list[ProgramKernels], groups: Groups) -> ProgramKernels:
    """The kernels of all inputs from those of `groups.pairs`. Vectors that are not watched in all are left out."""
    if len(blocks) == 1:
        return blocks[0]
    found = dict(zip(groups.pairs, blocks, strict=True))
    count = len(groups.rows)
    columns = range(count) if groups.columns is None else range(count, count + len(groups.columns))
    order1, order2 = order_of(groups.rows), order_of(groups.columns or groups.rows)

    def put(*entries: Array) -> Array:
        most = tuple(map(max, *(entry.shape[2:] for entry in entries)))
        given = dict(zip(found, (_with_positions(entry, most) for entry in entries), strict=True))
        rows = [[given[i, j] if (i, j) in given else swapped(given[j, i]) for j in columns] for i in range(count)]
        return jnp.concatenate([jnp.concatenate(row, axis=1) for row in rows])[order1][:, order2]

    def limits(each: ProgramKernels | Limits) -> Limits:
        C, D = ({name: of[name] for name in names} for of, names in ((each.C, in_all_C), (each.D, in_all_D)))
        return Limits(each.ntk, each.nngp, C, D)

    in_all_C, in_all_D = _in_all([each.C for each in blocks]), _in_all([each.D for each in blocks])
    return ProgramKernels(
        **jax.tree.map(put, *map(limits, blocks))._asdict(),
        standard_error=jax.tree.map(put, *(limits(each.standard_error) for each in blocks)),
        samples=max(each.samples for each in blocks),
        joint=not any(each.samples for each in blocks),
        one_batch=groups.columns is None,
    )


def _with_positions(moments: Float[Array, "n1 n2 ..."], sizes: tuple[int, ...]) -> Float[Array, "n1 n2 ..."]:
    """Moments of a field, with zeros at the positions that it does not have."""
    return jnp.pad(
        moments, [(0, 0), (0, 0), *((0, size - have) for size, have in zip(sizes, moments.shape[2:], strict=True))]
    )


def _in_all(found: list[dict[str, Array]]) -> list[str]:
    return [name for name in found[0] if all(name in each for each in found)]
