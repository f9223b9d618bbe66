"""The report of `experiments.kernel_convergence`: fitted slopes, a table (printed, Markdown, CSV), and the figure."""

import csv
import math
from itertools import cycle
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.power_law import Exponent, fit_exponent
from experiments.common.tables import markdown_table
from ntk.saving.files import replacing

Errors = dict[str, Float[np.ndarray, "widths seeds"]]
SYMBOLS = {"ntk": "Θ", "nngp": "NNGP"}
_SHARE = 0.1  # largest standard error of a limit, as a share of the median error at the largest width


def networks_of(config: ConfigDict) -> dict[str, ConfigDict]:
    """The networks of a config, by label. The label of a single network is its kind."""
    return dict(config.networks) if "networks" in config else {config.network.get("kind"): config.network}


def collect(records: list[Record], network: str, widths: tuple[int, ...]) -> Errors:
    """The errors of each kernel of a network, from the records of a run, in the order of the given widths.

    Example:
        >>> first = {"network": "MLP", "width": 16, "errors": {"ntk": [0.2, 0.3]}}
        >>> second = {"network": "MLP", "width": 8, "errors": {"ntk": [0.4, 0.5]}}
        >>> collect([first, second], "MLP", (8, 16))["ntk"].tolist()
        [[0.4, 0.5], [0.2, 0.3]]
    """
    by_width = {record["width"]: record["errors"] for record in records if record["network"] == network}
    return {name: np.array([by_width[width][name] for width in widths]) for name in by_width[widths[0]]}


def write_report(workdir: Path, config: ConfigDict, errors: Errors, limit_error: float) -> str:
    """Write summary.md, summary.csv, convergence.png and convergence.pdf; return the table and a line about Θ.

    `limit_error` is the relative standard error of the limit of Θ, which is 0 for an exact limit.
    """
    widths, slopes = np.array(config.widths), _slopes(config, errors)
    _draw(workdir / "convergence", widths, errors, slopes, config)
    percent, ntk = f"{100 * config.confidence:g} %", slopes["ntk"]
    closing = [f"Slope of Θ's error: {ntk.value:.3f}, {percent} interval [{ntk.low:.3f}, {ntk.high:.3f}]."]
    remarks = remarks_on_limits(config, {"Θ": limit_error}, {"Θ": errors["ntk"]})
    return _write_tables(workdir, config, errors, slopes, "\n".join(remarks + closing))


def write_comparison(workdir: Path, config: ConfigDict, records: list[Record], limit_errors: dict[str, float]) -> str:
    """Write the same files for the errors of Θ of several networks, with a curve for each; return the table."""
    errors = {label: collect(records, label, config.widths)["ntk"] for label in networks_of(config)}
    slopes = _slopes(config, errors)
    _draw_comparison(workdir / "convergence", np.array(config.widths), errors, slopes, config)
    closing = ["Errors are those of Θ.", *remarks_on_limits(config, limit_errors, errors)]
    return _write_tables(workdir, config, errors, slopes, "\n".join(closing))


def remarks_on_limits(config: ConfigDict, limit_errors: dict[str, float], errors: Errors) -> list[str]:
    """The standard errors of sampled limits, and the number of samples that would suffice for each inaccurate limit."""
    sampled = {label: error for label, error in limit_errors.items() if error}
    if not sampled:
        return []
    listed = ", ".join(f"{label} {error:.1e}" for label, error in sampled.items())
    remarks = [f"Limits that are sampled have relative standard errors: {listed}."]
    for label, error in sampled.items():
        median = np.median(errors[label][-1])
        if error > _SHARE * median:
            doublings = math.ceil(2 * math.log2(error / (_SHARE * median)))  # errors fall like samples^(-1/2)
            remarks.append(
                f"Warning: the standard error of {label} is {error / median:.0%} of its median error at"
                f" n={config.widths[-1]}, which flattens the slope; expected at most {_SHARE:.0%}, as with"
                f" --config.samples={config.samples * 2**doublings}."
            )
    return remarks


def _slopes(config: ConfigDict, errors: Errors) -> dict[str, Exponent]:
    options = {"confidence": config.confidence, "num_resamples": config.num_resamples, "seed": config.seed}
    return {name: fit_exponent(np.array(config.widths), values, **options) for name, values in errors.items()}


def _write_tables(workdir: Path, config: ConfigDict, errors: Errors, slopes: dict[str, Exponent], closing: str) -> str:
    widths = np.array(config.widths)
    _write_csv(workdir / "summary.csv", config, errors, slopes)
    table = _table(widths, errors, slopes, config, closing)
    return write_summary(workdir / "summary.md", table)


