"""The empirical NTK of one network, by `ntk.empirical_ntk` and by two implementations of neural-tangents."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from ml_collections import ConfigDict

import ntk
from experiments.benchmarks.networks import KINDS, Workload
from experiments.benchmarks.timing import compile_program, matrix_product, time_in_turns
from experiments.common.metrics import Record

# Both libraries compute in float32, in different orders.
TOLERANCE = 1e-4
# If neural-tangents does not fit into memory, the kernels are compared on this many inputs.
NUM_CHECKED = 4


class Cell(NamedTuple):
    """One network of the benchmark: the arguments of `build_workload`."""

    kind: str
    width: int
    num_inputs: int
    outputs: int


def cells(config: ConfigDict) -> list[Cell]:
    """Every network of the config with each of its widths, numbers of inputs, and outputs.

    Example:
        >>> config = ConfigDict({"networks": {"mlp": {"widths": (8, 16), "num_inputs": (4,)}}, "outputs": (1,)})
        >>> [cell.width for cell in cells(config)]
        [8, 16]
    """
    return [
        Cell(kind, width, num_inputs, outputs)
        for kind in KINDS
        if kind in config.networks
        for width in config.networks[kind].widths
        for num_inputs in config.networks[kind].num_inputs
        for outputs in config.outputs
    ]


def measure(workload: Workload, *, budget_seconds: float, max_runs: int, memory_gib: float) -> Record:
    """Time, compile time and memory of all three programs, and the distance between their kernels.

    Args:
        workload: The network.
        budget_seconds: Time for the runs of each program. Every program runs at least once.
        max_runs: The most runs of each program.
        memory_gib: An implementation of neural-tangents that needs more is compiled but not run.

    Raises:
        ArithmeticError: The kernels do not agree.
    """
    f, params, x, product_flops = workload
    empirical_ntk_fn = ntk.load_neural_tangents().empirical_ntk_fn
    reference1, reference2 = (
        empirical_ntk_fn(f, trace_axes=(-1,), vmap_axes=0, implementation=implementation) for implementation in (1, 2)
    )
    functions = {
        "ours": lambda params, x: ntk.empirical_ntk(f, params, x),
        "neural_tangents_1": lambda params, x: reference1(x, None, params),
        "neural_tangents_2": lambda params, x: reference2(x, None, params),
    }
    kernels: dict[str, jax.Array] = {}
    with jax.default_matmul_precision("highest"):
        programs = {name: compile_program(function, params, x) for name, function in functions.items()}
        runnable = [name for name in programs if name == "ours" or programs[name].peak_mib <= 1024 * memory_gib]
        if runnable == ["ours"]:
            kernels["first_inputs"] = compile_program(functions["neural_tangents_2"], params, x[:NUM_CHECKED]).run()

    def run(name: str) -> None:
        kernels[name] = programs[name].run()

    turns: dict[str, Callable[[], PyTree]] = {name: functools.partial(run, name) for name in runnable}
    product, operations = matrix_product()
    if product_flops is not None:
        turns["matrix_product"] = product.run
    seconds = time_in_turns(turns, budget_seconds=budget_seconds, max_runs=max_runs)
    found: Record = {
        name: {
            "seconds": seconds.get(name, []),
            "compile_seconds": program.compile_seconds,
            "peak_mib": program.peak_mib,
        }
        for name, program in programs.items()
    }
    found["difference"] = _difference(kernels.pop("ours"), list(kernels.values()))
    if product_flops is not None:
        # The fastest run of each: the load of other processes is not the same in both, and would distort the ratio.
        rate = operations / min(seconds["matrix_product"])
        found["gemm_fraction"] = product_flops / rate / min(seconds["ours"])
    return found


def _difference(ours: jax.Array, references: list[jax.Array]) -> float:
    """The largest difference from a reference, divided by its largest entry. It may hold the first inputs only."""

    def from_one(kernel: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(ours[: len(kernel), : len(kernel)] - kernel)) / jnp.max(jnp.abs(kernel))

    difference = float(jnp.max(jnp.array([from_one(kernel) for kernel in references])))
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"the kernels differ by {difference:.2g} of their largest entry; expected {TOLERANCE:g}.")
    return difference
