"""The empirical NTK of one network, by `ntk.empirical_ntk` and by two implementations of neural-tangents."""

from typing import NamedTuple

import jax
from ml_collections import ConfigDict

import ntk
from experiments.benchmarks.comparison import largest_difference, record_of, run_in_turns
from experiments.benchmarks.networks import KINDS, Workload
from experiments.benchmarks.timing import compile_program, matrix_product
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
    references: list[jax.Array] = []
    with jax.default_matmul_precision("highest"):
        programs = {name: compile_program(function, params, x) for name, function in functions.items()}
        runnable = [name for name in programs if name == "ours" or programs[name].peak_mib <= 1024 * memory_gib]
        if runnable == ["ours"]:
            references.append(compile_program(functions["neural_tangents_2"], params, x[:NUM_CHECKED]).run())
    turns = {name: programs[name] for name in runnable}
    product, operations = matrix_product()
    if product_flops is not None:
        turns["matrix_product"] = product
    measured = run_in_turns(turns, budget_seconds=budget_seconds, max_runs=max_runs)
    found: Record = {
        name: record_of(program, measured[name].seconds if name in measured else [])
        for name, program in programs.items()
    }
    references += [measured[name].result for name in runnable if name != "ours"]
    found["difference"] = largest_difference(measured["ours"].result, references, TOLERANCE)
    if product_flops is not None:
        # The fastest runs are compared. In others the load of other processes would distort the ratio.
        rate = operations / min(measured["matrix_product"].seconds)
        found["gemm_fraction"] = product_flops / rate / min(measured["ours"].seconds)
    return found
