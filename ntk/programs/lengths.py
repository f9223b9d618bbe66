"""Inputs of different lengths: those of one length make a group, and a kernel is put together from blocks of groups."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ntk.checks import as_floating, check_finite, is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.inputs import check_lengths
from ntk.programs.results import Limits, ProgramKernels


class Group(NamedTuple):
    """The inputs of one length in a batch.

    Attributes:
        x: Them, without what lies beyond their length.
        places: Where they stand in the batch.
    """

    x: Float[Array, "n ..."]
    places: Int[np.ndarray, " n"]


Groups = list[Group]


def program_groups(
    x1: ArrayLike, x2: ArrayLike | None, lengths1: ArrayLike | None, lengths2: ArrayLike | None
) -> tuple[Groups, Groups | None]:
    """Two batches as groups, in one dtype. None for the second is the first again.

    Raises:
        TypeError: An array is not floating-point, or lengths are not integers.
        ValueError: A shape, a length or a value is not that of inputs.
    """
    groups1 = _groups("1", x1, lengths1)
    if x2 is None:
        if lengths2 is not None:
            raise ValueError("lengths2 is given without x2; expected lengths1 alone when there is one batch.")
        return groups1, None
    groups2 = _groups("2", x2, lengths2)
    shape1, shape2 = (groups[0].x.shape[1:] for groups in (groups1, groups2))
    if len(shape1) != len(shape2):
        raise ValueError(f"x2 has inputs of shape {shape2}; expected as many axes as in x1, {shape1}.")
    dtype = common_dtype(groups1[0].x, groups2[0].x)
    cast = ([group._replace(x=group.x.astype(dtype)) for group in groups] for groups in (groups1, groups2))
    return next(cast), next(cast)


def _groups(side: str, x: ArrayLike, lengths: ArrayLike | None) -> Groups:
    """The groups of one batch, the shortest inputs first; `side` is the suffix of the argument names."""
    name = f"x{side}"
    x = as_floating(name, x)
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}; expected (N, …), N inputs of at least one axis, none empty.")
    if lengths is None:
        check_finite(name, x)
        return [Group(x, np.arange(len(x)))]
    if not is_concrete(lengths):
        raise ValueError(
            f"lengths{side} is {shown(lengths)}; expected concrete integers: what is computed depends on them."
        )
    with jax.ensure_compile_time_eval():
        counts = np.asarray(check_lengths(f"lengths{side}", lengths, name, *x.shape[:2]))
    places = [np.flatnonzero(counts == count) for count in np.unique(counts)]
    # What lies beyond a length may be anything, NaN included.
    groups = [Group(x[rows][:, :count], rows) for rows, count in zip(places, np.unique(counts), strict=True)]
    for group in groups:
        check_finite(name, group.x)
    return groups


def pairs_of(groups1: Groups, groups2: Groups | None) -> list[tuple[Array, Array | None]]:
    """The pairs of groups of which the kernels are put together. None is a group with itself.

    Of one batch those below the diagonal are left out.
    """
    if groups2 is not None:
        return [(row.x, column.x) for row in groups1 for column in groups2]
    return [(row.x, None if row is column else column.x) for i, row in enumerate(groups1) for column in groups1[i:]]


def joined(kernels: Iterable[ProgramKernels], groups1: Groups, groups2: Groups | None) -> ProgramKernels:
    """The kernels of all inputs from those of `pairs_of`. Vectors that are not watched at all lengths are left out."""
    every = list(kernels)
    given = iter(every)
    columns = groups1 if groups2 is None else groups2
    blocks: list[list[ProgramKernels]] = []
    for i in range(len(groups1)):
        mirrored = [jax.tree.map(jnp.transpose, row[i]) for row in blocks] if groups2 is None else []
        blocks.append([*mirrored, *itertools.islice(given, len(columns) - len(mirrored))])
    names_C, names_D = _in_all([block.C for block in every]), _in_all([block.D for block in every])
    order1, order2 = (np.argsort(np.concatenate([group.places for group in groups])) for groups in (groups1, columns))

    def limits(block: ProgramKernels | Limits) -> Limits:
        C, D = {name: block.C[name] for name in names_C}, {name: block.D[name] for name in names_D}
        return Limits(block.ntk, block.nngp, C, D)

    def put(*leaves: Array) -> Array:
        each = iter(leaves)
        return jnp.block([[next(each) for _ in row] for row in blocks])[order1][:, order2]

    placed = [block for row in blocks for block in row]
    found = jax.tree.map(put, *map(limits, placed))
    error = jax.tree.map(put, *(limits(block.standard_error) for block in placed))
    samples = max(block.samples for block in every)
    joint = every[0].joint and len(every) == 1 if samples else True
    return ProgramKernels(
        **found._asdict(), standard_error=error, samples=samples, joint=joint, one_batch=groups2 is None
    )


def _in_all(found: list[dict[str, Array]]) -> list[str]:
    return [name for name in found[0] if all(name in each for each in found)]
