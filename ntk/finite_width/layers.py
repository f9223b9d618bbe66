"""The kernel of a family of parameters between two tiles of inputs, by its rule."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from ntk.finite_width.contraction import OutputAxes, gradient, gradient_kernel, gram_kernel, parts_kernel
from ntk.finite_width.interpreter import Use
from ntk.finite_width.linear_ops import Lookup
from ntk.finite_width.plan import Family
from ntk.finite_width.reading import Reading, Side, leaf_place


def family_kernel(family: Family, reading: Reading, axes: OutputAxes, side1: Side, side2: Side | None) -> jax.Array:
    """The part of all members of a family in the kernel (N1, N2, *kept); None for the first side with itself."""
    members = [[(place, reading.uses[place]) for place in places] for _, places in family.members]
    if family.rule == "jacobian":
        ((leaf, _),) = family.members
        gradients = [_at_least_float32(side.gradients[leaf_place(leaf)]) for side in (side1, side2 or side1)]
        return gradient_kernel(axes, *gradients)
    if family.rule == "gradient":
        return sum(_by_gradient(family.num_chunks, member, axes, side1, side2) for member in members)
    return _by_gram(members, axes, side1, side2)


Member = Sequence[tuple[str, Use]]  # the uses of one parameter, by their place


def _by_gram(members: Sequence[Member], axes: OutputAxes, side1: Side, side2: Side | None) -> jax.Array:
    def arrays(side: Side) -> list[jax.Array]:
        lefts = [
            jnp.concatenate([_arranged(use, 1, use.op.left, side.operands[place]) for place, use in member], axis=2)
            for member in members
        ]
        return [_right(members[0], axes, side), *lefts]

    products = [_same_rows if isinstance(member[0][1].op, Lookup) else _products for member in members]

    def left_gram(lefts1: Sequence[jax.Array], lefts2: Sequence[jax.Array]) -> jax.Array:
        return sum(product(a1, a2) for product, a1, a2 in zip(products, lefts1, lefts2, strict=True))

    return gram_kernel(axes, left_gram, arrays(side1), None if side2 is None else arrays(side2))


def _products(a1: jax.Array, a2: jax.Array) -> jax.Array:
    return jnp.matmul(a1, a2.T, precision=lax.Precision.HIGHEST)


def _same_rows(rows1: jax.Array, rows2: jax.Array) -> jax.Array:
    """Products of one-hot vectors, given as row numbers (N, 1); negative ones are zero vectors."""
    return ((rows1 == rows2.T) & (rows1 >= 0)).astype(jnp.float32)


def _by_gradient(num_chunks: int, member: Member, axes: OutputAxes, side1: Side, side2: Side | None) -> jax.Array:
    def part_of(side: Side) -> Callable[[jax.Array], jax.Array]:
        right = _right(member, axes, side)

        def part(number: jax.Array) -> jax.Array:
            point, chunk = number // num_chunks, number % num_chunks
            lefts = [
                _arranged(use, 1, lambda operand, op=use.op: op.seen(operand, point), side.operands[place])
                for place, use in member
            ]
            return gradient(axes, _chunk(jnp.concatenate(lefts, axis=2), num_chunks, chunk), right)

        return part

    num_parts = math.prod(member[0][1].op.window) * num_chunks
    return parts_kernel(axes, num_parts, part_of(side1), None if side2 is None else part_of(side2))


def _chunk(left: jax.Array, num_chunks: int, number: jax.Array) -> jax.Array:
    """One of so many chunks of the last axis; the last one is filled up with zeros."""
    if num_chunks == 1:
        return left
    size = -(-left.shape[-1] // num_chunks)
    filled = jnp.pad(left, [(0, 0)] * (left.ndim - 1) + [(0, size * num_chunks - left.shape[-1])])
    return lax.dynamic_slice_in_dim(filled, number * size, size, axis=-1)


def _right(member: Member, axes: OutputAxes, side: Side) -> jax.Array:
    """δ of all uses, (N, *outputs, B, S, Q)."""
    num_lead = 1 + len(axes.shape)
    rights = [_arranged(use, num_lead, use.op.right, side.gradients[use.tap]) for _, use in member]
    return jnp.concatenate(rights, axis=num_lead + 1)


def _arranged(use: Use, num_lead: int, read: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """x (lead, scans, …) read as (lead, B, S, features): a scan adds products where paired, positions where not."""
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
    return x if jnp.issubdtype(x.dtype, jnp.integer) else _at_least_float32(x)


def _at_least_float32(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
