"""The empirical NTK against neural-tangents, implementations 1 (Jacobian contraction) and 2 (NTK-vector products).

Every network of the config is timed here and there in one run and in alternation, both compiled, neural-tangents with
vmap_axes=0, its fastest setting; the kernels must agree.

    python -m experiments.benchmark_empirical --config=configs/benchmark_empirical.py --workdir=runs/empirical

In the workdir: config.json, metrics.jsonl (one line per network, with the seconds of every run), benchmark.md,
benchmark.csv, benchmark.png and benchmark.pdf. The same workdir goes on where it stopped, also with networks added; a
line taken out of metrics.jsonl is measured again.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from experiments.benchmarks.networks import KINDS, Workload, build_workload
from experiments.benchmarks.report import write_report
from experiments.benchmarks.timing import compile_program, machine, matrix_product, time_in_turns
from experiments.common import script
from experiments.common.workdir import flat_fields
from ntk.checks import check_choice, check_count

# Both sides compute in float32, in another order.
TOLERANCE = 1e-4
# As many inputs stand for all where neural-tangents does not fit into memory.
NUM_CHECKED = 4
Cell = dict[str, Any]


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"networks": {}, "outputs": (), "max_runs": 0}))
        Traceback (most recent call last):
        ...
        ValueError: max_runs is 0; expected an integer of at least 1.
    """
    check_count("max_runs", config.max_runs)
    check_count("seed", config.seed, minimum=0)
    for name in ("budget_seconds", "memory_gib"):
        if not config[name] > 0:
            raise ValueError(f"{name} is {config[name]!r}; expected a positive number.")
    for kind in config.networks:
        check_choice("a field of networks", kind, KINDS)
    for name, values in flat_fields({"networks": config.networks.to_dict(), "outputs": config.outputs}).items():
        for value in values:
            check_count(name, value)


def cells(config: ConfigDict) -> list[Cell]:
    """Every network of the config with each of its widths, numbers of inputs, and outputs.

    Example:
        >>> config = ConfigDict({"networks": {"mlp": {"widths": (8, 16), "num_inputs": (4,)}}, "outputs": (1,)})
        >>> [cell["width"] for cell in cells(config)]
        [8, 16]
    """
    return [
        {"kind": kind, "width": width, "num_inputs": num_inputs, "outputs": outputs}
        for kind in KINDS
        if kind in config.networks
        for width in config.networks[kind].widths
        for num_inputs in config.networks[kind].num_inputs
        for outputs in config.outputs
    ]


def measure(workload: Workload, *, budget_seconds: float, max_runs: int, memory_gib: float) -> dict[str, Any]:
    """Time, compile time and memory of all three programs, and how far their kernels are apart.

    Args:
        workload: The network.
        budget_seconds: For the runs of each program; every one runs at least once.
        max_runs: At most as many runs of each.
        memory_gib: An implementation of neural-tangents that needs more is compiled and not run.

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

    turns: dict[str, Callable[[], Any]] = {name: functools.partial(run, name) for name in runnable}
    product, operations = matrix_product()
    if product_flops is not None:
        turns["matrix_product"] = product.run
    seconds = time_in_turns(turns, budget_seconds=budget_seconds, max_runs=max_runs)
    found: dict[str, Any] = {
        name: {
            "seconds": seconds.get(name, []),
            "compile_seconds": program.compile_seconds,
            "peak_mib": program.peak_mib,
        }
        for name, program in programs.items()
    }
    found["difference"] = _difference(kernels.pop("ours"), list(kernels.values()))
    if product_flops is not None:
        # The fastest run of each: what other processes take from the machine would not cancel.
        rate = operations / min(seconds["matrix_product"])
        found["gemm_fraction"] = product_flops / rate / min(seconds["ours"])
    return found


def _difference(ours: jax.Array, references: list[jax.Array]) -> float:
    """The largest difference from kernels of all or of the first inputs, relative to their largest entries."""

    def from_one(kernel: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(ours[: len(kernel), : len(kernel)] - kernel)) / jnp.max(jnp.abs(kernel))

    difference = float(jnp.max(jnp.array([from_one(kernel) for kernel in references])))
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"the kernels differ by {difference:.2g} of their largest entry; expected {TOLERANCE:g}.")
    return difference


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the benchmark that `config` describes in `workdir`."""
    grid = [f"networks.{name}" for name in flat_fields(config.networks.to_dict())]
    with script.refuse_bad_input():
        check_config(config)
        ntk.load_neural_tangents()
        # Budget and number of runs say how well a time is known, not what it is.
        may_change = ["outputs", "budget_seconds", "max_runs", *grid]
    with script.opened(workdir, config, may_change=may_change) as (workdir, metrics):
        wanted = cells(config)
        measured = [record["cell"] for record in metrics.records]
        remaining = [cell for cell in wanted if cell not in measured]
        logging.info("%d networks, %d measured before, on %s", len(wanted), len(wanted) - len(remaining), machine())
        for cell in tqdm(remaining, desc="networks", initial=len(wanted) - len(remaining), total=len(wanted)):
            workload = build_workload(**cell, seed=config.seed)
            limits = {name: config[name] for name in ("budget_seconds", "max_runs", "memory_gib")}
            with script.refuse_bad_input((ArithmeticError,)):
                metrics.append({"cell": cell, "machine": machine(), **measure(workload, **limits)})
        print(
            write_report(workdir, [record for cell in wanted for record in metrics.records if record["cell"] == cell])
        )


if __name__ == "__main__":
    script.run(main, "configs/benchmark_empirical.py")
