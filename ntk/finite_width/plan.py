"""For every parameter of a function, the cheapest exact way to its part of the kernel."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from ntk.finite_width.contraction import OutputAxes, gradient, gradient_kernel, gram_kernel, parts_kernel
from ntk.finite_width.interpreter import Taps, Use
from ntk.finite_width.linear_ops import Lookup
from ntk.finite_width.reading import Reading, Side, directly, leaf_place

# What a step of a loop costs beside its products, in flops; and how large a part of a gradient may get.
STEP_FLOPS = 1e5
PART_BYTES = 2**26


@dataclass(frozen=True)
class Rule:
    """How one parameter's part of the kernel is computed.

    Attributes:
        leaf: Which parameter.
        name: "gram": products of operands times products of δ. "gradient": from a and δ, in parts.
            "jacobian": the gradient as the program's own backward pass forms it.
        groups: Places of the uses whose gradients add up; gradients of different groups have no entry in common.
        num_chunks: In how many chunks of operand entries a gradient is formed.
        flops: Multiplications and additions after the backward pass.
        bytes: The largest array in between.
    """

    leaf: int
    name: str
    groups: tuple[tuple[str, ...], ...]
    num_chunks: int
    flops: float
    bytes: float


def plan(
    reading: Reading, axes: OutputAxes, method: str, num1: int, num2: int | None
) -> tuple[Reading, list[Rule]]:
    """A rule for every trained parameter, for a tile of num1 by num2 inputs (None: by itself).

    Returns:
        The reading too, in which parameters for which the program's own gradient is best have become direct.
    """
    groups = {leaf: _groups(reading.uses, leaf) for leaf in reading.linear}
    better = {leaf for leaf, g in groups.items() if g is None or _rule(reading, axes, method, leaf, g, num1, num2) is None}
    reading = directly(reading, better)
    rules = [_rule(reading, axes, method, leaf, groups[leaf], num1, num2) for leaf in reading.linear]
    rules += [_jacobian_rule(reading, axes, leaf, num1, num2) for leaf in reading.direct]
    return reading, sorted(rules, key=lambda rule: rule.leaf)


def kernel_of(rule: Rule, reading: Reading, axes: OutputAxes, side1: Side, side2: Side | None) -> jax.Array:
    """One parameter's part of the kernel of two tiles of inputs (None: of the first with itself), (N1, N2, *kept)."""
    if rule.name == "jacobian":
        gradients = [_at_least_float32(side.gradients[leaf_place(rule.leaf)]) for side in (side1, side2 or side1)]
        return gradient_kernel(axes, *gradients)
    kernel = _gram if rule.name == "gram" else _gradient
    parts = [kernel(rule, [(p, reading.uses[p]) for p in group], axes, side1, side2) for group in rule.groups]
    return functools.reduce(jnp.add, parts)


def _gram(
    rule: Rule, group: list[tuple[str, Use]], axes: OutputAxes, side1: Side, side2: Side | None
) -> jax.Array:
    def both(side: Side) -> tuple[jax.Array, jax.Array]:
        lefts = [_arranged(use, 1, use.op.left, side.operands[place]) for place, use in group]
        return jnp.concatenate(lefts, axis=2), _right(group, axes, side)

    left_gram = _same_rows if isinstance(group[0][1].op, Lookup) else None
    return gram_kernel(axes, both(side1), None if side2 is None else both(side2), left_gram)


def _gradient(
    rule: Rule, group: list[tuple[str, Use]], axes: OutputAxes, side1: Side, side2: Side | None
) -> jax.Array:
    def part_of(side: Side):
        right = _right(group, axes, side)

        def part(number: jax.Array) -> jax.Array:
            point, chunk = number // rule.num_chunks, number % rule.num_chunks
            lefts = [
                _arranged(use, 1, functools.partial(use.op.seen, point=point), side.operands[place])
                for place, use in group
            ]
            return gradient(axes, _chunk(jnp.concatenate(lefts, axis=2), rule.num_chunks, chunk), right)

        return part

    num_parts = math.prod(group[0][1].op.window) * rule.num_chunks
    return parts_kernel(axes, num_parts, part_of(side1), None if side2 is None else part_of(side2))


