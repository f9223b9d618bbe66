"""Regression with the NNGP and the NTK of many networks: errors, uncertainty, hyperparameters, learning curves.

For each network hyperparameters maximize the marginal likelihood of `evidence_size` training points, by gradients
through its kernel; they are the same at all sample sizes. Then digits are classified by regression on one output a
class, with the posterior of the NNGP and with the ensemble of trained networks that the NTK describes, and with finite
networks of the same architecture trained by gradient descent. What is recorded is the error, the negative log
likelihood and the calibration of the probabilities of classes, against the sample size.

    python -m experiments.kernel_regression --config=configs/kernel_regression.py --workdir=runs/regression

In the workdir: config.json, metrics.jsonl (one line a network), summary.md, and the figures regression and networks as
PNG and PDF. The same workdir goes on where it stopped.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.common import script
from experiments.common.networks import build_network
from experiments.data.images import Dataset, load_data
from experiments.regression.report import write_report
from experiments.regression.runs import CLASSES, fit_network, measure_finite, measure_kernels, split_of
from ntk.checks import check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"networks": {}, "sizes": (20, 10)}))
        Traceback (most recent call last):
        ...
        ValueError: sizes is (20, 10); expected at least two sample sizes in increasing order.
    """
    script.check_axis("sizes", config.sizes, "sample sizes", minimum=2)
    if not 2 <= config.evidence_size <= config.sizes[-1]:
        raise ValueError(
            f"evidence_size is {config.evidence_size!r}; expected a number from 2 to the largest of sizes."
        )
    if not config.networks:
        raise ValueError("networks is empty; expected at least one network.")
    for name in ("num_test", "samples", "evidence_steps"):
        check_count(name, config.get(name))
    for name in ("width", "steps"):
        check_count(f"finite.{name}", config.finite.get(name))
    check_count("finite.num_seeds", config.finite.num_seeds, minimum=2)
    check_count("seed", config.seed, minimum=0)
    for name, value in (("noise", config.noise), ("evidence_rate", config.evidence_rate)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} is {value!r}; expected a positive number.")
    if not 0 < config.finite.rate < 1:
        raise ValueError(f"finite.rate is {config.finite.rate!r}; expected a share of the largest stable rate.")
    unknown = sorted(set(config.finite.networks) - set(config.networks))
    if unknown:
        raise ValueError(f"finite.networks has {unknown[0]!r}; expected labels of networks.")


def check_labels(data: Dataset) -> None:
    """Refuse labels of more than ten classes."""
    largest = int(max(data.train_labels.max(), data.test_labels.max()))
    if largest >= CLASSES:
        raise ValueError(f"the data set has a label {largest}; expected labels from 0 to {CLASSES - 1}.")


def measure(label: str, data: Dataset, config: ConfigDict) -> dict[str, Any]:
    """Everything about one network, as a record."""
    fields = config.networks[label]
    with jax.enable_x64(True):
        split = split_of(fields.kind, data)
        with script.refuse_bad_input((FloatingPointError,)):
            fitted = fit_network(fields, split, config)
        sizes = tuple(config.sizes)
        record: dict[str, Any] = {
            "network": label,
            "hyperparameters": fitted.numbers,
            "noise": fitted.noise,
            "ridge": fitted.ridge,
            "evidence": fitted.history.round(6).tolist(),
            **measure_kernels(fitted, split, sizes),
        }
    if label in config.finite.networks:
        with script.refuse_bad_input((FloatingPointError,)):
            record["finite"] = [measure_finite(fitted, split, size, config) for size in sizes]
    return record


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        for fields in config.networks.values():
            build_network(fields)
        num_train = config.sizes[-1]
        data = load_data(config.dataset, num_train, config.num_test, data_dir=config.data_dir, seed=config.seed)
        check_labels(data)
    with script.opened(workdir, config, data=data.fingerprint, may_change=("data_dir",)) as (workdir, metrics):
        done = {record["network"] for record in metrics.records} & set(config.networks)
        logging.info("%d networks, %d measured before, on %s", len(config.networks), len(done), jax.devices())
        remaining = [label for label in config.networks if label not in done]
        for label in tqdm(remaining, desc="networks", initial=len(done), total=len(config.networks)):
            metrics.append(measure(label, data, config))
        records = {record["network"]: record for record in metrics.records if record["network"] in config.networks}
        print(write_report(workdir, config, {label: records[label] for label in config.networks}))


if __name__ == "__main__":
    script.run(main, "configs/kernel_regression.py")
