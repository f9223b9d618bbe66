"""What a convergence run leaves behind: fitted slopes, a table (printed, Markdown and CSV), and the figure."""

import csv
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from experiments import plots
from experiments.benchmarking import markdown_table
from experiments.power_law import Exponent, fit_exponent

Errors = dict[str, Float[np.ndarray, "widths seeds"]]
SYMBOLS = {"ntk": "Θ", "nngp": "NNGP"}


def collect(records: list[dict[str, Any]], widths: tuple[int, ...]) -> Errors:
    """The errors of each kernel at the given widths, in this order, from the records of metrics.jsonl.

    Example:
        >>> records = [{"width": 16, "errors": {"ntk": [0.2, 0.3]}}, {"width": 8, "errors": {"ntk": [0.4, 0.5]}}]
        >>> collect(records, (8, 16))["ntk"].tolist()
        [[0.4, 0.5], [0.2, 0.3]]
    """
    by_width = {record["width"]: record["errors"] for record in records}
    return {name: np.array([by_width[width][name] for width in widths]) for name in by_width[widths[0]]}


def write_report(workdir: Path, config: ConfigDict, errors: Errors) -> str:
    """Write summary.md, summary.csv, convergence.png and convergence.pdf; return the table and a line about Θ."""
    widths = np.array(config.widths)
    slopes = {
        name: fit_exponent(
            widths, values, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed
        )
        for name, values in errors.items()
    }
    _write_csv(workdir / "summary.csv", widths, errors, slopes, config.quantiles)
    _draw(workdir / "convergence", widths, errors, slopes, config)
    table = _table(widths, errors, slopes, config)
    (workdir / "summary.md").write_text(table + "\n", encoding="utf-8")
    return table


def _table(widths: Int[np.ndarray, " widths"], errors: Errors, slopes: dict[str, Exponent], config: ConfigDict) -> str:
    percent = f"{100 * config.confidence:g} %"
    header = ["kernel", "slope", f"{percent} interval", *(f"n={width}" for width in widths)]
    rows = [
        [
            SYMBOLS.get(name, name),
            f"{slope.value:.3f}",
            f"[{slope.low:.3f}, {slope.high:.3f}]",
            *(f"{median:.2e}" for median in np.median(errors[name], axis=1)),
        ]
        for name, slope in slopes.items()
    ]
    # Θ and the NNGP can be held against another library; it knows no C and D.
    reference = "neural-tangents (Θ, NNGP) and the recursion (C, D)"
    reference = reference if config.reference == "neural_tangents" else "the recursion"
    ntk = slopes["ntk"]
    return "\n".join(
        [
            f"{_title(config)}.",
            f"Relative Frobenius error against {reference}: median over {config.num_seeds} seeds, and slope against n.",
            "",
            markdown_table(header, rows),
            "",
            f"Slope of Θ's error: {ntk.value:.3f}, {percent} interval [{ntk.low:.3f}, {ntk.high:.3f}].",
        ]
    )


def _write_csv(
    path: Path,
    widths: Int[np.ndarray, " widths"],
    errors: Errors,
    slopes: dict[str, Exponent],
    quantiles: tuple[float, float],
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        low, high = (f"quantile_{quantile:g}" for quantile in quantiles)
        writer.writerow(["kernel", "width", "median", low, high, "slope", "slope_low", "slope_high"])
        for name, values in errors.items():
            for width, row in zip(widths, values, strict=True):
                writer.writerow([name, width, np.median(row), *np.quantile(row, quantiles), *slopes[name]])


def _draw(
    stem: Path, widths: Int[np.ndarray, " widths"], errors: Errors, slopes: dict[str, Exponent], config: ConfigDict
) -> None:
    groups = {
        "NTK $\\Theta$ and NNGP": ["ntk", "nngp"],
        "Forward, $C$": [name for name in errors if name.startswith("C")],
        "Backward, $D$": [name for name in errors if name.startswith("D")],
    }
    with plots.style():
        figure, panels = plots.make_figure(len(groups), size=(9.0, 3.9), sharey=True)
        figure.suptitle(_title(config))
        for axes, (title, names) in zip(panels, groups.items(), strict=True):
            medians = np.array([np.median(errors[name], axis=1) for name in names])
            # Many bands on top of each other hide the lines.
            opacity = 0.15 if len(names) <= 3 else 0.05
            for name, color, marker in zip(names, plots.sequence_colors(len(names)), cycle(plots.MARKERS)):
                label = f"{_symbol(name)}: {slopes[name].value:.2f}".replace("-", "\N{MINUS SIGN}")
                plots.plot_band(
                    axes,
                    widths,
                    errors[name],
                    quantiles=config.quantiles,
                    color=color,
                    marker=marker,
                    label=label,
                    opacity=opacity,
                )
            above = 1.5 * np.max(medians * np.sqrt(widths / widths[0]))
            plots.plot_guide(axes, widths, above, -0.5, "$n^{-1/2}$")
            plots.use_log_axes(axes, "Width $n$")
            axes.set_title(title)
            axes.legend(title="Slope", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        panels[0].set_ylabel("Relative Frobenius error")
        plots.save_figure(figure, stem)


def _title(config: ConfigDict) -> str:
    fields = dict(config.network)
    kind = fields.pop("kind")
    arguments = ", ".join(f"{name}={value}" for name, value in fields.items())
    return f"{kind}({arguments}) on {config.num_inputs} images of {config.dataset}"


def _symbol(name: str) -> str:
    letter, _, index = name.partition("^")
    return f"${letter}^{{{index}}}$" if index else SYMBOLS[name]
