"""True against partly random labels: which measures tell them apart, and how well networks fit noise.

Some labels of odd and even digits are replaced by fair coins (Zhang, Bengio, Hardt, Recht & Vinyals 2017). Networks are
trained on each mixture. Their errors on new digits, the NTK complexity of the labels (Arora et al. 2019), margin bounds
and normalized margins (Bartlett et al. 2017) are recorded. Networks of several widths are also fitted to coins alone;
their fit (1/m) Σ σ_i sign f(x_i) is a lower estimate of the Rademacher complexity of their class.

    python -m experiments.random_labels --config=configs/random_labels.py --workdir=runs/random_labels

In the workdir: config.json, metrics.jsonl, summary.md, random_labels.png and random_labels.pdf. A rerun in the same
workdir resumes; fractions, widths or seeds may be added or left out.
"""

from itertools import product
from pathlib import Path

from ml_collections import ConfigDict

from experiments.common import script
from experiments.common.metrics import Record
from experiments.generalization.binary_tasks import make_task
from experiments.generalization.coin_labels import measure_mixture, measure_noise
from experiments.generalization.coin_report import write_report
from ntk.checks import check_count

MAY_CHANGE = ("fractions", "widths", "num_seeds")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"fractions": (0.5, 0.0)}))
        Traceback (most recent call last):
        ...
        ValueError: fractions is (0.5, 0.0); expected increasing numbers from 0 to 1.
    """
    fractions = list(config.fractions)
    if not fractions or fractions != sorted(set(fractions)) or not 0 <= fractions[0] <= fractions[-1] <= 1:
        raise ValueError(f"fractions is {config.fractions!r}; expected increasing numbers from 0 to 1.")
    for name in ("num_train", "num_seeds", "steps"):
        check_count(name, config.get(name))
    for width in config.widths:
        check_count("widths", width)
    if config.task.get("kind") != "digits":
        raise ValueError(f"task.kind is {config.task.get('kind')!r}; expected 'digits', whose true labels are known.")


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        task = make_task(config.task)
        task.draw(config.seed, config.num_train)
    with script.opened(workdir, config, data=task.data, may_change=MAY_CHANGE) as (workdir, metrics):

        def measure(place: tuple[str, float, int]) -> Record:
            what, value, seed = place
            if what == "fraction":
                measured = measure_mixture(task, value, seed, config)
            else:
                measured = measure_noise(int(value), seed, config)
            return {what: value, "seed": seed} | measured

        seeds = range(config.seed, config.seed + config.num_seeds)
        wanted = [("fraction", *place) for place in product(config.fractions, seeds)]
        wanted += [("width", *place) for place in product(config.widths, seeds)]
        records = metrics.complete(wanted, _place, measure, "networks")
        print(write_report(workdir, list(records.values()), config))


def _place(record: Record) -> tuple[str, float, int]:
    what = "fraction" if "fraction" in record else "width"
    return what, record[what], record["seed"]


if __name__ == "__main__":
    script.run(main, "configs/random_labels.py")
