"""Shared parts of the reports of comparisons: numbers of a table, and the figure of ratios."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.common import plots
from experiments.common.metrics import Record


def median(record: Record, side: str) -> float:
    """The median of the seconds of a program, "ours" or another name.

    Example:
        >>> median({"ours": {"seconds": [1.0, 3.0, 2.0]}}, "ours")
        2.0
    """
    return float(np.median(record[side]["seconds"]))


def rounded(value: float) -> str:
    """Three digits; from 100 on, a whole number.

    Example:
        >>> rounded(0.012345), rounded(1234.5)
        ('0.0123', '1234')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def draw_ratios(stem: Path, titles: Sequence[str], kinds: Sequence[str], ratios: Sequence[float], label: str) -> None:
    """Write STEM.png and STEM.pdf: a bar for each ratio, on a logarithmic axis.

    Args:
        stem: The path of the figure without its ending.
        titles: What each bar is.
        kinds: Bars of one kind have one colour.
        ratios: The lengths of the bars.
        label: What the ratio is.
    """
    colors = dict(zip(dict.fromkeys(kinds), plots.PALETTE, strict=False))
    with plots.style():
        figure, (axes,) = plots.make_figure(1, size=(6.0, 0.8 + 0.19 * len(titles)))
        places = np.arange(len(titles))
        bars = axes.barh(places, np.array(ratios, float), color=[colors[kind] for kind in kinds], height=0.7)
        axes.bar_label(bars, [f"{value:.3g}" for value in ratios], padding=3, fontsize=8)
        axes.set_yticks(places, titles)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.axvline(1.0, color="0.35", linewidth=1)
        axes.margins(x=0.1)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)
        plots.save_figure(figure, stem)
