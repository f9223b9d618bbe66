"""The report of `experiments.random_labels`: two tables, and the figure random_labels."""

from itertools import cycle
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table
from experiments.generalization.coin_labels import ROWS

Records = list[Record]


def write_report(workdir: Path, records: Records, config: ConfigDict) -> str:
    """Write summary.md, random_labels.png and random_labels.pdf; return the summary."""
    _draw(workdir / "random_labels", records, config)
    return write_summary(workdir / "summary.md", _summary(records, config))


def _values(records: Records, what: str, places: tuple[float, ...], name: str) -> np.ndarray:
    """The measured values at each fraction or width, (places, seeds)."""
    return np.array([[record[name] for record in records if record.get(what) == place] for place in places])


def _summary(records: Records, config: ConfigDict) -> str:
    fractions, widths = tuple(config.fractions), tuple(config.widths)
    names = {"train_error": "training error", "test_error": "error on new digits", "ntk_complexity": "NTK complexity"}
    lines = [
        [label, *(f"{value:.3f}" for value in np.mean(_values(records, "fraction", fractions, name), axis=1))]
        for name, label in (names | {name: name for name in ROWS}).items()
    ]
    table = markdown_table(["random labels", *(f"{100 * fraction:g} %" for fraction in fractions)], lines)
    fits = np.mean(_values(records, "width", widths, "fit"), axis=1)
    noise = markdown_table(["width", *map(str, widths)], [["fit of coins", *(f"{fit:.3f}" for fit in fits)]])
    heading = f"{config.num_train} digits, means over {config.num_seeds} seeds."
    return f"{heading}\n\n{table}\n\n{noise}"


def _draw(stem: Path, records: Records, config: ConfigDict) -> None:
    fractions, widths = tuple(config.fractions), tuple(config.widths)
    shares = 100 * np.array(fractions)
    with plots.style():
        figure, panels = plots.make_figure(4, size=(7.6, 6.2), columns=2)
        for name, label, color, marker in (
            ("test_error", "on new digits", plots.PALETTE[1], "s"),
            ("train_error", "on the sample", plots.PALETTE[0], "o"),
        ):
            values = _values(records, "fraction", fractions, name)
            plots.plot_band(panels[0], shares, values, quantiles=(0, 1), color=color, marker=marker, label=label)
        panels[0].set(xlabel="Random labels, %", ylabel="Error", title="Networks fit any labels")
        panels[0].legend()
        curves = {"ntk_complexity": "NTK complexity", ROWS[0]: f"bound by {ROWS[0]}", ROWS[1]: ROWS[1]}
        for (name, label), color, marker in zip(curves.items(), plots.PALETTE[2:], "D^v", strict=False):
            values = _values(records, "fraction", fractions, name)
            plots.plot_band(panels[1], shares, values, quantiles=(0, 1), color=color, marker=marker, label=label)
        panels[1].set(xlabel="Random labels, %", title="Complexity grows with noise", yscale="log")
        panels[1].legend()
        for fraction, look, line in zip(fractions, plots.sequence_colors(len(fractions)), cycle(plots.LINES)):
            margins = np.sort(_values(records, "fraction", (fraction,), "margins").ravel())
            levels = np.arange(1, len(margins) + 1) / len(margins)
            panels[2].plot(margins, levels, line, color=look, label=f"{100 * fraction:g} %")
        panels[2].set(xlabel="Margin / (spectral complexity · $\\|X\\|_F/N$)", ylabel="Share of points below")
        panels[2].set_title("Normalized margins shrink")
        panels[2].legend(title="Random labels", handlelength=2.4)
        fits = _values(records, "width", widths, "fit")
        plots.plot_band(
            panels[3], np.array(widths), fits, quantiles=(0, 1), color=plots.PALETTE[0], marker="o", label="networks"
        )
        panels[3].set_xscale("log", base=2)
        panels[3].set(xlabel="Width", ylim=(0, 1.05), title="Fit of coins, at most the Rademacher complexity")
        panels[3].set_ylabel("$\\frac{1}{m}\\sum\\sigma_i\\,\\mathrm{sign}\\,f(x_i)$")
        plots.describe(figure, plots.band_sentence((0, 1), "seeds"))
        plots.save_figure(figure, stem)
