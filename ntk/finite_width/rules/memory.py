"""How many inputs to a tile: an estimate of what one of them takes, against the memory there is."""

import math
import os
from typing import Any

import jax

from ntk.finite_width.rules.reading import Reading

# Of the memory of the device, so much is left to the kernel's tiles.
SHARE = 0.25


def bytes_per_input(reading: Reading) -> int:
    """An estimate from above of what one input takes: all values of the forward pass, and δ for every output.

    Values of a scan count once a step. XLA reuses memory, so that less is used.
    """
    forward = _bytes_of_values(reading.program.jaxpr)
    kept = sum(_bytes(use.tap_shape) for use in reading.uses.values())
    kept += sum(_bytes(jax.typeof(reading.leaves[i])) for i in reading.direct)
    return 2 * (forward + reading.output.size * (kept + _largest_value(reading.program.jaxpr)))


def largest_batch(reading: Reading, num1: int, num2: int) -> int:
    """The largest number of inputs of either side whose tile is within the share of memory."""
    size = int(SHARE * _device_memory() / (2 * bytes_per_input(reading)))
    return max(1, min(size, max(num1, num2)))


def _device_memory() -> int:
    """Bytes of memory of the first device, of the machine where the device has none of its own."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _bytes_of_values(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        inner = [_bytes_of_values(program) for program in _inner_programs(equation)]
        total += equation.params.get("length", 1) * sum(inner) + sum(_bytes(v.aval) for v in equation.outvars)
    return total


def _largest_value(jaxpr: Any) -> int:
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [_bytes(v.aval) for v in equation.outvars]
        sizes += [_largest_value(program) for program in _inner_programs(equation)]
    return max(sizes)


def _inner_programs(equation: Any) -> list[Any]:
    """The programs among the parameters of an equation: bodies of loops, branches, functions."""
    found = []
    for value in equation.params.values():
        for program in value if isinstance(value, tuple) else (value,):
            program = getattr(program, "jaxpr", program)
            if hasattr(program, "eqns"):
                found.append(program)
    return found


def _bytes(aval: Any) -> int:
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    return math.prod(shape) * getattr(dtype, "itemsize", 8)
