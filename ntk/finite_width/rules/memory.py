"""How many inputs a tile has, by an estimate of the memory for one of them."""

import math

from jaxtyping import PyTree

from ntk.dtypes import wide
from ntk.finite_width.rules.linear_ops import Lookup
from ntk.finite_width.rules.reading import Reading
from ntk.finite_width.rules.uses import Use
from ntk.jaxprs import equations
from ntk.tiles import device_memory

# The share of the device's memory that the tiles of a kernel may take.
SHARE = 0.25


def bytes_per_input(reading: Reading) -> int:
    """An estimate from above of the memory for one input: all values of the forward pass, and a and δ of every use.

    Values of a scan count once for each step. XLA reuses memory, and takes less.
    """
    values = [(_bytes(v.aval), times) for equation, times in equations(reading.program.jaxpr) for v in equation.outvars]
    forward = sum(size * times for size, times in values)
    largest = max((size for size, _ in values), default=0)
    kept = sum(_bytes(use.tap_shape) for use in reading.uses.values())
    kept += sum(_bytes(reading.leaves[i]) for i in reading.direct)
    operands = sum(_operand_bytes(use) for use in reading.uses.values())
    return 2 * (forward + operands + reading.output.size * (kept + largest))


def _operand_bytes(use: Use) -> int:
    """The memory of the operand as (B, S, P): patches of a convolution are many times as large as the image."""
    if isinstance(use.op, Lookup):
        return _bytes(use.operand)
    B, P, Q = use.op.sizes
    positions = math.prod(use.tap_shape.shape) // (B * Q)
    return B * positions * P // use.op.num_parts * wide(use.operand.dtype).itemsize


def largest_batch(reading: Reading, num1: int, num2: int) -> int:
    """The largest number of inputs of either side whose tile is within the share of memory."""
    size = int(SHARE * device_memory() / (2 * bytes_per_input(reading)))
    return max(1, min(size, max(num1, num2)))


def _bytes(aval: PyTree) -> int:
    """The memory of one array: 8 bytes for an entry whose dtype has no size, such as a random key."""
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    return math.prod(shape) * getattr(dtype, "itemsize", 8)
