"""The report of `experiments.generalization_bounds`: a table of every bound, and the figure bounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table

TITLES = {"teacher": "Linear classifier, Gaussian inputs", "digits": "ReLU network, odd against even digits"}
# The figure has one curve for each kind of bound. The other VC bounds are close to this one.
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


def write_report(workdir: Path, records: list[Record], config: ConfigDict) -> str:
    """Write summary.md, bounds.png and bounds.pdf; return the summary."""
    _draw(workdir / "bounds", records, config)
    return write_summary(workdir / "summary.md", _summary(records, config))


def _curve(
    records: list[Record], task: str, value_of: Callable[[Record], float | None]
) -> tuple[np.ndarray, np.ndarray]:
    """The sizes at which records have a number, and the medians over seeds of this number less the training error."""
    found: dict[int, list[float]] = {}
    for record in records:
        value = value_of(record)
        if record["task"] == task and value is not None:
            found.setdefault(record["size"], []).append(value - record["train_error"])
    sizes = sorted(found)
    return np.array(sizes), np.array([np.median(found[size]) for size in sizes])


def _bound_curve(records: list[Record], task: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    return _curve(records, task, lambda record: record["bounds"].get(name))


def _gap_curve(records: list[Record], task: str) -> tuple[np.ndarray, np.ndarray]:
    """The true gap, in absolute value."""
    return _curve(records, task, lambda record: record["train_error"] + abs(record["error"] - record["train_error"]))


def _guessing_curve(records: list[Record], task: str) -> tuple[np.ndarray, np.ndarray]:
    return _curve(records, task, lambda record: record["guessing_error"])


def _summary(records: list[Record], config: ConfigDict) -> str:
    """A table for each task: each bound at every N, and how often the error was above it."""
    parts = []
    for task in config.tasks:
        own = [record for record in records if record["task"] == task]
        names = list(dict.fromkeys(name for record in own for name in record["bounds"]))
        lines = [
            ["true gap, absolute value", *(f"{gap:#.3g}" for gap in _gap_curve(own, task)[1]), ""],
            ["vacuous from", *(f"{gap:#.3g}" for gap in _guessing_curve(own, task)[1]), ""],
        ]
        for name in names:
            sizes, gaps = _bound_curve(own, task, name)
            shown = dict(zip(sizes.tolist(), gaps, strict=True))
            above = sum(record["error"] > record["bounds"].get(name, np.inf) for record in own)
            cells = [f"{shown[n]:#.3g}" if n in shown else "–" for n in config.sizes[task]]
            lines.append([name, *cells, f"{above} of {len(own)}"])
        table = markdown_table(
            ["bound less training error", *(f"N={n}" for n in config.sizes[task]), "violated"], lines
        )
        parts.append(f"{_title(task, config)}.\n\n{table}")
    heading = f"Medians over {config.num_seeds} seeds. Each bound holds with probability {1 - config.delta:g}."
    note = (
        "A bound is vacuous if it is at least the error of guessing. PAC-Bayes bounds the error of noisy parameters,"
        " and the bound of kernel ridge regression is on the error of that regression. On digits the error on new"
        " points is measured on the test data, so a bound from these data cannot be violated there."
    )
    return "\n\n".join([heading, *parts, note])


def _title(task: str, config: ConfigDict) -> str:
    return TITLES[config.tasks[task].kind]


def _draw(stem: Path, records: list[Record], config: ConfigDict) -> None:
    with plots.style():
        figure, panels = plots.make_figure(len(config.tasks), size=(4.4 * len(config.tasks), 4.3), sharey=True)
        for axes, task in zip(panels, config.tasks, strict=True):
            _draw_task(axes, records, task, config)
        # All panels share this limit. It is set last, since Matplotlib does not fit limits to later curves.
        panels[0].set_ylim(top=_CEILING)
        panels[0].set_ylabel("Bound less training error")
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, handlelength=2.0, title="Medians over seeds"
        )
        plots.save_figure(figure, stem)


def _draw_task(axes: Axes, records: list[Record], task: str, config: ConfigDict) -> None:
    colors = (*plots.PALETTE[:6], "0.55")  # black is for the true gap
    for name, color, marker in zip(DRAWN, colors, plots.MARKERS[: len(DRAWN)], strict=True):
        sizes, gaps = _bound_curve(records, task, name)
        axes.plot(sizes, gaps, color=color, marker=marker, markeredgewidth=0, label=name)
    sizes, gaps = _gap_curve(records, task)
    axes.plot(sizes, gaps, "k--", linewidth=2, label="true gap, absolute value")
    sizes, guessing = _guessing_curve(records, task)
    axes.fill_between(sizes, guessing, _CEILING, color="0.93", linewidth=0, zorder=0)
    axes.plot(sizes, guessing, color="0.6", linewidth=1, zorder=0.5, label="error of guessing")
    axes.annotate("vacuous", (0.04, 0.97), xycoords="axes fraction", va="top", color="0.35")
    plots.use_log_axes(axes, "Training points $N$")
    axes.set_title(_title(task, config))
