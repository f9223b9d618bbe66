"""The report of `experiments.vc_growth`: two tables, and the figures growth, shattering and chain."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from bounds.counting.dichotomies import linear_separators
from bounds.counting.growth import sauer
from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table
from experiments.generalization.symmetrization import STEPS, massart_bound

Records = list[Record]
TRIANGLE = np.array([[-0.8, -0.6], [0.8, -0.6], [0.0, 0.8]])
SQUARE = np.array([[-0.7, -0.7], [0.7, -0.7], [0.7, 0.7], [-0.7, 0.7]])


def write_report(workdir: Path, config: ConfigDict, records: Records) -> str:
    """Write summary.md and the three figures; return the tables."""
    draw_growth(workdir / "growth", config, records)
    draw_shattering(workdir / "shattering")
    chain = [record for record in records if record["what"] == "chain"]
    draw_chain(workdir / "chain", chain)
    summary = f"{_counts_table(records)}\n\n{_chain_table(chain)}"
    return write_summary(workdir / "summary.md", summary)


def draw_growth(stem: Path, config: ConfigDict, records: Records) -> None:
    """Counts as markers, growth functions as lines, Sauer's sums (theory.md 9.1) as dots."""
    with plots.style():
        figure, (left, right) = plots.make_figure(2, size=(8.6, 3.9))
        dims = range(1, len(config.max_points) + 1)
        for dim, color, marker in zip(dims, plots.PALETTE, plots.MARKERS, strict=False):
            sizes = _draw_counts(left, records, f"half-spaces in R^{dim}", f"$d={dim}$", color, marker)
            left.plot(sizes, [sauer(int(n), dim + 1) for n in sizes], ":", color=color)
        left.set_title("Affine half-spaces of $\\mathbb{R}^d$")
        for what, label, vc_dim, color, marker in (
            ("intervals", "intervals on the line", 2, plots.PALETTE[3], "v"),
            ("half-spaces in R^2", "half-planes", 3, plots.PALETTE[1], "s"),
            ("rectangles", "rectangles", 4, plots.PALETTE[4], "^"),
            ("network", f"network of {config.network.width} units, at least", None, plots.PALETTE[5], "P"),
        ):
            sizes = _draw_counts(right, records, what, label, color, marker)
            if vc_dim is not None:
                right.plot(sizes, [sauer(int(n), vc_dim) for n in sizes], ":", color=color)
        right.set_title("Classes on the line and in the plane")
        for axes in (left, right):
            sizes = np.arange(1, max(config.max_points) + 1)
            axes.plot(sizes, 2.0**sizes, "--", color="0.35", linewidth=1, label="$2^N$, shattered")
            axes.set_yscale("log", base=2)
            axes.set_xlabel("Points $N$")
            axes.set_ylabel("Dichotomies")
            axes.legend()
        plots.describe(
            figure, "Markers are the most dichotomies found, solid lines growth functions, dotted lines Sauer's bound."
        )
        plots.save_figure(figure, stem)


def draw_shattering(stem: Path) -> None:
    """Every dichotomy of three points and of four in a square, each with a line that separates it, if there is one."""
    with plots.style():
        figure = Figure(figsize=(8.6, 3.7), layout="constrained")
        rows = figure.subplots(3, 8)
        for axes, pattern in zip(rows[0], itertools.product((-1, 1), repeat=3), strict=True):
            _draw_dichotomy(axes, TRIANGLE, pattern)
        for axes, pattern in zip(rows[1:].ravel(), itertools.product((-1, 1), repeat=4), strict=True):
            _draw_dichotomy(axes, SQUARE, pattern)
        figure.suptitle("Half-planes shatter three points, and make 14 of the 16 dichotomies of four")
        plots.save_figure(figure, stem)


