"""The report of the study on the sphere: errors of each degree against the paper's, in a table and a figure."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table
from experiments.published.comparisons import Comparison, comparison_table
from experiments.published.sphere import SIZES, predicted_errors, published_errors

PAPER = "Bordelon et al. 2020"
SHOWN = (0, 1, 2, 4, 6, 8)  # degrees; the odd ones above 1 are learned late, and like their neighbours
IN_THE_TABLE = (10, 104, 1000)  # samples
CLOSE = 3  # standard errors


def write_report(workdir: Path, config: ConfigDict, records: list[Record]) -> str:
    """Write summary.md and the figure; return the tables."""
    draw(workdir / "sphere", config, records)
    tables = [_agreement(config, records)]
    if rows := _comparisons(config):
        tables.append(comparison_table(rows, digits=3))
    return write_summary(workdir / "summary.md", "\n\n".join(tables))


def draw(stem: Path, config: ConfigDict, records: list[Record]) -> None:
    """Errors of each degree against the number of samples: predicted, simulated and published."""
    with plots.style():
        figure, panels = plots.make_figure(len(config.dims), size=(4.3 * len(config.dims), 3.9))
        for axes, dim in zip(panels, config.dims, strict=True):
            _draw_dimension(axes, dim, config, [record for record in records if record["dim"] == dim])
        panels[0].set_ylabel("Error in the harmonics of degree $k$")
        panels[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        plots.describe(figure, "Lines are predicted, filled markers simulated, open markers published (50 draws each).")
        plots.save_figure(figure, stem)


def _draw_dimension(axes: Axes, dim: int, config: ConfigDict, records: list[Record]) -> None:
    sizes = np.unique(np.geomspace(min(config.sizes), max(config.sizes), 60).astype(int))
    lines, paper = predicted_errors(dim, tuple(sizes)), published_errors(config.data_dir, dim)
    for number, degree in enumerate(SHOWN):
        color, marker = plots.PALETTE[number], plots.MARKERS[number]
        axes.plot(sizes, lines[:, degree], color=color, label=f"$k={degree}$")
        means, errors = (np.array([record[part][degree] for record in records]) for part in ("mean", "error"))
        at = [record["num_samples"] for record in records]
        axes.errorbar(at, means, errors, fmt=marker, color=color, markersize=3.5)
        if paper is not None:
            axes.plot(SIZES, paper.mean[:, degree], marker, color=color, markerfacecolor="none", markersize=6.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("Samples $N$")
    axes.set_title(f"$d={dim}$")


def _agreement(config: ConfigDict, records: list[Record]) -> str:
    """How many of the errors of the shown degrees lie within three standard errors of the prediction."""
    rows = []
    for dim in config.dims:
        of = [record for record in records if record["dim"] == dim]
        predicted = predicted_errors(dim, tuple(record["num_samples"] for record in of))
        simulated = [np.array([record[part] for record in of]) for part in ("mean", "error")]
        rows.append((f"d = {dim}, simulated", *_counts(predicted, *simulated)))
        if (paper := published_errors(config.data_dir, dim)) is not None:
            rows.append((f"d = {dim}, {PAPER}", *_counts(predicted_errors(dim, SIZES), *paper)))
    return markdown_table(["errors", "cells", f"within {CLOSE} standard errors of the prediction"], rows)


def _counts(predicted: np.ndarray, mean: np.ndarray, error: np.ndarray) -> tuple[str, str]:
    close = np.abs(mean - predicted)[:, SHOWN] <= CLOSE * error[:, SHOWN]
    return str(close.size), str(close.sum())


def _comparisons(config: ConfigDict) -> list[Comparison]:
    rows = []
    for dim in config.dims:
        paper = published_errors(config.data_dir, dim)
        if paper is None:
            continue
        for size in IN_THE_TABLE:
            place, predicted = SIZES.index(size), predicted_errors(dim, (size,))[0]
            for degree in SHOWN[:4]:
                quantity = f"d = {dim}, N = {size}, degree {degree}"
                theirs, error = paper.mean[place, degree], paper.error[place, degree]
                rows.append(Comparison(quantity, PAPER, theirs, predicted[degree], error))
    return rows
