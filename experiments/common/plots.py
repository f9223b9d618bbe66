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
from matplotlib.typing import ColorType

from ntk.saving.files import replacing

# Okabe & Ito (2008), "Color Universal Design": readers with any common colour vision deficiency can tell them apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X<>"
LINES = ("-", "--", "-.", ":")
LINE_OF_LIMIT = (0, (5, 1, 1, 1, 1, 1))  # unlike all of LINES
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


def make_figure(
    panels: int, *, size: tuple[float, float], columns: int | None = None, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Axes in rows, drawn off screen.

    Args:
        panels: The number of axes.
        size: Width and height in inches. More than 9 inches are too wide for a page.
        columns: The axes of a row. None puts all into one row.
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
    figure, columns = Figure(figsize=size, layout="constrained"), columns or panels
    axes = list(figure.subplots(-(-panels // columns), columns, squeeze=False, **options).flat)
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def describe(figure: Figure, *sentences: str) -> None:
    """Write sentences below a figure that explain its lines, bands and bars. It must not have a legend below it."""
    figure.supxlabel(" ".join(sentences), fontsize=8, color="0.35")


def band_sentence(quantiles: Sequence[float], samples: str) -> str:
    """The sentence below a figure that explains `plot_band`.

    Example:
        >>> band_sentence((0.1, 0.9), "networks")
        'Lines are medians over networks, bands go from their 10 % to their 90 % quantile.'
        >>> band_sentence((0, 1), "seeds")
        'Lines are medians over seeds, bands go from the least to the largest.'
    """
    low, high = quantiles
    ends = f"their {100 * low:g} % to their {100 * high:g} % quantile"
    ends = "the least to the largest" if (low, high) == (0, 1) else ends
    return f"Lines are medians over {samples}, bands go from {ends}."


def save_figure(figure: Figure, stem: Path) -> None:
    """Write STEM.png and STEM.pdf, each completely or not at all. Equal figures give equal files, without dates."""
    dates: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"metadata": {"CreationDate": None}}}
    for kind, options in dates.items():
        with replacing(stem.with_suffix(f".{kind}")) as unfinished:
            figure.savefig(unfinished, format=kind, **options)
        # The layout takes half of the time. It is computed once for both files.
        figure.set_layout_engine("none")


def sequence_colors(count: int) -> list[ColorType]:
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
    color: ColorType,
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
