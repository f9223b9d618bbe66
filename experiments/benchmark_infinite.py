"""How fast the kernels of infinitely wide networks are, beside what the machine can do.

`ntk.infinite_ntk` against neural-tangents' stax kernel (MLP; jitted, the same dtype) and against the full recursion
over all pairs of times in NumPy and float64 (RNN), in alternation and in one process, in float32. The limit beside
them is measured in the same run: half of the products of inputs at the machine's rate, one polynomial pass a layer
over half of the pairs, one write of the result.

    python -m experiments.benchmark_infinite --config=configs/benchmark_infinite.py --workdir=runs/benchmark

In the workdir: config.json and benchmark.md.
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from experiments.benchmarks import full_rnn_recursion
from experiments.benchmarks.timing import compile_program, machine, markdown_table, matrix_product, time_in_turns
from experiments.common import script
from experiments.common.environment import write_summary
from ntk.checks import check_choice, check_count
from ntk.duals.arcsine import acute_arcsine
from ntk.interop.neural_tangents import stax_kernel_fn

HEADER = (
    "kernel",
    "N",
    "ours, s",
    "reference, s",
    "ratio",
    "of the limit",
    "compile, s",
    "peak MiB",
    "largest error",
    "reference, GFLOP/s",
)


class Rates(NamedTuple):
    """What the machine does in a second, on the cores that this process may use.

    Attributes:
        products: floating-point operations of a matrix product.
        moved: bytes read and written.
        angles: entries of a polynomial pass, the angle of a dual map.
    """

    products: float
    moved: float
    angles: float

    def limit(self, work: "Work") -> float:
        """Seconds for that work.

        Example:
            >>> Rates(products=1e9, moved=1e9, angles=1e9).limit(Work(1e9, 1e9, 500_000_000))
            2.5
        """
        return work.operations / self.products + work.angles / self.angles + work.result_bytes / self.moved


class Work(NamedTuple):
    """What a kernel cannot do without: operations of products of inputs, angles, and one write of the result."""

    operations: float
    angles: float
    result_bytes: int


class Workload(NamedTuple):
    """One line of the table.

    Attributes:
        name: of the kernel.
        net: the network.
        x: its inputs.
        reference: the kernel by the other program, which returns when it is done.
        work: the least that it takes.
        reference_operations: what the reference is known to compute, None otherwise.
    """

    name: str
    net: ntk.MLP | ntk.RNN
    x: jax.Array
    reference: Callable[[], np.ndarray | jax.Array]
    work: Work
    reference_operations: int | None = None


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"parts": ("cnn",)}))
        Traceback (most recent call last):
        ...
        ValueError: parts is 'cnn'; expected one of 'mlp', 'rnn'.
    """
    for part in config.parts:
        check_choice("parts", part, ("mlp", "rnn"))
    check_count("num_runs", config.num_runs)
    check_count("seed", config.seed, minimum=0)
    for name, count in (
        *(("mlp.num_inputs", count) for count in config.mlp.num_inputs),
        ("mlp.num_features", config.mlp.num_features),
        *((f"rnn.{name}", config.rnn[name]) for name in ("num_inputs", "num_steps", "num_features")),
    ):
        check_count(name, count)


