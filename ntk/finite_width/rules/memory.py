"""How many inputs a tile has: an estimate of the memory for one of them, and of the memory there is."""

import math
import os
from pathlib import Path

import jax
from jaxtyping import PyTree

from ntk.dtypes import wide
from ntk.finite_width.rules.linear_ops import Lookup
from ntk.finite_width.rules.reading import Reading
from ntk.finite_width.rules.uses import Use
from ntk.jaxprs import equations

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
    size = int(SHARE * _device_memory() / (2 * bytes_per_input(reading)))
    return max(1, min(size, max(num1, num2)))


def _device_memory() -> int:
    """Bytes of memory of the first device. A device without its own has what this process may use of the machine's."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _limits_of_control_groups():
        if file.exists() and (text := file.read_text(encoding="utf-8").strip()) != "max":
            limits.append(int(text))
    return min(limits)


def _limits_of_control_groups() -> list[Path]:
    """Where Linux keeps the memory limits of this process's groups, such as those of a job or a container."""
    root, own = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
    lines = own.read_text(encoding="utf-8").splitlines() if own.exists() else []
    groups = [root / line.split("::/", 1)[1] for line in lines if line.startswith("0::/")]
    folders = [folder for group in groups or [root] for folder in (group, *group.parents)]
    return [folder / "memory.max" for folder in folders if folder.is_relative_to(root)]


def _bytes(aval: PyTree) -> int:
    """The memory of one array: 8 bytes for an entry whose dtype has no size, such as a random key."""
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    return math.prod(shape) * getattr(dtype, "itemsize", 8)