def draw_chain(stem: Path, chain: Records) -> None:
    """Each step of the chain against m, with two standard errors."""
    sizes = np.array([record["n"] for record in chain])
    with plots.style():
        figure, (axes,) = plots.make_figure(1, size=(5.2, 3.7))
        labels = (
            "$\\mathrm{E}\\,\\sup_g(\\mathrm{E}g-\\hat{\\mathrm{E}}g)$",
            "$\\mathrm{E}\\,\\sup_g(\\hat{\\mathrm{E}}'g-\\hat{\\mathrm{E}}g)$, ghost sample",
            "$2\\mathcal{R}_m$",
        )
        for i, (label, color, marker) in enumerate(zip(labels, plots.PALETTE, plots.MARKERS, strict=False)):
            means = [record["means"][i] for record in chain]
            errors = [2 * record["standard_errors"][i] for record in chain]
            axes.errorbar(sizes, means, errors, color=color, marker=marker, label=label)
        bound = [massart_bound(int(m)) for m in sizes]
        axes.plot(sizes, bound, "--", color="0.35", label="Massart, $2\\sqrt{2\\ln(m+1)/m}$")
        plots.use_log_axes(axes, "Sample size $m$")
        axes.set_ylabel("Mean over samples")
        axes.set_title("Symmetrization, for thresholds on $[0,1]$")
        axes.legend()
        plots.describe(figure, "Bars are two standard errors, mostly smaller than the markers.")
        plots.save_figure(figure, stem)


def _draw_counts(axes: Axes, records: Records, what: str, label: str, color: str, marker: str) -> np.ndarray:
    """Draw the largest counts as markers and a known growth function as a line; return the numbers of points."""
    own = [record for record in records if record["what"] == what]
    sizes = np.array([record["n"] for record in own])
    axes.plot(sizes, [max(record["counts"]) for record in own], marker, color=color, label=label)
    known = [(record["n"], record["growth_function"]) for record in own if record["growth_function"]]
    if known:
        axes.plot(*zip(*known, strict=True), color=color)
    return sizes


def _draw_dichotomy(axes: Axes, points: np.ndarray, pattern: tuple[int, ...]) -> None:
    separators = linear_separators(points)
    makes = np.flatnonzero((separators.signs == pattern).all(axis=1))
    if makes.size:
        grid = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, 200)] * 2), axis=-1)
        w = centred_boundary(points, np.array(pattern), separators.weights[makes[0]])
        axes.contourf(grid[..., 0], grid[..., 1], grid @ w[:2] + w[2], [-1e9, 0, 1e9], colors=["#F6DDCC", "#CCE3F0"])
    else:
        axes.text(0, 0, "no line", ha="center", va="center")
    for value, color, marker in ((1, plots.PALETTE[0], "o"), (-1, plots.PALETTE[1], "s")):
        chosen = points[np.array(pattern) == value]
        axes.plot(chosen[:, 0], chosen[:, 1], marker, color=color, markersize=6)
    axes.set(xticks=[], yticks=[], xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")


def centred_boundary(points: np.ndarray, signs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weights with the boundary midway between both classes. A single class has the whole plane."""
    heights = points @ weights[:2]
    if abs(signs.sum()) == len(signs):
        return np.array([0.0, 0.0, signs[0]])
    middle = (heights[signs > 0].min() + heights[signs < 0].max()) / 2
    return np.array([*weights[:2], -middle])


def _counts_table(records: Records) -> str:
    counted = [record for record in records if record["what"] != "chain"]
    kinds = list(dict.fromkeys(record["what"] for record in counted))
    sizes = sorted({record["n"] for record in counted})
    met = {(record["what"], record["n"]): max(record["counts"]) for record in counted}
    lines = [[what, *(str(met.get((what, n), "–")) for n in sizes)] for what in kinds]
    return "The most dichotomies found; for the network, a lower bound.\n\n" + markdown_table(
        ["class", *(f"N={n}" for n in sizes)], lines
    )


def _chain_table(chain: Records) -> str:
    lines = [
        [
            str(record["n"]),
            *(
                f"{mean:.4f} ± {error:.4f}"
                for mean, error in zip(record["means"], record["standard_errors"], strict=True)
            ),
            f"{massart_bound(record['n']):.4f}",
        ]
        for record in chain
    ]
    return "Means and standard errors.\n\n" + markdown_table(["m", *STEPS], lines)
