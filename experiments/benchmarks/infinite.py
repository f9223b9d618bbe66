"""Times of the kernels of infinitely wide networks, of a reference, and the least time on this machine."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

import ntk
from experiments.benchmarks import full_rnn_recursion
from experiments.benchmarks.timing import compile_program, matrix_product, time_in_turns
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
    """The rates of the machine per second, on the cores that this process may use.

    Attributes:
        products: Floating-point operations of a matrix product.
        moved: Bytes that are read and written.
        angles: Entries of a polynomial pass, which computes the angle of a dual map.
    """

    products: float
    moved: float
    angles: float

    def limit(self, work: "Work") -> float:
        """The seconds that the work takes at these rates.

        Example:
            >>> Rates(products=1e9, moved=1e9, angles=1e9).limit(Work(1e9, 1e9, 500_000_000))
            2.5
        """
        return work.operations / self.products + work.angles / self.angles + work.result_bytes / self.moved


class Work(NamedTuple):
    """The least work of a kernel: operations of products of inputs, angles, and the bytes of the result."""

    operations: float
    angles: float
    result_bytes: int


class Workload(NamedTuple):
    """One line of the table.

    Attributes:
        name: The name of the kernel.
        net: The network.
        x: Its inputs.
        reference: Computes the same kernel by another program, and returns it when it is finished.
        work: The least work.
        reference_operations: The operations of the reference; None where they are not known.
    """

    name: str
    net: ntk.MLP | ntk.RNN
    x: jax.Array
    reference: Callable[[], np.ndarray | jax.Array]
    work: Work
    reference_operations: int | None = None


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
    """One line of the table: time, compile time and memory of a kernel, the time of its reference, and the limit."""
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


def _median_times(programs: dict[str, Callable[[], PyTree]], num_runs: int) -> dict[str, float]:
    runs = time_in_turns(programs, budget_seconds=math.inf, max_runs=num_runs)
    return {name: float(np.median(seconds)) for name, seconds in runs.items()}


def describe(rates: Rates) -> str:
    """The machine's rates in words."""
    return (
        f"Products {rates.products / 1e9:.0f} GFLOP/s, read and write {rates.moved / 1e9:.1f} GB/s, polynomial pass "
        f"{1e9 / rates.angles:.2f} ns per entry."
    )


def workloads(config: ConfigDict) -> list[Workload]:
    """Every kernel that the config lists."""
    return [*_mlps(config), *_rnns(config)]


def _mlps(config: ConfigDict) -> list[Workload]:
    if "mlp" not in config.parts:
        return []
    rng = np.random.default_rng(config.seed)
    fields, found = config.mlp, []
    for num_inputs in fields.num_inputs:
        x = jnp.asarray(rng.normal(size=(num_inputs, fields.num_features)), jnp.float32)
        work = Work(num_inputs**2 * fields.num_features, fields.depth * num_inputs**2 / 2, 4 * num_inputs**2)
        for activation in fields.activations:
            net = ntk.MLP(depth=fields.depth, activation=activation)
            kernel_fn = jax.jit(functools.partial(stax_kernel_fn(net), x2=None, get="ntk"))
            reference = functools.partial(lambda kernel_fn, x: jax.block_until_ready(kernel_fn(x)), kernel_fn, x)
            found.append(Workload(f"MLP, {fields.depth} layers, {activation}", net, x, reference, work))
    return found


def _rnns(config: ConfigDict) -> list[Workload]:
    if "rnn" not in config.parts:
        return []
    fields, found = config.rnn, []
    shape = (fields.num_inputs, fields.num_steps, fields.num_features)
    x = jnp.asarray(np.random.default_rng(config.seed).normal(size=shape), jnp.float32)
    for activation in fields.activations:
        for pooling in ("last", "mean"):
            net = ntk.RNN(activation=activation, pooling=pooling)
            entries = fields.num_inputs**2 * fields.num_steps ** (1 if pooling == "last" else 2) / 2
            found.append(
                Workload(
                    f"RNN, {fields.num_steps} steps, {activation}, {pooling}",
                    net,
                    x,
                    functools.partial(full_rnn_recursion.rnn_ntk, net, np.asarray(x)),
                    Work(2 * fields.num_features * entries, entries, 4 * fields.num_inputs**2),
                    full_rnn_recursion.operations(net, *shape),
                )
            )
    return found
