"""Finite-width kernels against their infinite-width limits, as the width grows.

Draws random networks at several widths, many seeds in one compiled program per width, and records the relative
Frobenius error of the NTK Θ, the NNGP, every C and every D on real inputs (theory.md 5.3, 5.4). Fits the slope of log
error against log width, which is -1/2 in theory, and draws the figure.

    python -m experiments.kernel_convergence --config=configs/convergence_mlp_relu.py --workdir=runs/relu

A config with `networks` in place of `network` compares the errors of Θ of several networks in one figure.

In the workdir: config.json, metrics.jsonl (one line per width, one error per seed), summary.md, summary.csv,
convergence.png and convergence.pdf. A rerun in the same workdir resumes. Widths may be added or left out, and fields
that only the report or the machine depends on may change.
"""

from pathlib import Path

from ml_collections import ConfigDict

from experiments.common import script
from experiments.common.metrics import Record
from experiments.common.networks import member_keys
from experiments.convergence.kernel_errors import errors_at_width, prepare
from experiments.convergence.report import collect, networks_of, write_comparison, write_report
from experiments.data.images import load_data
from ntk.checks import check_count

# Each width is measured by itself, and no measurement depends on the other fields.
MAY_CHANGE = ("widths", "memory_gib", "quantiles", "num_resamples", "confidence", "data_dir")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"widths": (32,)}))
        Traceback (most recent call last):
        ...
        ValueError: widths is (32,); expected at least two widths in increasing order.
    """
    script.check_axis("widths", config.widths, "widths")
    check_count("num_seeds", config.num_seeds, minimum=2)
    check_count("seed", config.seed, minimum=0)
    if not config.memory_gib > 0:
        raise ValueError(f"memory_gib is {config.memory_gib!r}; expected a positive number.")
    script.check_intervals(config)


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        data = load_data(config.dataset, config.num_inputs, data_dir=config.data_dir, seed=config.seed)
        networks = networks_of(config)
        cases = {label: prepare(fields, data.train_images, config) for label, fields in networks.items()}
    with script.opened(workdir, config, data=data.fingerprint, may_change=MAY_CHANGE) as (workdir, metrics):

        def measure(place: tuple[str, int]) -> Record:
            label, width = place
            keys = member_keys(config.seed, width, config.num_seeds)
            net, x, limits, _ = cases[label]
            with script.refuse_bad_input((FloatingPointError,)):
                errors = errors_at_width(net, x, limits, width, keys, config.memory_gib)
            return {"network": label, "width": width, "errors": {name: e.tolist() for name, e in errors.items()}}

        wanted = [(label, width) for label in cases for width in config.widths]
        metrics.complete(wanted, lambda record: (record["network"], record["width"]), measure, "measurements")
        limit_errors = {label: case.limit_error for label, case in cases.items()}
        if "networks" in config:
            print(write_comparison(workdir, config, metrics.records, limit_errors))
        else:
            ((label, limit_error),) = limit_errors.items()
            print(write_report(workdir, config, collect(metrics.records, label, config.widths), limit_error))


if __name__ == "__main__":
    script.run(main, "configs/convergence_mlp_relu.py")
