"""The empirical NTK against neural-tangents, implementations 1 (Jacobian contraction) and 2 (NTK-vector products).

Times every network of the config with both libraries, in one run and in alternation. Both are compiled;
neural-tangents has vmap_axes=0, its fastest setting. The kernels must agree.

    python -m experiments.benchmark_empirical --config=configs/benchmark_empirical.py --workdir=runs/empirical

In the workdir: config.json, metrics.jsonl (one line per network, with the seconds of every run), benchmark.md,
benchmark.csv, benchmark.png and benchmark.pdf. A rerun in the same workdir resumes; networks may be added. A network
whose line is removed from metrics.jsonl is measured again.
"""

from pathlib import Path

from ml_collections import ConfigDict

import ntk
from experiments.benchmarks.empirical import Cell, cells, measure
from experiments.benchmarks.empirical_report import write_report
from experiments.benchmarks.networks import KINDS, build_workload
from experiments.benchmarks.timing import machine
from experiments.common import script
from experiments.common.metrics import Record
from experiments.common.workdir import flat_fields
from ntk.checks import check_choice, check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

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


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the benchmark that `config` describes in `workdir`."""
    grid = [f"networks.{name}" for name in flat_fields(config.networks.to_dict())]
    with script.refuse_bad_input():
        check_config(config)
        ntk.load_neural_tangents()
        # Budget and number of runs say how well a time is known. They do not change what it is.
        may_change = ["outputs", "budget_seconds", "max_runs", *grid]
    limits = {name: config[name] for name in ("budget_seconds", "max_runs", "memory_gib")}

    def measured(cell: Cell) -> Record:
        workload = build_workload(**cell._asdict(), seed=config.seed)
        with script.refuse_bad_input((ArithmeticError,)):
            return {"cell": cell._asdict(), "machine": machine(), **measure(workload, **limits)}

    with script.opened(workdir, config, may_change=may_change) as (workdir, metrics):
        records = metrics.complete(cells(config), lambda record: Cell(**record["cell"]), measured, "networks")
        print(write_report(workdir, list(records.values())))


if __name__ == "__main__":
    script.run(main, "configs/benchmark_empirical.py")
