"""Shared parts of benchmarks: compiled programs with their costs, timing in alternation, the name of the machine."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from experiments.common.environment import device
from ntk.linalg import highest_matmul


class Program(NamedTuple):
    """A compiled function and its arguments.

    Attributes:
        run: Calls the function once, waits for the result and returns it.
        compile_seconds: The time of tracing and compiling.
        peak_mib: The memory that XLA reserves for intermediate and final results. Arguments are not counted.
    """

    run: Callable[[], PyTree]
    compile_seconds: float
    peak_mib: float


def compile_program(f: Callable[..., PyTree], *arguments: PyTree) -> Program:
    """Compile f for these arguments.

    Example:
        >>> program = compile_program(lambda x: x + 1, jnp.zeros((256, 1024), jnp.float32))
        >>> program.run().shape, program.peak_mib
        ((256, 1024), 1.0)
    """
    start = time.perf_counter()
    compiled = jax.jit(f).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory: Any = compiled.memory_analysis()
    peak = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20
    return Program(lambda: jax.block_until_ready(compiled(*arguments)), seconds, peak)


def time_in_turns(
    programs: Mapping[str, Callable[[], PyTree]], *, budget_seconds: float, max_runs: int
) -> dict[str, list[float]]:
    """Seconds of every run of each program. Programs take turns, so a change in the machine's load affects them all.

    The first run of a program is a warm-up. It is left out, unless this run alone takes the whole budget.

    Args:
        programs: Functions without arguments that return when they are done.
        budget_seconds: A program that has used this time takes no further turns.
        max_runs: The largest number of turns of a program after its first one.

    Example:
        >>> runs = time_in_turns({"sum": lambda: sum(range(1000))}, budget_seconds=1.0, max_runs=5)
        >>> len(runs["sum"])
        5
    """
    runs: dict[str, list[float]] = {name: [] for name in programs}
    waiting = list(programs)
    while waiting:
        for name in waiting:
            start = time.perf_counter()
            programs[name]()
            runs[name].append(time.perf_counter() - start)
        waiting = [name for name in waiting if sum(runs[name]) < budget_seconds and len(runs[name]) <= max_runs]
    return {name: seconds[1:] or seconds for name, seconds in runs.items()}


def spread(seconds: Sequence[float]) -> float:
    """The spread of runs: the distance of their quartiles, divided by their median; 0 for a single run.

    Example:
        >>> spread([1.0, 1.0, 1.0, 1.0]), spread([2.0])
        (0.0, 0.0)
    """
    if len(seconds) < 2:
        return 0.0
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return (high - low) / median


def matrix_product(size: int = 512) -> tuple[Program, float]:
    """A float32 product of square matrices at highest precision, and its floating-point operations.

    A program of large products cannot be faster than this rate.
    """
    x = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    return compile_program(highest_matmul, x, x), 2.0 * size**3


def machine() -> str:
    """The device, the cores that this process may use, and the version of JAX.

    Example:
        >>> machine().endswith(f"JAX {jax.__version__}")
        True
    """
    return f"{device()}, JAX {jax.__version__}"
