"""The cheapest exact rule for every parameter's part of the kernel."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ntk.finite_width.rules.axes import OutputAxes
from ntk.finite_width.rules.linear_ops import Convolution, Lookup
from ntk.finite_width.rules.reading import Reading, directly
from ntk.finite_width.rules.uses import Step, Use

# The cost of a step of a loop beside its products, in flops.
STEP_FLOPS = 1e5
# The largest size of a part of a gradient, in bytes.
PART_BYTES = 2**26
# The patches of a convolution are worth forming if they are multiplied by at least this many columns of δ. XLA's own
# gradient of a kernel forms no patches. (On a CPU in float64 its time is quadratic in the number of inputs.)
PATCH_COLUMNS = 32


class Family(NamedTuple):
    """Parameters that are used at the same places of the program, such as weight and bias of a layer, and their rule.

    Attributes:
        rule: "gram": products of operands times products of δ. "gradient": the gradient from a and δ, in parts.
            "jacobian": the gradient as the program's own backward pass forms it.
        members: Each parameter, with the places of its uses. A parameter may be in several families, with parts that
            have no entry in common.
        num_chunks: The number of chunks of operand entries in which a gradient is formed.
        flops: Multiplications and additions after the backward pass.
        bytes: Bytes of memory beside the operands and δ.
    """

    rule: str
    members: tuple[tuple[int, tuple[str, ...]], ...]
    num_chunks: int
    flops: float
    bytes: float


@dataclass(frozen=True)
class Tile:
    """Sizes of the kernel that is planned.

    Attributes:
        num1: Inputs of the first side.
        num2: Inputs of the second side. None means the first side itself.
        axes: The outputs.
    """

    num1: int
    num2: int | None
    axes: OutputAxes

    @property
    def num_inputs(self) -> int:
        """Inputs of both sides."""
        return self.num1 + (self.num2 or 0)

    @property
    def num_pairs(self) -> int:
        """Pairs of inputs."""
        return self.num1 * (self.num2 or self.num1)

    @property
    def num_outputs(self) -> int:
        """Outputs of one input."""
        return math.prod(self.axes.shape)

    @property
    def num_products(self) -> int:
        """Pairs of outputs of one pair of inputs."""
        return self.axes.num_traced * math.prod(self.axes.kept)


def plan(reading: Reading, tile: Tile, method: str) -> tuple[Reading, list[Family]]:
    """The families of all trained parameters, each with the cheapest rule that `method` allows.

    Args:
        reading: The function.
        tile: Sizes of the kernel.
        method: "auto", "layerwise" or "jacobian".

    Returns:
        The reading and the families. In the reading, a parameter is direct if the program's own backward pass forms its
        gradient at the lowest cost.
    """
    while True:
        everything = {leaf: _groups(reading.uses, leaf) for leaf in reading.linear}
        better = {
            leaf
            for leaf, groups in everything.items()
            if not _apart(reading.uses, groups) or (method == "auto" and _better_directly(reading, tile, leaf, groups))
        }
        if not better:
            break
        reading = directly(reading, better)
    by_taps: dict[tuple[Hashable, ...], list[tuple[int, tuple[str, ...]]]] = {}
    for leaf in sorted(reading.linear):
        for group in everything[leaf]:
            uses = [reading.uses[place] for place in group]
            key = tuple((use.tap, use.paired, use.op.layout(_inner_shape(use))) for use in uses)
            by_taps.setdefault(key, []).append((leaf, group))
    families = [_family(reading, tile, method, tuple(members)) for members in by_taps.values()]
    return reading, families + [_direct_family(reading, tile, leaf) for leaf in sorted(reading.direct)]


def _family(reading: Reading, tile: Tile, method: str, members: tuple[tuple[int, tuple[str, ...]], ...]) -> Family:
    groups = [[reading.uses[place] for place in places] for _, places in members]
    by_gram, by_gradient, itemsize = _gram_flops(tile, groups), sum(_gradient_flops(tile, g) for g in groups), 4
    largest = 0.0
    for group in groups:
        B, _, P, Q = _sizes(group)
        largest = max(largest, tile.num_inputs * tile.num_outputs * B * P * Q / group[0].op.num_parts)
    has_lookup = any(isinstance(group[0].op, Lookup) for group in groups)
    if method == "layerwise" or has_lookup or by_gram <= by_gradient:
        return Family("gram", members, 1, by_gram, itemsize * tile.num_pairs * math.prod(tile.axes.kept))
    num_chunks = max(1, math.ceil(largest * itemsize / PART_BYTES))
    return Family("gradient", members, num_chunks, by_gradient, largest * itemsize / num_chunks)


def _gram_flops(tile: Tile, groups: Sequence[Sequence[Use]]) -> float:
    """Operations for Gram matrices of the operands of some parameters, and of the δ that they share."""
    B, S, _, Q = _sizes(groups[0])
    steps = B * S * (S if tile.num2 else (S + 1) / 2)
    entries = sum(0 if isinstance(group[0].op, Lookup) else _sizes(group)[2] for group in groups)
    return steps * 2.0 * tile.num_pairs * (entries + tile.num_products * Q) + (steps - 1) * STEP_FLOPS


def _gradient_flops(tile: Tile, group: Sequence[Use]) -> float:
    """Operations for gradients from operands and δ, and for their products."""
    B, S, P, Q = _sizes(group)
    return 2.0 * B * P * Q * (tile.num_inputs * tile.num_outputs * S + tile.num_pairs * tile.num_products)


def _direct_family(reading: Reading, tile: Tile, leaf: int) -> Family:
    gradient = reading.leaves[leaf].size * tile.num_inputs * tile.num_outputs
    flops = 2.0 * tile.num_pairs * tile.num_products * reading.leaves[leaf].size
    return Family("jacobian", ((leaf, ()),), 1, flops, gradient * reading.leaves[leaf].dtype.itemsize)


def _better_directly(reading: Reading, tile: Tile, leaf: int, groups: Sequence[Sequence[str]]) -> bool:
    """Whether the gradient by the program's own backward pass costs less than any rule on operands and δ."""
    uses = [[reading.uses[place] for place in group] for group in groups]
    by_gram = sum(_gram_flops(tile, [group]) for group in uses)
    if any(isinstance(group[0].op, Lookup) for group in uses):
        # Rows may be looked up so often that there are more pairs of lookups than rows.
        return _direct_family(reading, tile, leaf).flops < by_gram
    narrow = any(isinstance(g[0].op, Convolution) and tile.num_outputs * _sizes(g)[3] < PATCH_COLUMNS for g in uses)
    narrow = narrow and reading.leaves[leaf].dtype.itemsize <= 4
    return narrow and sum(_gradient_flops(tile, group) for group in uses) < by_gram


