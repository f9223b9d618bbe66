"""The report of `experiments.kernel_regression`: a table and two figures."""

from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table

Records = dict[str, Record]
# The name of each prediction, its colour and its marker.
METHODS = {"nngp": "NNGP posterior", "ntk": "NTK ensemble", "finite": "finite networks"}
LOOKS = dict(zip(METHODS, zip(plots.PALETTE, plots.MARKERS, strict=False), strict=False))
SCORES = {"error": "Test error, %", "nll": "Negative log likelihood", "ece": "Calibration error (ECE)"}


def write_report(workdir: Path, config: ConfigDict, records: Records) -> str:
    """Write summary.md and both figures; return the summary."""
    with plots.style():
        _draw_regression(workdir / "regression", config, records)
        _draw_networks(workdir / "networks", config, records)
    summary = _summary(config, records)
    return write_summary(workdir / "summary.md", summary)


def _summary(config: ConfigDict, records: Records) -> str:
    rows = []
    for label, record in records.items():
        for method in (name for name in METHODS if name in record):
            scores = record[method][-1]
            cells = [f"{100 * scores['error']:.1f} %", f"{scores['nll']:.3f}", f"{scores['ece']:.3f}"]
            evidence = f"{max(record['evidence']):.3f}" if method == "nngp" else ""
            rows.append([label, METHODS[method], *cells, evidence])
    found = [
        [label, ", ".join(f"{name} {value:.3g}" for name, value in record["hyperparameters"].items())]
        for label, record in records.items()
    ]
    header = ["network", "prediction", "test error", "NLL", "ECE", "ln p(y) per target"]
    return (
        f"{_title(config)}.\n\n{markdown_table(header, rows)}\n\n"
        f"Hyperparameters of largest marginal likelihood:\n\n{markdown_table(['network', 'values'], found)}"
    )


def _draw_regression(stem: Path, config: ConfigDict, records: Records) -> None:
    """Learning curves and reliability of the networks that were also trained."""
    shown = [label for label in config.finite.networks if label in records] or list(records)[:1]
    figure, panels = plots.make_figure(2 + len(shown), size=(7.6, 3.1 * -(-(2 + len(shown)) // 2)), columns=2)
    figure.suptitle(_title(config, sizes=False))
    lines = dict(zip(shown, cycle(plots.LINES), strict=False))
    for score, axes in zip(("error", "nll"), panels, strict=False):
        for label, line in lines.items():
            _draw_learning_curves(axes, config, records[label], score, line)
        axes.set_xscale("log")
        axes.set_xticks(config.sizes, labels=map(str, config.sizes), minor=False)
        axes.set_xticks([], minor=True)
        axes.set(xlabel="Training points $N$", ylabel=SCORES[score], ylim=(0, None))
    panels[0].set_title("Error on new images")
    panels[1].set_title("Negative log likelihood of their labels")
    _explain_colors(panels[0], [method for method in METHODS if any(method in records[label] for label in shown)])
    for label, line in lines.items():
        panels[1].plot([], [], line, color="0.35", label=label)
    panels[1].legend(loc="upper right", handlelength=2.4)
    for label, axes in zip(shown, panels[2:], strict=True):
        _draw_reliability(axes, config, label, records[label])
    plots.describe(figure, "Areas of markers are shares of predictions, bars are one standard error.")
    plots.save_figure(figure, stem)


def _draw_learning_curves(axes: Axes, config: ConfigDict, record: Record, score: str, line: str) -> None:
    for method in (name for name in METHODS if name in record):
        color, marker = LOOKS[method]
        factor = 100 if score == "error" else 1
        values = [factor * scores[score] for scores in record[method]]
        axes.plot(config.sizes, values, line, color=color, marker=marker, markeredgewidth=0)


def _explain_colors(axes: Axes, methods: list[str]) -> None:
    for method in methods:
        color, marker = LOOKS[method]
        axes.plot([], [], color=color, marker=marker, markeredgewidth=0, label=METHODS[method])
    axes.legend(loc="upper right")


def _draw_reliability(axes: Axes, config: ConfigDict, label: str, record: Record) -> None:
    """Accuracy against confidence. Marker areas show the share of predictions; bars are one standard error."""
    axes.plot([0, 1], [0, 1], "--", color="0.35", linewidth=1)
    for method in (name for name in METHODS if name in record):
        color, marker = LOOKS[method]
        confidence, accuracy, counts = (np.array(values) for values in record[method][-1]["reliability"])
        # Laplace's rule adds one success and one failure, so that the errors of shares 0 and 1 are positive.
        share = (accuracy * counts + 1) / (counts + 2)
        error = np.sqrt(share * (1 - share) / (counts + 2))
        axes.errorbar(confidence, accuracy, error, fmt="none", ecolor=color, elinewidth=0.7, alpha=0.6)
        areas = 6 + 90 * counts / counts.sum()
        text = f"{METHODS[method]}: {record[method][-1]['ece']:.3f}"
        axes.scatter(confidence, accuracy, s=areas, color=color, marker=marker, linewidth=0)
        axes.plot([], [], marker, color=color, label=text)
    axes.set(xlim=(0, 1.05), ylim=(-0.05, 1.05), xlabel="Confidence", ylabel="Accuracy")
    axes.set_title(f"Reliability of {label}, $N={config.sizes[-1]}$")
    axes.legend(title="ECE", loc="lower right")


def _draw_networks(stem: Path, config: ConfigDict, records: Records) -> None:
    """Scores of all networks at the largest sample size, and the ascent of the marginal likelihood."""
    figure, panels = plots.make_figure(4, size=(8.4, 2 * max(2.9, 1.2 + 0.26 * len(records))), columns=2)
    figure.suptitle(_title(config))
    places = np.arange(len(records))[::-1]
    for (score, name), axes in zip(SCORES.items(), panels, strict=False):
        for method, (color, marker) in LOOKS.items():
            factor, shift = 100 if score == "error" else 1, 0.22 * (1 - list(METHODS).index(method))
            found = {place: r[method] for place, r in zip(places, records.values(), strict=True) if method in r}
            values = [factor * scores[-1][score] for scores in found.values()]
            axes.plot(values, [place + shift for place in found], marker, color=color, label=METHODS[method])
        axes.set(xlabel=name, yticks=places, yticklabels=[] if score == "nll" else list(records))
        axes.set_ylim(-0.6, len(records) - 0.4)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))
    for label, look, line in zip(records, plots.sequence_colors(len(records)), cycle(plots.LINES)):
        panels[3].plot(records[label]["evidence"], line, color=look, label=label)
    panels[3].set(xlabel="Step of gradient ascent", ylabel="$\\ln p(y)$ per target", title="Marginal likelihood (NNGP)")
    panels[3].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=2.4)
    plots.save_figure(figure, stem)


def _title(config: ConfigDict, sizes: bool = True) -> str:
    size = f" with {config.sizes[-1]} training images" if sizes else ""
    return f"Kernel regression on {config.dataset}{size}"
