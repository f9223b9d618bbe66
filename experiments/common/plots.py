"""Figures for papers: one style, one way to save, and curves of repeated measurements on logarithmic axes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntk.saving.files import replacing

# Okabe & Ito (2008), "Color Universal Design": readers with any common colour vision deficiency can tell them apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X"
STYLE: dict[Any, Any] = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral", "DejaVu Serif"],
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.0,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    # TrueType fonts, which journals accept and editors can change.
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


def style() -> AbstractContextManager[None]:
    """The common style, for everything drawn and saved inside a `with style():`."""
    return matplotlib.rc_context(STYLE)


def make_figure(columns: int, *, size: tuple[float, float], **options: Any) -> tuple[Figure, list[Axes]]:
    """One row of axes, drawn off screen.

    Args:
        columns: The number of axes.
        size: Width and height in inches.
        **options: For `Figure.subplots`, for example `sharey=True`.

    Example:
        >>> sizes, values = np.array([8, 16, 32]), np.array([[0.3, 0.4], [0.2, 0.3], [0.1, 0.2]])
        >>> with style():
        ...     figure, (axes,) = make_figure(1, size=(3, 2))
        ...     plot_band(axes, sizes, values, quantiles=(0.1, 0.9), color=PALETTE[0], marker="o", label="error")
        ...     plot_guide(axes, sizes, 0.5, -0.5, "$n^{-1/2}$")
        ...     use_log_axes(axes, "Width $n$")
        >>> len(axes.lines)
        2
    """
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False, **options)[0])


def save_figure(figure: Figure, stem: Path) -> None:
    """Write STEM.png and STEM.pdf, each whole or not at all. They hold no dates: equal figures give equal files."""
    dates: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"metadata": {"CreationDate": None}}}
    for kind, options in dates.items():
        with replacing(stem.with_suffix(f".{kind}")) as unfinished:
            figure.savefig(unfinished, format=kind, **options)
        # Laying out takes half of the time, and one layout serves both files.
        figure.set_layout_engine("none")


def sequence_colors(count: int) -> list[Any]:
    """Colours for ordered curves (layers, times): the palette for up to 3, viridis without its pale end for more."""
    if count <= 3:
        return list(PALETTE[:count])
    return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, count)))


def plot_band(
    axes: Axes,
    sizes: Shaped[np.ndarray, " sizes"],
    values: Float[np.ndarray, "sizes samples"],
    *,
    quantiles: Sequence[float],
    color: Any,
    marker: str,
    label: str,
    opacity: float = 0.15,
) -> None:
    """The median over samples as a line, two quantiles as a band around it."""
    low, median, high = np.quantile(values, [quantiles[0], 0.5, quantiles[1]], axis=1)
    axes.fill_between(sizes, low, high, color=color, alpha=opacity, linewidth=0)
    axes.plot(sizes, median, color=color, marker=marker, markeredgewidth=0, label=label)


def plot_guide(axes: Axes, sizes: Shaped[np.ndarray, " sizes"], start: float, exponent: float, label: str) -> None:
    """A dashed line of the given exponent that starts at height `start` over the first size, with a label."""
    heights = start * (sizes / sizes[0]) ** exponent
    axes.plot(sizes, heights, "--", color="0.35", linewidth=1, zorder=1)
    axes.annotate(label, (sizes[0], heights[0]), (4, 2), textcoords="offset points", va="bottom")


def use_log_axes(axes: Axes, xlabel: str) -> None:
    """Logarithmic axes, with powers of 2 along the horizontal one."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
