"""Every bound of `bounds.report` against the true gap between the errors on new points and on the sample, as N grows.

Trains a classifier on N points of each task, for several seeds, and records all bounds and measures. One task has
Gaussian inputs and a linear classifier, whose probability of error is known exactly. The other is odd against even
digits and a ReLU network, whose error is estimated on digits that are never trained on.

    python -m experiments.generalization_bounds --config=configs/generalization_bounds.py --workdir=runs/bounds

In the workdir: config.json, metrics.jsonl (one line per task, N and seed), summary.md, bounds.png and bounds.pdf. A
rerun in the same workdir resumes; sizes may be added or left out.
"""

from itertools import product
from pathlib import Path

from ml_collections import ConfigDict

from experiments.common import script
from experiments.common.metrics import Record
from experiments.generalization.binary_tasks import make_task
from experiments.generalization.bounds_report import write_report
from experiments.generalization.gaps import measure_gap
from ntk.checks import check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"sizes": {"digits": ()}, "num_seeds": 1, "steps": 1}))
        Traceback (most recent call last):
        ...
        ValueError: sizes.digits is (); expected at least one size, in increasing order.
    """
    for name, sizes in config.sizes.items():
        for size in sizes:
            check_count(f"sizes.{name}", size)
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"sizes.{name} is {sizes!r}; expected at least one size, in increasing order.")
    check_count("num_seeds", config.num_seeds)
    check_count("steps", config.steps)


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        tasks = {name: make_task(fields) for name, fields in config.tasks.items()}
        for name, task in tasks.items():
            task.draw(config.seed, max(config.sizes[name]))
        # Tasks that read a data set all read the same one.
        data = next((task.data for task in tasks.values() if task.data is not None), None)
    sizes = [f"sizes.{name}" for name in tasks]
    with script.opened(workdir, config, data=data, may_change=sizes) as (workdir, metrics):

        def measure(place: tuple[str, int, int]) -> Record:
            name, n, seed = place
            return {"task": name, "size": n, "seed": seed} | measure_gap(tasks[name], n, seed, config)

        seeds = range(config.seed, config.seed + config.num_seeds)
        wanted = [(name, n, seed) for name in tasks for n, seed in product(config.sizes[name], seeds)]
        records = metrics.complete(wanted, _place, measure, "networks")
        print(write_report(workdir, list(records.values()), config))


def _place(record: Record) -> tuple[str, int, int]:
    return record["task"], record["size"], record["seed"]


if __name__ == "__main__":
    script.run(main, "configs/generalization_bounds.py")
