"""Finite-width kernels against their infinite-width limits, as the width grows.

Draws random networks at several widths, many seeds in one compiled program per width, and records the relative
Frobenius error of the NTK Θ, the NNGP, every C and every D on real inputs. Fits the slope of log error against
log width, which theory puts at -1/2, and draws the figure.

    python -m experiments.kernel_convergence --config=configs/convergence_mlp_relu.py --workdir=runs/relu

A config with `networks` in place of `network` compares the errors of Θ of several networks in one figure.

In the workdir: config.json, metrics.jsonl (one line per width, one error per seed), summary.md, summary.csv,
convergence.png and convergence.pdf. The same workdir goes on where it stopped, also with widths added or left out,
and with other values of the fields that only the report or the machine depends on.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.common import script
from experiments.common.networks import build_network, network_inputs
from experiments.convergence.kernel_errors import Blocks, error_scales, errors_at_width, limit_blocks, member_keys
from experiments.convergence.report import collect, networks_of, write_comparison, write_report
from experiments.data.images import load_data
from ntk.checks import check_count

# Each width is measured by itself, and the others change no measurement.
MAY_CHANGE = ("widths", "memory_gib", "quantiles", "num_resamples", "confidence", "data_dir")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"widths": (32,)}))
        Traceback (most recent call last):
        ...
        ValueError: widths is (32,); expected at least two widths in increasing order.
    """
    script.check_axis("widths", config.widths, "widths")
    check_count("num_seeds", config.num_seeds, minimum=2)
    check_count("num_resamples", config.num_resamples)
    check_count("seed", config.seed, minimum=0)
    if not config.memory_gib > 0:
        raise ValueError(f"memory_gib is {config.memory_gib!r}; expected a positive number.")
    if not 0 < config.confidence < 1:
        raise ValueError(f"confidence is {config.confidence!r}; expected a number between 0 and 1.")
    if len(config.quantiles) != 2 or not 0 <= config.quantiles[0] <= config.quantiles[1] <= 1:
        raise ValueError(f"quantiles is {config.quantiles!r}; expected two increasing numbers in [0, 1].")


class Case(NamedTuple):
    """A network, its inputs, the limits of its kernels, and the relative standard error of that of Θ."""

    net: Any
    x: jax.Array
    limits: Blocks
    limit_error: float


def prepared(fields: ConfigDict, images: np.ndarray, config: ConfigDict) -> Case:
    """The network that a config describes, with all that its kernels are held against."""
    net = build_network(fields)
    x = jnp.asarray(network_inputs(fields.kind, images))
    limits, limit_error = limit_blocks(net, x, config.reference, config.samples, config.seed)
    error_scales(limits)
    return Case(net, x, limits, limit_error)


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        data = load_data(config.dataset, config.num_inputs, data_dir=config.data_dir, seed=config.seed)
        networks = networks_of(config)
        cases = {label: prepared(fields, data.train_images, config) for label, fields in networks.items()}
    with script.opened(workdir, config, data=data.fingerprint, may_change=MAY_CHANGE) as (workdir, metrics):
        wanted = [(label, width) for label in cases for width in config.widths]
        measured = {(record["network"], record["width"]) for record in metrics.records} & set(wanted)
        logging.info("%d measurements, %d made before, on %s", len(wanted), len(measured), jax.devices())
        remaining = [case for case in wanted if case not in measured]
        for label, width in tqdm(remaining, desc="widths", initial=len(measured), total=len(wanted)):
            keys = member_keys(config.seed, width, config.num_seeds)
            net, x, limits, _ = cases[label]
            with script.refuse_bad_input((FloatingPointError,)):
                errors = errors_at_width(net, x, limits, width, keys, config.memory_gib)
            errors_by_name = {name: error.tolist() for name, error in errors.items()}
            metrics.append({"network": label, "width": width, "errors": errors_by_name})
        logging.info("writing table and figure into %s", workdir)
        limit_errors = {label: case.limit_error for label, case in cases.items()}
        if "networks" in config:
            print(write_comparison(workdir, config, metrics.records, limit_errors))
        else:
            ((label, limit_error),) = limit_errors.items()
            print(write_report(workdir, config, collect(metrics.records, label, config.widths), limit_error))


if __name__ == "__main__":
    script.run(main, "configs/convergence_mlp_relu.py")