def _sizes(group: Sequence[Use]) -> tuple[int, int, int, int]:
    """B, S, P and Q of all uses of one layout, including their scans."""
    B, P, Q = group[0].op.sizes
    for size, paired in zip(group[0].tap_shape.shape, group[0].paired, strict=False):
        B *= size if paired else 1
    return B, sum(math.prod(use.tap_shape.shape) for use in group) // (B * Q), P, Q


def _inner_shape(use: Use) -> tuple[int, ...]:
    """The shape of y without the axes of scans."""
    return use.tap_shape.shape[len(use.paired) :]


def _groups(uses: dict[str, Use], leaf: int) -> tuple[tuple[str, ...], ...]:
    """The uses of a parameter, grouped by layout."""
    found: dict[tuple[Hashable, ...], list[str]] = {}
    for place, use in uses.items():
        if use.leaf == leaf:
            found.setdefault((use.steps, use.op.matrix, sum(use.paired)), []).append(place)
    return tuple(map(tuple, found.values()))


def _apart(uses: dict[str, Use], groups: tuple[tuple[str, ...], ...]) -> bool:
    """Whether any two groups of uses read different entries of the parameter."""
    steps = [uses[group[0]].steps for group in groups]
    return all(_disjoint(a, b) for i, a in enumerate(steps) for b in steps[:i])


def _disjoint(steps1: tuple[Step, ...], steps2: tuple[Step, ...]) -> bool:
    """Whether two views certainly show different entries: they differ at slices that do not overlap."""
    for step1, step2 in zip(steps1, steps2, strict=False):
        if step1 != step2:
            if not (step1.name == step2.name == "slice" and step1.shape == step2.shape):
                return False
            bounds = zip(*step1.bounds, *step2.bounds, strict=True)
            return any(limit1 <= start2 or limit2 <= start1 for start1, limit1, start2, limit2 in bounds)
    return False
