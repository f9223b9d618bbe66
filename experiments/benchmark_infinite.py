"""The time of the kernels of infinitely wide networks, compared with the least time on this machine.

Times `ntk.infinite_ntk` against a reference, in alternation and in one process, in float32. The reference of an MLP is
neural-tangents' stax kernel, jitted and in the same dtype. The reference of an RNN is the full recursion over all pairs
of times, in NumPy and float64. The least time in the table is that of half of the
products of inputs, one polynomial pass per layer over half of the pairs, and one write of the result. It follows from
rates that are measured in the same run.

    python -m experiments.benchmark_infinite --config=configs/benchmark_infinite.py --workdir=runs/benchmark

In the workdir: config.json and benchmark.md.
"""

from pathlib import Path

from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.benchmarks.infinite import HEADER, describe, measure, measure_rates, workloads
from experiments.benchmarks.timing import machine
from experiments.common import script
from experiments.common.environment import write_summary
from experiments.common.tables import markdown_table
from ntk.checks import check_choice, check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

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
    """Measure the kernels that `config` lists, print the table and write it into `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        wanted = workloads(config)
    with script.opened(workdir, config) as (workdir, _):
        rates = measure_rates(config.num_runs)
        rows = [measure(workload, rates, config.num_runs) for workload in tqdm(wanted, desc="kernels")]
        report = f"{machine()}. {describe(rates)}\n\n{markdown_table(HEADER, rows)}"
        print(write_summary(workdir / "benchmark.md", report))


if __name__ == "__main__":
    script.run(main, "configs/benchmark_infinite.py", go_on="the same command starts anew")