def _table(
    widths: Int[np.ndarray, " widths"],
    errors: Errors,
    slopes: dict[str, Exponent],
    config: ConfigDict,
    closing: str,
) -> str:
    percent = f"{100 * config.confidence:g} %"
    header = [
        _what(config),
        "slope",
        f"{percent} interval",
        *(f"n={width}" for width in widths),
    ]
    rows = [
        [
            SYMBOLS.get(name, name),
            f"{slope.value:.3f}",
            f"[{slope.low:.3f}, {slope.high:.3f}]",
            *(f"{median:.2e}" for median in np.median(errors[name], axis=1)),
        ]
        for name, slope in slopes.items()
    ]
    # neural-tangents has Θ and the NNGP, but not C and D.
    reference = "neural-tangents (Θ, NNGP) and the recursion (C, D)"
    reference = reference if config.reference == "neural_tangents" else "the limit"
    return "\n".join(
        [
            f"{_title(config)}.",
            f"Relative Frobenius error against {reference}: median over {config.num_seeds} seeds, and slope against n.",
            "",
            markdown_table(header, rows),
            "",
            closing,
        ]
    )


def _write_csv(path: Path, config: ConfigDict, errors: Errors, slopes: dict[str, Exponent]) -> None:
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        low, high = (f"quantile_{quantile:g}" for quantile in config.quantiles)
        writer.writerow([_what(config), "width", "median", low, high, "slope", "slope_low", "slope_high"])
        for name, values in errors.items():
            for width, row in zip(config.widths, values, strict=True):
                writer.writerow([name, width, np.median(row), *np.quantile(row, config.quantiles), *slopes[name]])


def _what(config: ConfigDict) -> str:
    """The header of the first column: each line is about a network, or about a kernel."""
    return "network" if "networks" in config else "kernel"


def _draw(
    stem: Path, widths: Int[np.ndarray, " widths"], errors: Errors, slopes: dict[str, Exponent], config: ConfigDict
) -> None:
    groups = {
        "NTK $\\Theta$ and NNGP": ["ntk", "nngp"],
        "Forward, $C$": [name for name in errors if name.startswith("C")],
        "Backward, $D$": [name for name in errors if name.startswith("D")],
    }
    groups = {title: names for title, names in groups.items() if names}
    with plots.style():
        figure, panels = plots.make_figure(len(groups), size=(max(4.5, 3.0 * len(groups)), 3.9), sharey=True)
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
        plots.describe(figure, plots.band_sentence(config.quantiles, "networks"))
        plots.save_figure(figure, stem)


def _draw_comparison(
    stem: Path, widths: Int[np.ndarray, " widths"], errors: Errors, slopes: dict[str, Exponent], config: ConfigDict
) -> None:
    with plots.style():
        figure, (axes,) = plots.make_figure(1, size=(5.6, 3.9))
        few = len(errors) <= len(plots.PALETTE)
        colors = plots.PALETTE if few else plots.sequence_colors(len(errors))
        opacity = 0.1 if few else 0.0  # many bands on top of each other hide the lines
        for (name, values), color, marker in zip(errors.items(), colors, cycle(plots.MARKERS)):
            label = f"{name}: {slopes[name].value:.2f}".replace("-", "\N{MINUS SIGN}")
            plots.plot_band(
                axes,
                widths,
                values,
                quantiles=config.quantiles,
                color=color,
                marker=marker,
                label=label,
                opacity=opacity,
            )
        above = 1.3 * max(np.max(np.median(values, axis=1) * np.sqrt(widths / widths[0])) for values in errors.values())
        plots.plot_guide(axes, widths, above, -0.5, "$n^{-1/2}$")
        plots.use_log_axes(axes, "Width $n$")
        axes.set_ylabel("Relative Frobenius error of $\\Theta$")
        axes.set_title(_title(config))
        axes.legend(title="Slope", loc="center left", bbox_to_anchor=(1.02, 0.5))
        lines = plots.band_sentence(config.quantiles, "networks")
        plots.describe(figure, lines if opacity else "Lines are medians over networks.")
        plots.save_figure(figure, stem)


def _title(config: ConfigDict) -> str:
    data = f"{config.num_inputs} images of {config.dataset}"
    if "networks" in config:
        return f"NTK of finite width against its limit, on {data}"
    fields = dict(config.network)
    kind = fields.pop("kind")
    arguments = ", ".join(f"{name}={value}" for name, value in fields.items())
    return f"{kind}({arguments}) on {data}" if arguments else f"{kind} on {data}"


def _symbol(name: str) -> str:
    letter, _, index = name.partition("^")
    return f"${letter}^{{{index}}}$" if index else SYMBOLS[name]
