"""Figures against the other axes of a sweep: double descent in width, label noise, training points."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.metrics import Record
from experiments.regularization.figures.selection import (
    AXES,
    COLORS,
    MARKERS,
    base_fields,
    label_of,
    last,
    select,
)

_TITLES = {
    "width": "Width $n$",
    "learning_rate": "Learning rate",
    "label_noise": "Share of labels redrawn",
    "num_train": "Training points $N$",
}
# Values on the axes that a panel does not show, for its title.
_HELD = {
    "width": "$n={:g}$",
    "learning_rate": r"$\eta={:g}$",
    "label_noise": "{:g} of labels redrawn",
    "num_train": "$N={:g}$",
}


def draw_axes(stem: Path, records: list[Record], config: ConfigDict) -> None:
    """Test and training errors against every axis with several values, one curve per regularizer and strength."""
    varied = [field for field, axis in AXES.items() if len(config[axis]) > 1]
    if not varied:
        return
    with plots.style():
        columns = min(len(varied), 2)
        size = (1.2 + 3.4 * columns, 3.6 * -(-len(varied) // columns))
        figure, panels = plots.make_figure(len(varied), size=size, columns=columns, sharey=True)
        for axes, field in zip(panels, varied, strict=True):
            _draw_axis(axes, records, field, config)
            held = {name: value for name, value in base_fields(config).items() if name in varied and name != field}
            if held:
                axes.set_title("at " + ", ".join(_HELD[name].format(value) for name, value in held.items()))
        for axes in panels[::columns]:
            axes.set_ylabel("Median error, %")
        handles, labels = panels[0].get_legend_handles_labels()
        styles = [Line2D([], [], color="0.35", linestyle=line) for line in ("-", "--")]
        names = ["new points, labels without noise", "training points"]
        figure.legend([*handles, *styles], [*labels, *names], loc="outside lower center", ncols=4)
        plots.save_figure(figure, stem)


def _markers(name: str) -> Iterator[str]:
    """The marker of a regularizer for its first strength, and the others for the following ones."""
    first = plots.MARKERS.index(MARKERS[name])
    return cycle(plots.MARKERS[first:] + plots.MARKERS[:first])


def _draw_axis(axes: Axes, records: list[Record], field: str, config: ConfigDict) -> None:
    fixed = {name: value for name, value in base_fields(config).items() if name != field}
    values = sorted(config[AXES[field]])
    for name, strengths in config.regularizers.items():
        for strength, marker in zip(strengths, _markers(name), strict=False):
            cells = [
                select(records, regularizer=name, strength=float(strength), **fixed, **{field: value})
                for value in values
            ]
            held = [(value, cell) for value, cell in zip(values, cells, strict=True) if cell]
            x = [value for value, _ in held]
            for curve, linestyle, filled in (("test_error", "-", COLORS[name]), ("train_error", "--", "w")):
                y = [100 * float(np.median(last(cell, curve))) for _, cell in held]
                label = label_of(name, float(strength)) if curve == "test_error" else None
                axes.plot(x, y, linestyle, color=COLORS[name], marker=marker, markerfacecolor=filled, label=label)
    if field != "label_noise":
        axes.set_xscale("log", base=2 if field in ("width", "num_train") else 10)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(_TITLES[field])
