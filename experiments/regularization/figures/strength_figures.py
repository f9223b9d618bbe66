"""Figures against strength: errors and the gap between them, sparsity."""

from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.metrics import Record
from experiments.regularization.figures.selection import (
    COLORS,
    LABELS,
    MARKERS,
    STRENGTHS,
    base_fields,
    last,
    select,
    stopped_early,
    strengths_of,
)

_COLUMNS = 4


def draw_gaps(stem: Path, records: list[Record], config: ConfigDict) -> None:
    """One panel for each regularizer: errors on training points and on new points, and the gap shaded between them."""
    names = [name for name in LABELS if name in config.regularizers and len(config.regularizers[name]) > 1]
    if not names:
        return
    rows, columns = -(-len(names) // _COLUMNS), min(len(names), _COLUMNS)
    with plots.style():
        figure = Figure(figsize=(1.0 + 2.15 * columns, 0.7 + 2.1 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, name in zip_longest(panels.flat, names):
            if name is None:
                axes.axis("off")
            else:
                _draw_gap(axes, records, name, config)
        for axes in panels[:, 0]:
            axes.set_ylabel("Median error, %")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        # Below a full row of panels the legend fits on one line; below fewer panels it needs several.
        entries = len(labels) if columns == _COLUMNS else columns
        lines = -(-len(labels) // entries)
        figure.set_figheight(figure.get_figheight() + 0.18 * (lines - 1))
        figure.legend(handles, labels, loc="outside lower center", ncols=entries)
        plots.save_figure(figure, stem)


def draw_sparsity(stem: Path, records: list[Record], config: ConfigDict) -> None:
    """The share of weights that are exactly zero, and the test accuracy, against the strength of L1."""
    names = [name for name in ("l1", "elastic_net") if len(config.regularizers.get(name, ())) > 1]
    if not names:
        return
    with plots.style():
        figure, (left, right) = plots.make_figure(2, size=(6.4, 2.9))
        for name in names:
            strengths, zeros = _by_strength(records, name, "sparsity", config)
            _, errors = _by_strength(records, name, "test_error", config)
            for axes, values in ((left, 100 * zeros), (right, 100 * (1 - errors))):
                _plot(axes, strengths, values, name, LABELS[name])
        # Other penalties shrink weights but set none to zero.
        for name in ("l2", "spectral"):
            if len(config.regularizers.get(name, ())) > 1:
                strengths, zeros = _by_strength(records, name, "sparsity", config)
                _plot(left, strengths, 100 * zeros, name, LABELS[name])
        left.set_ylabel("Weights that are exactly 0, %")
        right.set_ylabel("Test accuracy, %")
        for axes in (left, right):
            _use_strength_axis(axes, "l1")
        left.legend(loc="upper left")
        plots.describe(figure, plots.band_sentence((0, 1), "seeds"))
        plots.save_figure(figure, stem)


def _draw_gap(axes: Axes, records: list[Record], name: str, config: ConfigDict) -> None:
    strengths, train = _by_strength(records, name, "train_error", config)
    _, gap = _by_strength(records, name, "gap", config)
    _, test = _by_strength(records, name, "test_error", config)
    if len(strengths):
        color = COLORS[name]
        low, high, clean = (100 * np.median(values, axis=1) for values in (train, train + gap, test))
        axes.fill_between(strengths, low, high, color=color, alpha=0.15, linewidth=0, label="gap")
        axes.plot(strengths, high, color=color, marker="o", label="new points")
        axes.plot(strengths, low, color=color, marker="s", linestyle="--", markerfacecolor="w", label="training points")
        if config.label_noise[0]:
            axes.plot(strengths, clean, color="k", marker="^", label="new points, labels without noise")
    plain = select(records, regularizer="none", **base_fields(config))
    if plain:
        for linestyle, label, errors in (
            (":", "the same without penalty", last(plain, "test_error")),
            ("-.", "without penalty, stopped early", [stopped_early(record, "test_error") for record in plain]),
        ):
            height = 100 * float(np.median(errors))
            axes.axhline(height, color=COLORS["none"], linewidth=1, linestyle=linestyle, label=label)
    axes.set_title(LABELS[name])
    _use_strength_axis(axes, name)


def _by_strength(records: list[Record], name: str, curve: str, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """The strengths at which no seed diverged, and the last values of a curve there, (strengths, seeds)."""
    found = {}
    for strength in strengths_of(config, name):
        values = last(select(records, regularizer=name, strength=strength, **base_fields(config)), curve)
        if len(values) == config.num_seeds:
            found[strength] = values
    return np.array(list(found)), np.array(list(found.values())).reshape(len(found), config.num_seeds)


def _plot(axes: Axes, strengths: np.ndarray, values: np.ndarray, name: str, label: str) -> None:
    plots.plot_band(axes, strengths, values, quantiles=(0, 1), color=COLORS[name], marker=MARKERS[name], label=label)


def _use_strength_axis(axes: Axes, name: str) -> None:
    if name not in STRENGTHS:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(STRENGTHS.get(name, r"Strength $\lambda$"))
