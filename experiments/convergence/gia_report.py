"""The report of `experiments.gia`: two tables, and the figure gia."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.power_law import fit_exponent
from experiments.common.tables import markdown_table
from experiments.convergence.gia_programs import GRADIENT, Limits

Records = list[Record]


def write_report(
    workdir: Path, records: Records, at_zero: Limits, limits: dict[str, Limits], config: ConfigDict
) -> str:
    """Write summary.md, gia.png and gia.pdf; return the summary.

    Args:
        workdir: The folder.
        records: What was measured at every width.
        at_zero: The limits at ξ = 0 of the program whose gradient is measured.
        limits: The limits of every program, by its name.
        config: The config.
    """
    _draw(workdir / "gia", records, at_zero, list(limits), config)
    return write_summary(workdir / "summary.md", _summary(records, at_zero, limits, config))


def _values(records: Records, what: str, name: str, config: ConfigDict) -> Float[np.ndarray, "widths seeds"]:
    """The measured values of every network at each width."""
    found = {record["width"]: record[name] for record in records if record["what"] == what}
    return np.array([found[width] for width in config.widths])


def _summary(
    records: Records,
    at_zero: Limits,
    limits: dict[str, Limits],
    config: ConfigDict,
) -> str:
    corrected, gia = at_zero["corrected"], at_zero["gia"]
    last = config.widths[-1]
    rows = []
    for label, name, exact in (("mean of dx¹", "mean", 2.0), ("second moment of dx¹", "second_moment", 8 + 4 / last)):
        moments = [k.gradient_mean["x1"][0] if name == "mean" else k.D["x1"][0, 0] for k in (gia, corrected)]
        values = _values(records, GRADIENT, name, config)[-1]
        error = values.std(ddof=1) / len(values) ** 0.5
        rows.append(
            [label, *(f"{value:z.3f}" for value in moments), f"{exact:.3f}", f"{values.mean():.3f} ± {error:.3f}"]
        )
    header = ["y = 1ᵀ(W²x¹)²/n at ξ = 0", "GIA", "corrected", f"exact, n = {last}", f"networks, n = {last}"]
    errors = []
    for what in limits:
        for name, label in (("gia", "GIA"), ("corrected", "corrected")):
            values = _values(records, what, name, config)
            slope = fit_exponent(np.array(config.widths), values, seed=config.seed)
            limit = limits[what][name]
            own = float(jnp.linalg.norm(limit.standard_error.ntk) / jnp.linalg.norm(limit.ntk))
            medians = (f"{value:.4f}" for value in np.median(values[[0, -1]], axis=1))
            errors.append([f"{what}, {label}", *medians, f"{slope.value:+.3f}", f"{own:.4f}"])
    table = markdown_table(
        ["NTK against the limit", f"n = {config.widths[0]}", f"n = {last}", "slope", "error of the limit"],
        errors,
    )
    heading = (
        f"Medians of relative Frobenius errors; {config.num_seeds} networks at each width, {config.num_inputs} inputs."
    )
    return f"{markdown_table(header, rows)}\n\n{heading}\n\n{table}"


def _draw(stem: Path, records: Records, at_zero: Limits, programs: list[str], config: ConfigDict) -> None:
    widths = np.array(config.widths)
    blue, red = plots.PALETTE[:2]
    with plots.style():
        figure, panels = plots.make_figure(2 + len(programs), size=(8.8, 5.6), columns=3)
        for axes, name, title in (
            (panels[0], "mean", "Mean of $dx^1 = 2W^{2\\top}W^2x^1$"),
            (panels[1], "second_moment", "Second moment of $dx^1$"),
        ):
            values = _values(records, GRADIENT, name, config)
            plots.plot_band(axes, widths, values, quantiles=(0.1, 0.9), color="0.2", marker="o", label="networks")
            for label, key, color, line in (("corrected", "corrected", blue, "--"), ("GIA", "gia", red, "-.")):
                limit = at_zero[key]
                height = float(limit.gradient_mean["x1"][0] if name == "mean" else limit.D["x1"][0, 0])
                axes.axhline(height, color=color, linestyle=line, label=label)
            if name == "second_moment":
                axes.plot(widths, 8 + 4 / widths, ":", color="0.2", label="$8 + 4/n$")
            axes.set_xscale("log", base=2)
            axes.set(xlabel="Width $n$", title=title)
            axes.legend()
        for axes, what in zip(panels[2:], programs, strict=True):
            for name, label, color, marker in (("corrected", "corrected", blue, "o"), ("gia", "GIA", red, "s")):
                values = _values(records, what, name, config)
                plots.plot_band(axes, widths, values, quantiles=(0.1, 0.9), color=color, marker=marker, label=label)
            start = 0.5 * np.median(_values(records, what, "corrected", config)[0])
            plots.plot_guide(axes, widths, start, -0.5, "$n^{-1/2}$")
            plots.use_log_axes(axes, "Width $n$")
            axes.set(title=f"NTK of {what}")
            axes.legend()
            axes.set_ylabel("Relative Frobenius error")
        plots.describe(figure, plots.band_sentence((0.1, 0.9), "networks"))
        plots.save_figure(figure, stem)
