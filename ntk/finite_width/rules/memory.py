"""How many inputs to a tile: an estimate of what one of them takes, against the memory there is."""

import math
import os
from pathlib import Path
from typing import Any

import jax

from ntk.finite_width.rules.equations import equations
from ntk.finite_width.rules.reading import Reading

# Of the memory of the device, so much is left to the kernel's tiles.
SHARE = 0.25


def bytes_per_input(reading: Reading) -> int:
    """An estimate from above of what one input takes: all values of the forward pass, and δ for every output.

    Values of a scan count once a step. XLA reuses memory, so that less is used.
    """
    values = [(_bytes(v.aval), times) for equation, times in equations(reading.program.jaxpr) for v in equation.outvars]
    forward = sum(size * times for size, times in values)
    largest = max((size for size, _ in values), default=0)
    kept = sum(_bytes(use.tap_shape) for use in reading.uses.values())
    kept += sum(_bytes(jax.typeof(reading.leaves[i])) for i in reading.direct)
    return 2 * (forward + reading.output.size * (kept + largest))


def largest_batch(reading: Reading, num1: int, num2: int) -> int:
    """The largest number of inputs of either side whose tile is within the share of memory."""
    size = int(SHARE * _device_memory() / (2 * bytes_per_input(reading)))
    return max(1, min(size, max(num1, num2)))


def _device_memory() -> int:
    """Bytes of memory of the first device; where it has none of its own, what this process may use of the machine's."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    container = Path("/sys/fs/cgroup/memory.max")
    if container.exists() and (text := container.read_text(encoding="utf-8").strip()) != "max":
        limits.append(int(text))
    return min(limits)


def _bytes(aval: Any) -> int:
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    return math.prod(shape) * getattr(dtype, "itemsize", 8)