def main(config: ConfigDict, workdir: Path) -> None:
    """Measure what `config` lists, print the table and write it into `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        workloads = [*_mlps(config), *_rnns(config)]
    with script.opened(workdir, config) as (workdir, _):
        rates = measure_rates(config.num_runs)
        rows = [measure(workload, rates, config.num_runs) for workload in tqdm(workloads, desc="kernels")]
        report = f"{machine()}. {_describe(rates)}\n\n{markdown_table(HEADER, rows)}"
        print(write_summary(workdir / "benchmark.md", report))


def measure_rates(num_runs: int, size: int = 2000) -> Rates:
    """The machine's rates on arrays of `size`² float32 numbers.

    Example:
        >>> measure_rates(num_runs=1, size=10).products > 0
        True
    """
    x = jnp.linspace(-1.0, 1.0, size**2, dtype=jnp.float32).reshape(size, size)
    product, operations = matrix_product(size)
    programs = {
        "product": product,
        "write": compile_program(lambda x: x + 1.0, x),
        "angle": compile_program(lambda x: acute_arcsine(jnp.float32(0.5), x, jnp.float32(1.0))[1], x),
    }
    times = _median_times({name: program.run for name, program in programs.items()}, num_runs)
    return Rates(operations / times["product"], 2 * x.nbytes / times["write"], x.size / times["angle"])


def measure(workload: Workload, rates: Rates, num_runs: int) -> list[str]:
    """Time, compile time and memory of a kernel, beside its reference and the limit: one line of the table."""
    name, net, x, reference, work, reference_operations = workload
    ours = functools.partial(ntk.infinite_ntk, net, x)
    program = compile_program(functools.partial(ntk.infinite_ntk, net), x)
    expected = np.asarray(reference(), np.float64)
    error = np.abs(np.asarray(ours()) - expected).max() / np.abs(expected).max()
    times = _median_times({"ours": lambda: jax.block_until_ready(ours()), "reference": reference}, num_runs)
    return [
        name,
        str(len(x)),
        f"{times['ours']:.3g}",
        f"{times['reference']:.3g}",
        f"{times['reference'] / times['ours']:.3g}",
        f"{100 * rates.limit(work) / times['ours']:.0f} %",
        f"{program.compile_seconds:.2f}",
        f"{program.peak_mib:.0f}",
        f"{error:.0e}",
        "–" if reference_operations is None else f"{reference_operations / times['reference'] / 1e9:.1f}",
    ]


def _median_times(programs: dict[str, Callable[[], Any]], num_runs: int) -> dict[str, float]:
    runs = time_in_turns(programs, budget_seconds=math.inf, max_runs=num_runs)
    return {name: float(np.median(seconds)) for name, seconds in runs.items()}


def _describe(rates: Rates) -> str:
    return (
        f"Products {rates.products / 1e9:.0f} GFLOP/s, read and write {rates.moved / 1e9:.1f} GB/s, polynomial pass "
        f"{1e9 / rates.angles:.2f} ns an entry."
    )


def _mlps(config: ConfigDict) -> list[Workload]:
    if "mlp" not in config.parts:
        return []
    rng = np.random.default_rng(config.seed)
    fields, workloads = config.mlp, []
    for num_inputs in fields.num_inputs:
        x = jnp.asarray(rng.normal(size=(num_inputs, fields.num_features)), jnp.float32)
        work = Work(num_inputs**2 * fields.num_features, fields.depth * num_inputs**2 / 2, 4 * num_inputs**2)
        for activation in fields.activations:
            net = ntk.MLP(depth=fields.depth, activation=activation)
            kernel_fn = jax.jit(functools.partial(stax_kernel_fn(net), x2=None, get="ntk"))
            reference = functools.partial(lambda kernel_fn, x: jax.block_until_ready(kernel_fn(x)), kernel_fn, x)
            workloads.append(Workload(f"MLP, {fields.depth} layers, {activation}", net, x, reference, work))
    return workloads


def _rnns(config: ConfigDict) -> list[Workload]:
    if "rnn" not in config.parts:
        return []
    fields, workloads = config.rnn, []
    shape = (fields.num_inputs, fields.num_steps, fields.num_features)
    x = jnp.asarray(np.random.default_rng(config.seed).normal(size=shape), jnp.float32)
    for activation in fields.activations:
        for pooling in ("last", "mean"):
            net = ntk.RNN(activation=activation, pooling=pooling)
            entries = fields.num_inputs**2 * fields.num_steps ** (1 if pooling == "last" else 2) / 2
            workloads.append(
                Workload(
                    f"RNN, {fields.num_steps} steps, {activation}, {pooling}",
                    net,
                    x,
                    functools.partial(full_rnn_recursion.rnn_ntk, net, np.asarray(x)),
                    Work(2 * fields.num_features * entries, entries, 4 * fields.num_inputs**2),
                    full_rnn_recursion.operations(net, *shape),
                )
            )
    return workloads


if __name__ == "__main__":
    script.run(main, "configs/benchmark_infinite.py", go_on="the same command starts anew")
