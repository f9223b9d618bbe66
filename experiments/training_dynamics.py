"""Training as kernels predict it, and as finite networks do it.

Random networks of several widths and parameterizations are trained by full-batch gradient descent, many in one compiled
program, and held against the prediction of their kernel's infinite-width limit and against their own linearization:
loss curves, outputs on test points along time, the decay of the error along eigenvectors of the limit, and how far the
kernel and the weights move. Exponents in the width tell lazy training (NTK and standard parameterization, where the
kernel stays and Θ drifts like 1/n) from feature learning (maximal update, exponent 0).

    python -m experiments.training_dynamics --config=configs/training_dynamics.py --workdir=runs/dynamics

In the workdir: config.json, metrics.jsonl (one line per parameterization and width), summary.md, and the figures
trajectories and drift as PNG and PDF. The same workdir goes on where it stopped, also with widths or parameterizations
added or left out.
"""

from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.common import script
from experiments.dynamics.report import write_report
from experiments.dynamics.runs import LOSSES, make_problem, train_networks
from ntk.checks import check_choice, check_count
from ntk.dynamics.parameterizations import PARAMETERIZATIONS

# Each parameterization and width is measured by itself.
MAY_CHANGE = ("widths", "parameterizations", "quantiles", "num_resamples", "confidence", "data_dir")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

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
    for name in ("num_train", "num_test", "batch_size", "steps", "every", "num_resamples"):
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
    if not 0 < config.confidence < 1:
        raise ValueError(f"confidence is {config.confidence!r}; expected a number between 0 and 1.")
    if len(config.quantiles) != 2 or not 0 <= config.quantiles[0] <= config.quantiles[1] <= 1:
        raise ValueError(f"quantiles is {config.quantiles!r}; expected two increasing numbers in [0, 1].")


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        problem = make_problem(config)
    with script.opened(workdir, config, data=problem.data, may_change=MAY_CHANGE) as (workdir, metrics):
        wanted = list(product(config.parameterizations, config.widths))
        done = {_place(record) for record in metrics.records} & set(wanted)
        logging.info("%d trainings, %d made before, on %s", len(wanted), len(done), jax.devices())
        remaining = [place for place in wanted if place not in done]
        for name, width in tqdm(remaining, desc="widths", initial=len(done), total=len(wanted)):
            found = train_networks(problem, name, width, config)
            bad = [measure for measure, values in found.items() if not np.isfinite(values).all()]
            if bad:
                raise SystemExit(
                    f"{bad[0]} is not finite at width {width} ({name}); expected a smaller rate or network."
                )
            rounded = {measure: _rounded(values) for measure, values in found.items()}
            metrics.append({"parameterization": name, "width": width, **rounded})
        records = {place: record for record in metrics.records if (place := _place(record)) in set(wanted)}
        print(write_report(workdir, config, problem, records))


def _rounded(values: np.ndarray) -> Any:
    """Nested lists of numbers with six digits, which is what float32 holds."""
    return np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist()


def _place(record: dict[str, Any]) -> tuple[str, int]:
    return record["parameterization"], record["width"]


if __name__ == "__main__":
    script.run(main, "configs/training_dynamics.py")
