"""Figures of trained networks: singular values before and after training, reliability, robustness."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.metrics import Record
from experiments.regularization.figures.selection import (
    COLORS,
    LABELS,
    MARKERS,
    base_fields,
    best_of_each,
    label_of,
    last,
    select,
    strengths_of,
)

_SHRINKING = ("l2", "spectral_norm")
# Places among the evaluations.
_BEFORE, _AFTER = 0, -1


def draw_spectra(stem: Path, records: list[Record], config: ConfigDict) -> None:
    """Singular values of the hidden layer: before training, and after it with each regularizer at its best strength.

    Further panels show L2 and spectral normalization at every strength. Their singular values are divided by the
    largest: L2 lowers the rank, and spectral normalization does not (Miyato et al. 2018).
    """
    chosen = best_of_each(records, config)
    if not chosen:
        return
    layer = _hidden_layer(next(iter(chosen.values()))[0])
    swept = [name for name in _SHRINKING if name in chosen and len(config.regularizers[name]) > 1]
    with plots.style():
        figure, panels = plots.make_figure(1 + len(swept), size=(3.4 + 2.7 * len(swept), 3.6))
        _draw_best(panels[0], chosen, layer)
        for axes, name in zip(panels[1:], swept, strict=True):
            _draw_relative(axes, records, name, layer, config)
        for axes in panels:
            axes.set_xlabel("Index $i$")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, handlelength=2.4)
        plots.save_figure(figure, stem)


def draw_reliability(stem: Path, records: list[Record], config: ConfigDict) -> None:
    """Accuracy against confidence, and errors on noisy inputs."""
    chosen = best_of_each(records, config)
    if not chosen:
        return
    with plots.style():
        figure, (left, right) = plots.make_figure(2, size=(6.8, 3.6))
        left.plot([0, 1], [0, 1], "--", color="0.5", linewidth=1)
        for name, found in chosen.items():
            confidences, accuracies = _pooled_reliability(found)
            style: dict[str, Any] = {"color": COLORS[name], "marker": MARKERS[name], "markeredgewidth": 0}
            ece = float(np.median(last(found, "ece")))
            left.plot(confidences, accuracies, **style, label=f"{LABELS[name]}: {ece:.3f}")
            if config.noise_levels:
                errors = np.median(last(found, "noisy_errors"), axis=0)
                clean = float(np.median(last(found, "test_error")))
                right.plot([0, *config.noise_levels], 100 * np.array([clean, *errors]), **style)
        left.set(xlabel="Confidence", ylabel="Accuracy", title="Reliability on test data")
        right.set(xlabel="Standard deviation of noise on inputs", ylabel="Test error, %", title="Robustness")
        figure.legend(title="Expected calibration error", loc="outside lower center", ncols=4)
        plots.save_figure(figure, stem)


def _draw_best(axes: Axes, chosen: dict[str, list[Record]], layer: str) -> None:
    before = _spectrum(next(iter(chosen.values())), layer, _BEFORE)
    axes.plot(_indices(before), before, "k:", linewidth=1, label="before training")
    for (name, found), line in zip(chosen.items(), cycle(plots.LINES), strict=False):
        after = _spectrum(found, layer, _AFTER)
        axes.plot(_indices(after), after, line, color=COLORS[name], label=label_of(name, found[0]["strength"]))
    axes.set(ylabel=r"Singular value $\sigma_i$", title="Each at its best strength")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(bottom=0)


def _draw_relative(axes: Axes, records: list[Record], name: str, layer: str, config: ConfigDict) -> None:
    strengths = strengths_of(config, name)
    for strength, color, line in zip(strengths, plots.sequence_colors(max(len(strengths), 4)), cycle(plots.LINES)):
        found = select(records, regularizer=name, strength=strength, **base_fields(config))
        if found:
            values = _spectrum(found, layer, _AFTER)
            relative = values / max(values[0], 1e-30)
            axes.plot(_indices(values), relative, line, color=color, label=f"{strength:g}")
    axes.set(ylabel=r"$\sigma_i/\sigma_1$", title=LABELS[name], ylim=(0, 1.02))


def _indices(values: np.ndarray) -> np.ndarray:
    return np.arange(1, len(values) + 1)


def _spectrum(records: list[Record], layer: str, evaluation: int) -> np.ndarray:
    """The median over seeds of every singular value."""
    return np.median([record["spectra"][layer][evaluation] for record in records], axis=0)


def _hidden_layer(record: Record) -> str:
    """The layer with most singular values; among equals, the last."""
    sizes = {name: len(values[_AFTER]) for name, values in record["spectra"].items()}
    return max(reversed(list(sizes)), key=lambda name: sizes[name])


def _pooled_reliability(records: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and accuracy, over all seeds, of every bin with at least one percent of the points."""
    shares, confidences, accuracies = (
        np.array([record["reliability"][name][_AFTER] for record in records])
        for name in ("shares", "confidences", "accuracies")
    )
    mass = shares.sum(0)
    held = mass >= 0.01 * len(records)
    return (shares * confidences).sum(0)[held] / mass[held], (shares * accuracies).sum(0)[held] / mass[held]
