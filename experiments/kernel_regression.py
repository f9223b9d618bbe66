"""Regression with the NNGP and the NTK of many networks: errors, uncertainty, hyperparameters, learning curves.

For each network, gradients through its kernel find the hyperparameters of largest marginal likelihood (theory.md 6.9)
of `evidence_size` training points. All sample sizes use these hyperparameters. Then digits are classified by regression
on one output per class, in three ways: with the posterior of the NNGP (theory.md 6.8), with the ensemble of trained
networks that the NTK describes (theory.md 6.7), and with finite networks of the same architecture trained by gradient
descent. The error, the negative log likelihood and the calibration of the probabilities of classes are recorded at
every sample size.

    python -m experiments.kernel_regression --config=configs/kernel_regression.py --workdir=runs/regression

In the workdir: config.json, metrics.jsonl (one line per network), summary.md, and the figures regression and networks
as PNG and PDF. A rerun in the same workdir resumes.
"""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from experiments.common import script
from experiments.common.metrics import Record
from experiments.common.networks import build_network
from experiments.data.images import Dataset, load_data
from experiments.regression.report import write_report
from experiments.regression.runs import check_labels, measure_network
from ntk.checks import check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

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
        records = metrics.complete(
            list(config.networks),
            lambda record: record["network"],
            lambda label: _measured(label, data, config),
            "networks",
        )
        print(write_report(workdir, config, records))


def _measured(label: str, data: Dataset, config: ConfigDict) -> Record:
    with script.refuse_bad_input((FloatingPointError,)):
        return measure_network(label, data, config)


if __name__ == "__main__":
    script.run(main, "configs/kernel_regression.py")
