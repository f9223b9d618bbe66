"""Several compiled programs for one kernel: they run in turns, and their results must agree."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from experiments.benchmarks.timing import Program, time_in_turns
from experiments.common.metrics import Record


class Measured(NamedTuple):
    """The runs of a program: the seconds of each run, and the last result."""

    seconds: list[float]
    result: PyTree


def run_in_turns(programs: Mapping[str, Program], *, budget_seconds: float, max_runs: int) -> dict[str, Measured]:
    """Run the programs in turns (see `time_in_turns`).

    Example:
        >>> import jax.numpy as jnp
        >>> from experiments.benchmarks.timing import compile_program
        >>> programs = {"double": compile_program(lambda x: 2 * x, jnp.float32(3.0))}
        >>> found = run_in_turns(programs, budget_seconds=1.0, max_runs=2)["double"]
        >>> len(found.seconds), float(found.result)
        (2, 6.0)
    """
    results: dict[str, PyTree] = {}

    def run(name: str) -> None:
        results[name] = programs[name].run()

    turns: dict[str, Callable[[], PyTree]] = {name: functools.partial(run, name) for name in programs}
    seconds = time_in_turns(turns, budget_seconds=budget_seconds, max_runs=max_runs)
    return {name: Measured(times, results[name]) for name, times in seconds.items()}


def record_of(program: Program, seconds: list[float]) -> Record:
    """The record of a program in metrics.jsonl. Its list of seconds is empty if it was compiled but not run."""
    return {"seconds": seconds, "compile_seconds": program.compile_seconds, "peak_mib": program.peak_mib}


def largest_difference(ours: ArrayLike, references: Sequence[ArrayLike], tolerance: float) -> float:
    """The largest difference from a reference, divided by its largest entry. A reference may have fewer inputs.

    Raises:
        ArithmeticError: It exceeds the tolerance.

    Example:
        >>> largest_difference(np.array([[2.0]]), [np.array([[4.0]])], tolerance=0.1)
        Traceback (most recent call last):
        ...
        ArithmeticError: the kernels differ by 0.5 of their largest entry; expected 0.1.
    """
    kernel = np.asarray(ours, np.float64)

    def from_one(reference: np.ndarray) -> float:
        return float(np.abs(kernel[: len(reference), : len(reference)] - reference).max() / np.abs(reference).max())

    # NumPy's maximum is NaN if one of the numbers is.
    difference = float(np.max([from_one(np.asarray(each, np.float64)) for each in references]))
    if not difference <= tolerance:
        raise ArithmeticError(f"the kernels differ by {difference:.2g} of their largest entry; expected {tolerance:g}.")
    return difference
