"""The training of finite networks, compared with the prediction of kernels.

Trains random networks of several widths and parameterizations (theory.md 6.12) by full-batch gradient descent, many in
one compiled program. Compares them with the prediction of their kernel's infinite-width limit (theory.md 6.2) and with
their own linearization: loss curves, outputs on test points over time, the decay of the error along eigenvectors, and
how far the kernel and the weights move. Exponents in the width tell lazy training from feature learning: the kernel
drifts like 1/n in NTK and standard parameterization, and its exponent is 0 in maximal update.

    python -m experiments.training_dynamics --config=configs/training_dynamics.py --workdir=runs/dynamics

In the workdir: config.json, metrics.jsonl (one line per parameterization and width), summary.md, and the figures
trajectories and drift as PNG and PDF. A rerun in the same workdir resumes; widths or parameterizations may be added or
left out.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.common import script
from experiments.common.metrics import Record
from experiments.dynamics.report import write_report
from experiments.dynamics.runs import LOSSES, make_problem, train_networks
from ntk.checks import check_choice, check_count
from ntk.dynamics.parameterizations import PARAMETERIZATIONS

# Each parameterization and width is measured by itself.
MAY_CHANGE = ("widths", "parameterizations", "quantiles", "num_resamples", "confidence", "data_dir")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"loss": "hinge"}))
        Traceback (most recent call last):
        ...
        ValueError: loss is 'hinge'; expected one of 'squared', 'cross_entropy'.
    """
    check_choice("loss", config.loss, LOSSES)
    check_choice("network.kind", config.network.get("kind"), ("MLP", "RNN"))
    for name in config.parameterizations:
        check_choice("parameterizations", name, PARAMETERIZATIONS)
    if "ntk" not in config.parameterizations:
        raise ValueError(f"parameterizations is {config.parameterizations!r}; expected 'ntk' among them.")
    script.check_axis("widths", config.widths, "widths")
    check_count("num_seeds", config.num_seeds, minimum=2)
    for name in ("num_train", "num_test", "batch_size", "steps", "every"):
        check_count(name, config.get(name))
    check_count("seed", config.seed, minimum=0)
    if config.steps % config.every or config.steps == config.every:
        raise ValueError(f"every is {config.every}; expected a divisor of steps = {config.steps} that is smaller.")
    if not 0 < config.rate < 1:
        raise ValueError(f"rate is {config.rate!r}; expected a share of the largest stable rate, between 0 and 1.")
    if not config.directions or not all(0 <= index < config.num_train for index in config.directions):
        raise ValueError(f"directions is {config.directions!r}; expected numbers from 0 to num_train - 1.")
    if not 1 <= config.num_shown <= config.num_test:
        raise ValueError(f"num_shown is {config.num_shown!r}; expected at most num_test = {config.num_test}.")
    script.check_intervals(config)


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        problem = make_problem(config)
    with script.opened(workdir, config, data=problem.data, may_change=MAY_CHANGE) as (workdir, metrics):

        def measure(place: tuple[str, int]) -> Record:
            name, width = place
            found = train_networks(problem, name, width, config)
            for what, values in found.items():
                if not np.isfinite(values).all():
                    raise SystemExit(
                        f"{what} is not finite at width {width} ({name}); expected a smaller rate or network."
                    )
            return {"parameterization": name, "width": width} | {
                what: _rounded(values) for what, values in found.items()
            }

        wanted = list(product(config.parameterizations, config.widths))
        records = metrics.complete(wanted, _place, measure, "trainings")
        print(write_report(workdir, config, problem, records))


def _rounded(values: np.ndarray) -> list[Any]:
    """Nested lists of numbers with six digits, which is what float32 holds."""
    return np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist()


def _place(record: Record) -> tuple[str, int]:
    return record["parameterization"], record["width"]


if __name__ == "__main__":
    script.run(main, "configs/training_dynamics.py")
