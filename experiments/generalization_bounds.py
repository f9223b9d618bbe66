"""Every bound of `bounds.report` against the true gap between the errors on new points and on the sample, as N grows.

Trains a classifier on N points of each task, several seeds each, and records all bounds and measures. One task has
Gaussian inputs and a linear classifier, so that the probability of error is known exactly; the other is odd against
even digits and a ReLU network, of which it is estimated on digits never trained on.

    python -m experiments.generalization_bounds --config=configs/generalization_bounds.py --workdir=runs/bounds

In the workdir: config.json, metrics.jsonl (one line per task, N and seed), summary.md, bounds.png and bounds.pdf. The
same workdir goes on where it stopped, also with sizes added or left out.
"""

import math
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from matplotlib.axes import Axes
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from bounds.reports.summary import report
from experiments.benchmarks.timing import markdown_table
from experiments.common import plots, script
from experiments.common.environment import write_summary
from experiments.common.training import train
from experiments.generalization.binary_tasks import Task, make_task
from ntk.checks import check_count

TITLES = {"teacher": "linear classifier, Gaussian inputs", "digits": "ReLU network, odd against even digits"}
# The other siblings of the VC bound are curves beside this one.
DRAWN = (
    "binomial tail, test data",
    "VC, Parrondo–van den Broek",
    "Hoeffding, all parameters",
    "Frobenius norms and margins",
    "spectral norms and margins",
    "PAC-Bayes, Gaussian noise",
    "kernel ridge regression, trace",
)

_CEILING = 200  # of the figure


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

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


def measure(task: Task, n: int, seed: int, config: ConfigDict) -> dict[str, Any]:
    """Train once on N points; the errors, and every row of the report."""
    sample, test = task.draw(seed, n)
    prior = task.init(seed)
    x, labels = jnp.asarray(sample.x), jnp.asarray(sample.labels)
    params = train(task.apply, prior, x, labels, steps=config.steps, learning_rate=config.learning_rate)
    gram = ntk.infinite_ntk(task.network, x) if isinstance(task.network, ntk.MLP) else None
    found = report(
        task.apply,
        params,
        x,
        labels,
        x_test=jnp.asarray(test.x),
        labels_test=jnp.asarray(test.labels),
        delta=config.delta,
        network=task.network,
        gram=gram,
        ridge=0.0 if gram is None else config.ridge * float(jnp.trace(gram)) / n,
        prior=prior,
        sigmas=config.sigmas,
        num_draws=config.num_draws,
        key=jax.random.key(seed),
    )
    return {
        "train_error": found.train_error,
        "error": task.error(params, test),
        "bounds": {row.name: row.value for row in found.bounds},
        # JSON knows no infinity, which NTK complexity is where the kernel is singular.
        "measures": {row.name: row.value if math.isfinite(row.value) else None for row in found.measures},
    }


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        tasks = {name: make_task(fields) for name, fields in config.tasks.items()}
        for name, task in tasks.items():
            task.draw(config.seed, max(config.sizes[name]))
        # There is one data set that tasks can be of.
        data = next((task.data for task in tasks.values() if task.data is not None), None)
    sizes = [f"sizes.{name}" for name in tasks]
    with script.opened(workdir, config, data=data, may_change=sizes) as (workdir, metrics):
        seeds = range(config.seed, config.seed + config.num_seeds)
        wanted = [(name, n, seed) for name in tasks for n, seed in product(config.sizes[name], seeds)]
        done = {_place(record) for record in metrics.records} & set(wanted)
        remaining = [place for place in wanted if place not in done]
        logging.info("%d networks, %d measured before, on %s", len(wanted), len(done), jax.devices())
        for name, n, seed in tqdm(remaining, desc="networks", initial=len(done), total=len(wanted)):
            metrics.append({"task": name, "size": n, "seed": seed} | measure(tasks[name], n, seed, config))
        records = [record for record in metrics.records if _place(record) in set(wanted)]
        _draw(workdir / "bounds", records, config)
        summary = _summary(records, config)
        print(write_summary(workdir / "summary.md", summary))


