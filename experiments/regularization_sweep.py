"""Sweeps over regularizers, their strengths and seeds: the effects on the gap, the weights and the function.

Trains every member of a grid of regularizers × strengths × widths × learning rates × label noise × training sizes ×
seeds. Members of one shape are trained together, in one compiled program. Records losses, errors, norms, spectra,
Lipschitz constants, margins, calibration, robustness, the drift of the NTK and every bound, and draws figures of them.

    python -m experiments.regularization_sweep --config=configs/regularization_sweep.py --workdir=runs/sweep
    python -m experiments.regularization_sweep --config=configs/regularization_sweep.py:l1 --workdir=runs/l1

In the workdir: config.json, metrics.jsonl (one line per member), summary.md and figures as PNG and PDF. A rerun in the
same workdir resumes from the last checkpoint, also after a kill, and gives the same numbers.
"""

import functools
import shutil
from logging import WARNING, LogRecord
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.common import script
from experiments.common.metrics import MetricsFile, Record
from experiments.data.images import load_data
from experiments.regularization.engine import Program, member_mesh
from experiments.regularization.figures.report import write_report
from experiments.regularization.members import Member, Shape, grid
from experiments.regularization.models import MODELS, make_model
from experiments.regularization.optimizers import OPTIMIZERS
from experiments.regularization.records import bound_options, member_record
from experiments.regularization.samples import Samples, draw_samples
from experiments.regularization.training import make_plan, train_chunk, use_all_cores
from ntk.checks import check_choice, check_count, check_nonnegative

LOSSES = ("cross_entropy", "squared")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"loss": "hinge"}))
        Traceback (most recent call last):
        ...
        ValueError: loss is 'hinge'; expected one of 'cross_entropy', 'squared'.
    """
    check_choice("loss", config.loss, LOSSES)
    check_choice("optimizer", config.optimizer, OPTIMIZERS)
    check_choice("network.kind", config.network.get("kind"), MODELS)
    check_count("num_steps", config.num_steps)
    check_count("num_evaluations", config.num_evaluations)
    if config.num_evaluations > config.num_steps:
        raise ValueError(f"num_evaluations is {config.num_evaluations}; expected at most {config.num_steps} steps.")
    if config.batch_size is not None:
        check_count("batch_size", config.batch_size)
    elif len(set(config.train_sizes)) > 1:
        raise ValueError(f"batch_size is None; expected a number for train_sizes {tuple(config.train_sizes)!r}.")
    check_count("num_probes", config.num_probes, minimum=0)
    if not 0 <= config.momentum < 1:
        raise ValueError(f"momentum is {config.momentum!r}; expected a number in [0, 1).")
    for level in config.noise_levels:
        check_nonnegative("noise_levels", level)
    bound_options(config.bounds)
    if not config.memory_gib > 0:
        raise ValueError(f"memory_gib is {config.memory_gib!r}; expected a positive number.")


def schedule_of(config: ConfigDict) -> list[int]:
    """The steps at which members are evaluated, including step 0 and the last step.

    Example:
        >>> schedule_of(ConfigDict({"num_steps": 10, "num_evaluations": 3}))
        [0, 3, 7, 10]
    """
    return np.linspace(0, config.num_steps, config.num_evaluations + 1).round().astype(int).tolist()


def program_of(config: ConfigDict, shape: Shape, samples: Samples) -> Program:
    """The program that trains the members of one shape."""
    fields = ConfigDict(config.network.to_dict() | {"width": shape.width})
    return Program(
        model=make_model(fields, samples.num_classes, shape.layers, samples.x_train.dtype),
        loss=config.loss,
        optimizer=config.optimizer,
        momentum=config.momentum,
        batch_size=config.batch_size,
        singular_values=shape.singular_values,
        sized=len(config.train_sizes) > 1,
        noise_levels=tuple(config.noise_levels),
        num_probes=config.num_probes,
        batch_seed=config.seed,
    )


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the sweep that `config` describes in `workdir`."""
    use_all_cores()
    # Orbax logs dozens of lines for each checkpoint at level INFO.
    logging.get_absl_logger().addFilter(_is_not_of_orbax)
    with script.refuse_bad_input():
        check_config(config)
        groups = grid(config)
        data = load_data(config.dataset, data_dir=config.data_dir, seed=config.seed)
        sizes = (max(config.train_sizes), config.num_validation, config.num_test)
        samples = draw_samples(data, sizes, MODELS[config.network.kind][1], seed=config.seed)
        programs = {shape: program_of(config, shape, samples) for shape in groups}
    with script.opened(workdir, config, data=data.fingerprint, may_change=("data_dir",)) as (workdir, metrics):
        done = {member_of(record) for record in metrics.records}
        num_members = sum(map(len, groups.values()))
        logging.info("%d members, %d finished before, on %s", num_members, len(done), jax.devices())
        schedule = schedule_of(config)
        with tqdm(total=num_members * len(schedule), desc="evaluations") as bar:
            for shape, members in groups.items():
                if done.issuperset(members):
                    bar.update(len(members) * len(schedule))
                else:
                    folder = workdir / "checkpoints" / "_".join(map(str, shape))
                    _train_group(folder, config, programs[shape], members, samples, metrics, bar)
        shutil.rmtree(workdir / "checkpoints", ignore_errors=True)
        print(write_report(workdir, config, metrics.records))


def member_of(record: Record) -> Member:
    """The member of a line of metrics."""
    return Member(**{name: record[name] for name in Member._fields})


def _is_not_of_orbax(record: LogRecord) -> bool:
    return "orbax" not in record.pathname or record.levelno >= WARNING


def _train_group(
    folder: Path,
    config: ConfigDict,
    program: Program,
    members: list[Member],
    samples: Samples,
    metrics: MetricsFile,
    bar: tqdm,
) -> None:
    """Train members of one shape, chunk by chunk, and write their records."""
    done, schedule = {member_of(record) for record in metrics.records}, schedule_of(config)
    plan = make_plan(program, members, samples, member_mesh(), config.memory_gib)
    logging.info("%d members, %d at once in blocks of %d", len(members), plan.size, plan.block)
    options = bound_options(config.bounds)
    for place in range(0, len(members), plan.size):
        chunk = members[place : place + plan.size]
        if done.issuperset(chunk):
            bar.update(len(chunk) * len(schedule))
            continue
        # The name has the size too, since the same run has other chunks with another number of devices.
        kept = folder / f"{place}_of_{plan.size}"
        trained = train_chunk(plan, chunk, samples, schedule, kept, functools.partial(bar.update, len(chunk)))
        for index, member in enumerate(chunk):
            if member not in done:
                metrics.append(member_record(program, member, index, trained, samples, schedule, options))
        shutil.rmtree(kept)


if __name__ == "__main__":
    script.run(main, "configs/regularization_sweep.py")
