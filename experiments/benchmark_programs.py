"""The limits of programs with positions, compared with neural-tangents if it has the layers.

Times the NTK of every network of the config by both libraries, in one run and in alternation. Both are compiled, in
float32. The kernels must agree.

    python -m experiments.benchmark_programs --config=configs/benchmark_programs.py --workdir=runs/benchmark_programs

In the workdir: config.json, metrics.jsonl (one line per network, with the seconds of every run), benchmark.md,
benchmark.png and benchmark.pdf. A rerun in the same workdir resumes; networks may be added. A network whose line is
removed from metrics.jsonl is measured again.
"""

from pathlib import Path

from ml_collections import ConfigDict

import ntk
from experiments.benchmarks.programs import KINDS, Cell, build_workload, cells, measure
from experiments.benchmarks.programs_report import write_report
from experiments.benchmarks.timing import machine
from experiments.common import script
from experiments.common.metrics import Record
from ntk.checks import check_choice, check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> fields = {"networks": {"graph": ((0, 4),)}, "max_runs": 1, "seed": 0, "budget_seconds": 1.0}
        >>> check_config(ConfigDict(fields))
        Traceback (most recent call last):
        ...
        ValueError: networks.graph is 0; expected an integer of at least 1.
    """
    check_count("max_runs", config.max_runs)
    check_count("seed", config.seed, minimum=0)
    if not config.budget_seconds > 0:
        raise ValueError(f"budget_seconds is {config.budget_seconds!r}; expected a positive number.")
    for kind, pairs in config.networks.items():
        check_choice("a field of networks", kind, KINDS)
        for pair in pairs:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ValueError(f"networks.{kind} holds {pair!r}; expected pairs of a size and a number of inputs.")
            for number in pair:
                check_count(f"networks.{kind}", number)


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the benchmark that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        ntk.load_neural_tangents()
    # Budget and number of runs say how well a time is known. They do not change what it is.
    may_change = ["budget_seconds", "max_runs", *(f"networks.{kind}" for kind in config.networks)]

    def measured(cell: Cell) -> Record:
        workload = build_workload(**cell._asdict(), seed=config.seed)
        with script.refuse_bad_input((ArithmeticError,)):
            found = measure(workload, budget_seconds=config.budget_seconds, max_runs=config.max_runs)
        return {"cell": cell._asdict(), "machine": machine(), **found}

    with script.opened(workdir, config, may_change=may_change) as (workdir, metrics):
        records = metrics.complete(cells(config), lambda record: Cell(**record["cell"]), measured, "networks")
        print(write_report(workdir, list(records.values())))


if __name__ == "__main__":
    script.run(main, "configs/benchmark_programs.py")