def _place(record: dict[str, Any]) -> tuple[str, int, int]:
    return record["task"], record["size"], record["seed"]


def _curve(records: list[dict[str, Any]], task: str, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sizes, and the median over seeds of a bound less the training error; without a name, of the gap, either way."""
    gaps: dict[int, list[float]] = {}
    for record in records:
        value = record["bounds"].get(name) if name else record["error"]
        if record["task"] == task and value is not None:
            gap = value - record["train_error"]
            gaps.setdefault(record["size"], []).append(gap if name else abs(gap))
    sizes = sorted(gaps)
    return np.array(sizes), np.array([np.median(gaps[size]) for size in sizes])


def _summary(records: list[dict[str, Any]], config: ConfigDict) -> str:
    """A table for each task: each bound at every N, and how often the error was above it."""
    parts = []
    for task in config.tasks:
        own = [record for record in records if record["task"] == task]
        names = list(dict.fromkeys(name for record in own for name in record["bounds"]))
        lines = [["true gap, either way", *(f"{gap:#.3g}" for gap in _curve(own, task)[1]), ""]]
        for name in names:
            sizes, gaps = _curve(own, task, name)
            shown = dict(zip(sizes.tolist(), gaps, strict=True))
            above = sum(record["error"] > record["bounds"].get(name, np.inf) for record in own)
            cells = [f"{shown[n]:#.3g}" if n in shown else "–" for n in config.sizes[task]]
            lines.append([name, *cells, f"{above} of {len(own)}"])
        table = markdown_table(
            ["bound less training error", *(f"N={n}" for n in config.sizes[task]), "violated"], lines
        )
        parts.append(f"{_title(task, config)}.\n\n{table}")
    heading = f"Medians over {config.num_seeds} seeds; each bound holds with probability {1 - config.delta:g}."
    note = (
        "PAC-Bayes bounds the error of noisy parameters, and kernel ridge regression has an error of its own. On digits"
        " the gap is that on the test data, so that bounds from these data cannot be violated there."
    )
    return "\n\n".join([heading, *parts, note])


def _title(task: str, config: ConfigDict) -> str:
    return TITLES[config.tasks[task].kind]


def _draw(stem: Path, records: list[dict[str, Any]], config: ConfigDict) -> None:
    with plots.style():
        figure, panels = plots.make_figure(len(config.tasks), size=(4.4 * len(config.tasks), 4.3), sharey=True)
        for axes, task in zip(panels, config.tasks, strict=True):
            _draw_task(axes, records, task, config)
        panels[0].set_ylim(top=_CEILING)  # for all, and only now: it ends the search for limits that fit
        panels[0].set_ylabel("Above the training error")
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        plots.save_figure(figure, stem)


def _draw_task(axes: Axes, records: list[dict[str, Any]], task: str, config: ConfigDict) -> None:
    colors = (*plots.PALETTE[:6], "0.55")  # black is for the true gap
    for name, color, marker in zip(DRAWN, colors, plots.MARKERS[: len(DRAWN)], strict=True):
        sizes, gaps = _curve(records, task, name)
        axes.plot(sizes, gaps, color=color, marker=marker, markeredgewidth=0, label=name)
    sizes, gaps = _curve(records, task)
    axes.plot(sizes, gaps, "k--", linewidth=2, label="true gap")
    axes.axhspan(1, _CEILING, color="0.93", zorder=0)
    axes.annotate("vacuous", (0.02, 0.97), xycoords="axes fraction", va="top", color="0.35")
    plots.use_log_axes(axes, "Training points $N$")
    axes.set_title(_title(task, config))


if __name__ == "__main__":
    script.run(main, "configs/generalization_bounds.py")
