"""How fast the kernels of infinitely wide networks are, beside what the machine can do.

`ntk.infinite_ntk` against neural-tangents' stax kernel (MLP; jitted, the same dtype) and against the full recursion
over all pairs of times in NumPy and float64 (RNN), in alternation and in one process, in float32. The limit beside
them is measured in the same run: half of the products of inputs at the machine's rate, one polynomial pass a layer
over half of the pairs, one write of the result.

    python -m experiments.benchmark_infinite --config=configs/benchmark_infinite.py --workdir=runs/benchmark

In the workdir: config.json and benchmark.md.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from experiments import full_rnn_recursion, script
from experiments.workdir import open_workdir
from ntk.checks import check_choice, check_count
from ntk.duals.arctan import half_plane_angle
from ntk.interop.neural_tangents import stax_kernel_fn

HEADER = (
    "| kernel | N | ours, s | reference, s | ratio | of the limit | compile, s | memory, MiB | largest error |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


class Machine(NamedTuple):
    """What the machine does in a second, on the cores that this process may use.

    Attributes:
        products: floating-point operations of a matrix product.
        moved: bytes read and written.
        angles: entries of a polynomial pass, the angle of a dual map.
    """

    products: float
    moved: float
    angles: float

    def limit(self, operations: float, angles: float, result_bytes: int) -> float:
        """Seconds for that many operations of products, angles, and one write of the result.

        Example:
            >>> Machine(products=1e9, moved=1e9, angles=1e9).limit(1e9, 1e9, 500_000_000)
            2.5
        """
        return operations / self.products + angles / self.angles + result_bytes / self.moved


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
        measurements = [*_mlps(config), *_rnns(config)]
        workdir = open_workdir(workdir, config)
    machine = measure_machine(config.num_runs)
    rows = [measure(machine, config.num_runs) for measure in tqdm(measurements, desc="kernels")]
    report = "\n".join((_describe(machine), "", HEADER, *rows)) + "\n"
    (workdir / "benchmark.md").write_text(report, encoding="utf-8")
    print(report)


def measure_machine(num_runs: int, size: int = 2000) -> Machine:
    """The machine's rates on arrays of `size`² float32 numbers.

    Example:
        >>> measure_machine(num_runs=1, size=10).products > 0
        True
    """
    x = jnp.linspace(-1.0, 1.0, size**2, dtype=jnp.float32).reshape(size, size)
    gram = jax.jit(lambda x: jnp.matmul(x, x.T, precision=lax.Precision.HIGHEST))
    write = jax.jit(lambda x: x + 1.0)
    angles = jax.jit(lambda x: half_plane_angle(x, jnp.float32(1.0), jnp.float32(2.0)))
    gram_time, write_time, angle_time = median_times((lambda: gram(x), lambda: write(x), lambda: angles(x)), num_runs)
    return Machine(2 * size**3 / gram_time, 2 * x.nbytes / write_time, x.size / angle_time)


def median_times(calls: tuple[Callable[[], Any], ...], num_runs: int) -> list[float]:
    """Median seconds of each call, all of them in turn `num_runs` times after one that does not count.

    Example:
        >>> len(median_times((lambda: 0, lambda: 1), num_runs=3))
        2
    """
    times: list[list[float]] = []
    for _ in range(num_runs + 1):
        times.append([])
        for call in calls:
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[-1].append(time.perf_counter() - start)
    return np.median(times[1:], axis=0).tolist()


def _describe(machine: Machine) -> str:
    return (
        f"On {jax.devices()[0].device_kind}: products {machine.products / 1e9:.0f} GFLOP/s, read and write "
        f"{machine.moved / 1e9:.1f} GB/s, polynomial pass {1e9 / machine.angles:.2f} ns an entry."
    )


def _mlps(config: ConfigDict) -> list[Callable[[Machine, int], str]]:
    if "mlp" not in config.parts:
        return []
    rng = np.random.default_rng(config.seed)
    fields, measurements = config.mlp, []
    for num_inputs in fields.num_inputs:
        x = jnp.asarray(rng.normal(size=(num_inputs, fields.num_features)), jnp.float32)
        operations, pairs = num_inputs**2 * fields.num_features, num_inputs**2 / 2
        for activation in fields.activations:
            net = ntk.MLP(depth=fields.depth, activation=activation)
            kernel_fn = stax_kernel_fn(net)
            reference = jax.jit(lambda x, kernel_fn=kernel_fn: kernel_fn(x, None, "ntk"))
            name = f"MLP, {fields.depth} layers, {activation}"
            measurements.append(_measurement(name, net, x, reference, (operations, fields.depth * pairs), None))
    return measurements


def _rnns(config: ConfigDict) -> list[Callable[[Machine, int], str]]:
    if "rnn" not in config.parts:
        return []
    fields, measurements = config.rnn, []
    shape = (fields.num_inputs, fields.num_steps, fields.num_features)
    x = jnp.asarray(np.random.default_rng(config.seed).normal(size=shape), jnp.float32)
    for activation in fields.activations:
        for pooling in ("last", "mean"):
            net = ntk.RNN(activation=activation, pooling=pooling)
            entries = fields.num_inputs**2 * fields.num_steps ** (1 if pooling == "last" else 2) / 2
            work = (2 * fields.num_features * entries, entries)
            reference = lambda x, net=net: full_rnn_recursion.rnn_ntk(net, np.asarray(x))  # noqa: E731
            name = f"RNN, {fields.num_steps} steps, {activation}, {pooling}"
            measurements.append(_measurement(name, net, x, reference, work, full_rnn_recursion.operations(net, *shape)))
    return measurements


def _measurement(
    name: str,
    net: ntk.MLP | ntk.RNN,
    x: jax.Array,
    reference: Callable[[jax.Array], Any],
    work: tuple[float, float],
    reference_operations: int | None,
) -> Callable[[Machine, int], str]:
    """A function that measures one line of the table; `work` is that of the limit: operations, angles."""

    def measure(machine: Machine, num_runs: int) -> str:
        start = time.perf_counter()
        program = jax.jit(lambda x: ntk.infinite_ntk(net, x)).lower(x).compile()
        compile_time = time.perf_counter() - start
        memory = program.memory_analysis()
        peak = np.nan if memory is None else (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20
        expected = np.asarray(reference(x), np.float64)
        error = np.abs(np.asarray(ntk.infinite_ntk(net, x)) - expected).max() / np.abs(expected).max()
        ours, theirs = median_times((lambda: ntk.infinite_ntk(net, x), lambda: reference(x)), num_runs)
        fraction = machine.limit(*work, expected.size * x.dtype.itemsize) / ours
        rate = "" if reference_operations is None else f" ({reference_operations / theirs / 1e9:.1f} GFLOP/s)"
        return (
            f"| {name} | {len(x)} | {ours:.3g} | {theirs:.3g}{rate} | {theirs / ours:.3g} | {fraction:.0%} "
            f"| {compile_time:.2f} | {peak:.0f} | {error:.0e} |"
        )

    return measure


if __name__ == "__main__":
    script.run(main)