def _chunk(left: jax.Array, num_chunks: int, number: jax.Array) -> jax.Array:
    """One of so many chunks of the last axis; the last one is filled up with zeros."""
    if num_chunks == 1:
        return left
    size = -(-left.shape[-1] // num_chunks)
    filled = jnp.pad(left, [(0, 0)] * (left.ndim - 1) + [(0, size * num_chunks - left.shape[-1])])
    return lax.dynamic_slice_in_dim(filled, number * size, size, axis=-1)


def _right(group: list[tuple[str, Use]], axes: OutputAxes, side: Side) -> jax.Array:
    """δ of all uses, (N, *outputs, B, S, Q)."""
    num_lead = 1 + len(axes.shape)
    rights = [_arranged(use, num_lead, use.op.right, side.gradients[use.tap]) for _, use in group]
    return jnp.concatenate(rights, axis=num_lead + 1)


def _arranged(use: Use, num_lead: int, read, x: jax.Array) -> jax.Array:
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
    lead = x.shape[:num_lead]
    num_products = math.prod(x.shape[num_lead : num_lead + len(paired) + 1])
    x = x.reshape(*lead, num_products, -1, x.shape[-1])
    return x if jnp.issubdtype(x.dtype, jnp.integer) else _at_least_float32(x)


def _at_least_float32(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _same_rows(rows1: jax.Array, rows2: jax.Array) -> jax.Array:
    """Products of one-hot vectors, given as row numbers (N, 1); negative ones are zero vectors."""
    return ((rows1 == rows2.T) & (rows1 >= 0)).astype(jnp.float32)


def _groups(uses: dict[str, Use], leaf: int) -> tuple[tuple[str, ...], ...] | None:
    """Uses of one layout together; None where two layouts are of the same entries in another order."""
    found: dict[tuple, list[str]] = {}
    for place, use in uses.items():
        if use.leaf == leaf:
            found.setdefault((use.steps, use.op, sum(use.paired)), []).append(place)
    steps = [key[0] for key in found]
    if not all(_disjoint(a, b) for i, a in enumerate(steps) for b in steps[:i]):
        return None
    return tuple(map(tuple, found.values()))


def _disjoint(steps1: tuple, steps2: tuple) -> bool:
    """Whether two views show different entries for sure: they part at slices that do not overlap."""
    for step1, step2 in zip(steps1, steps2, strict=False):
        if step1 != step2:
            if not (step1[0] == step2[0] == "slice" and step1[1] == step2[1]):
                return False
            (starts1, limits1), (starts2, limits2) = step1[2], step2[2]
            return any(
                limit1 <= start2 or limit2 <= start1
                for start1, limit1, start2, limit2 in zip(starts1, limits1, starts2, limits2, strict=True)
            )
    return False


def _rule(
    reading: Reading,
    axes: OutputAxes,
    method: str,
    leaf: int,
    groups: tuple[tuple[str, ...], ...],
    num1: int,
    num2: int | None,
) -> Rule | None:
    """The cheaper of the rules for linear uses; None where the program's own gradient is cheaper."""
    uses = [[reading.uses[place] for place in group] for group in groups]
    num_outputs, num_products = math.prod(axes.shape), axes.num_traced * math.prod(axes.kept)
    num_entries, num_sides = num1 * (num2 or num1), num1 + (num2 or 0)
    gram = by_gradient = part_size = gram_size = 0.0
    for group in uses:
        B, P, Q = group[0].op.sizes
        B *= math.prod(size for use in group[:1] for size, pair in zip(use.tap_shape.shape, use.paired, strict=False) if pair)
        S = sum(use.tap_shape.size for use in group) / (B * Q)
        products = 0 if isinstance(group[0].op, Lookup) else P
        steps = B * S * (S if num2 else (S + 1) / 2)
        gram += steps * 2 * num_entries * (products + num_products * Q) + (steps - 1) * STEP_FLOPS
        by_gradient += 2 * num_sides * num_outputs * B * S * P * Q + 2 * num_entries * num_products * B * P * Q
        gram_size = max(gram_size, num_sides * B * S * (P + num_outputs * Q))
        part_size = max(part_size, num_sides * num_outputs * B * P * Q / math.prod(group[0].op.window or (1,)))
    itemsize = 4
    if uses and isinstance(uses[0][0].op, Lookup):
        jacobian = _jacobian_rule(reading, axes, leaf, num1, num2)
        if method == "layerwise" or gram < jacobian.flops:
            return Rule(leaf, "gram", groups, 1, gram, gram_size * itemsize)
        return None
    if method == "layerwise" or gram <= by_gradient:
        return Rule(leaf, "gram", groups, 1, gram, gram_size * itemsize)
    num_chunks = max(1, math.ceil(part_size * itemsize / PART_BYTES))
    return Rule(leaf, "gradient", groups, num_chunks, by_gradient, part_size * itemsize / num_chunks)


def _jacobian_rule(reading: Reading, axes: OutputAxes, leaf: int, num1: int, num2: int | None) -> Rule:
    size = reading.leaves[leaf].size
    num_outputs, num_products = math.prod(axes.shape), axes.num_traced * math.prod(axes.kept)
    num_entries, num_sides = num1 * (num2 or num1), num1 + (num2 or 0)
    flops = 2 * num_entries * num_products * size + num_sides * num_outputs * size
    return Rule(leaf, "jacobian", (), 1, flops, num_sides * num_outputs * size * reading.leaves[leaf].dtype.itemsize)
