"""The kernel of a family of parameters between two tiles of inputs, by its rule."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer, Num

from ntk.dtypes import at_least_float32, of_one_dtype
from ntk.finite_width.rules.axes import OutputAxes
from ntk.finite_width.rules.contraction import gradients, gram_kernel, parts_kernel
from ntk.finite_width.rules.linear_ops import Convolution, LinearOp, Lookup
from ntk.finite_width.rules.plan import Family
from ntk.finite_width.rules.reading import Reading, Side, leaf_place
from ntk.finite_width.rules.uses import Use
from ntk.linalg import highest_matmul

ReadSide = tuple[Reading, Side]
Member = Sequence[str]  # the places of the uses of one parameter


def family_kernel(
    family: Family, axes: OutputAxes, side1: ReadSide, side2: ReadSide | None
) -> Float[Array, "N1 N2 *kept"]:
    """The part of all members of a family in the kernel.

    Args:
        family: Parameters, and their rule.
        axes: The outputs.
        side1: The first side.
        side2: The second side. None means the first side.
    """
    if family.rule == "jacobian":
        place = leaf_place(family.members[0][0])
        gradient1, gradient2 = (at_least_float32(side.gradients[place]) for _, side in (side1, side2 or side1))
        return axes.gram(gradient1, gradient2)
    members = [places for _, places in family.members]
    if family.rule == "gram":
        return _by_gram(members, axes, side1, side2)
    parts = [_by_gradient(family.num_chunks, member, axes, side1, side2) for member in members]
    return functools.reduce(jnp.add, parts)


def _by_gram(
    members: Sequence[Member], axes: OutputAxes, side1: ReadSide, side2: ReadSide | None
) -> Float[Array, "N1 N2 *kept"]:
    def arrays(side: ReadSide) -> list[Array]:
        return [_right(members[0], axes, side), *(_left(member, side, lambda op: op.left) for member in members)]

    uses = side1[0].uses
    products = [_same_rows if isinstance(uses[member[0]].op, Lookup) else _products for member in members]

    def left_gram(lefts1: Sequence[Array], lefts2: Sequence[Array]) -> Float[Array, "M1 M2"]:
        grams = [product(a1, a2) for product, a1, a2 in zip(products, lefts1, lefts2, strict=True)]
        return functools.reduce(jnp.add, of_one_dtype(*grams))

    return gram_kernel(axes, left_gram, arrays(side1), None if side2 is None else arrays(side2))


def _products(a1: Float[Array, "M1 P"], a2: Float[Array, "M2 P"]) -> Float[Array, "M1 M2"]:
    return highest_matmul(a1, a2.T)


def _same_rows(rows1: Integer[Array, "M1 1"], rows2: Integer[Array, "M2 1"]) -> Float[Array, "M1 M2"]:
    """Products of one-hot vectors, given as row numbers. A negative number stands for a zero vector."""
    return ((rows1 == rows2.T) & (rows1 >= 0)).astype(jnp.float32)


def _by_gradient(
    num_chunks: int, member: Member, axes: OutputAxes, side1: ReadSide, side2: ReadSide | None
) -> Float[Array, "N1 N2 *kept"]:
    op = side1[0].uses[member[0]].op
    if op.sizes[1] == 1:  # a sum over positions, as for a bias, needs no axis to be moved
        sums = [_sum_over_positions(member, axes, side) for side in (side1, side2 or side1)]
        return axes.gram(sums[0], sums[1])

    def parts_of(side: ReadSide) -> Callable[[Array], Array]:
        gradient = gradients(_right(member, axes, side))

        def part(number: Integer[Array, ""]) -> Float[Array, "N B P *outputs Q"]:
            columns = _left(member, side, lambda op: _columns(op, number // num_chunks))
            return gradient(_chunk(columns, num_chunks, number % num_chunks))

        return part

    num_parts = op.num_parts * num_chunks
    return parts_kernel(axes, num_parts, parts_of(side1), None if side2 is None else parts_of(side2))


def _columns(op: LinearOp, part: Integer[Array, ""]) -> Callable[[Array], Array]:
    """The function that reads one part of an operand's columns. Only convolutions have several parts."""
    return functools.partial(op.part, number=part) if isinstance(op, Convolution) and op.num_parts > 1 else op.left


def _sum_over_positions(member: Member, axes: OutputAxes, side: ReadSide) -> Float[Array, "N *outputs B Q"]:
    """Gradients Σ_s a_s δ_s with one number a_s at each position."""
    left = _left(member, side, lambda op: op.left)
    left = left.reshape(len(left), *(1 for _ in axes.shape), *left.shape[1:])
    return jnp.sum(jnp.multiply(*of_one_dtype(left, _right(member, axes, side))), axis=-2)


def _chunk(left: Float[Array, "N B S P"], num_chunks: int, number: Integer[Array, ""]) -> Float[Array, "N B S p"]:
    """One of several chunks of the last axis. Zeros fill up the last chunk."""
    if num_chunks == 1:
        return left
    size = -(-left.shape[-1] // num_chunks)
    filled = jnp.pad(left, [(0, 0)] * (left.ndim - 1) + [(0, size * num_chunks - left.shape[-1])])
    return lax.dynamic_slice_in_dim(filled, number * size, size, axis=-1)


def _left(
    member: Member, side: ReadSide, reader: Callable[[LinearOp], Callable[[Array], Array]]
) -> Num[Array, "N B S P"]:
    """The operands of all uses, as `reader` of their operation reads them."""
    reading, (_, operands, _) = side
    uses = [(reading.uses[place], operands[place]) for place in member]
    return jnp.concatenate([_arranged(use, 1, reader(use.op), operand) for use, operand in uses], axis=2)


def _right(member: Member, axes: OutputAxes, side: ReadSide) -> Float[Array, "N *outputs B S Q"]:
    """δ of all uses."""
    reading, (_, _, gradients) = side
    num_lead = 1 + len(axes.shape)
    uses = [reading.uses[place] for place in member]
    rights = [_arranged(use, num_lead, use.op.right, gradients[use.tap]) for use in uses]
    return jnp.concatenate(rights, axis=num_lead + 1)


def _arranged(
    use: Use, num_lead: int, read: Callable[[Array], Array], x: Num[Array, "..."]
) -> Num[Array, "*lead B S features"]:
    """An array (lead, scans, …) as (lead, B, S, features). A scan adds to B if it is paired, and to S if it is not."""
    num_scans = len(use.paired)
    for _ in range(num_lead + num_scans):
        read = jax.vmap(read)
    x = read(x)
    scans = range(num_lead, num_lead + num_scans)
    paired = [axis for axis, pair in zip(scans, use.paired, strict=True) if pair]
    summed = [axis for axis, pair in zip(scans, use.paired, strict=True) if not pair]
    B, S, features = range(num_lead + num_scans, x.ndim)
    x = jnp.transpose(x, [*range(num_lead), *paired, B, *summed, S, features])
    num_products = math.prod(x.shape[num_lead : num_lead + len(paired) + 1])
    x = x.reshape(*x.shape[:num_lead], num_products, -1, x.shape[-1])
    return x if jnp.issubdtype(x.dtype, jnp.integer) else at_least_float32(x)
