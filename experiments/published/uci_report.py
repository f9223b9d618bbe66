"""The report of the UCI study: average accuracies beside the paper's, and paired tests between families."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict
from scipy import stats

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table
from experiments.published.comparisons import Comparison, comparison_table

PAPER = "Arora et al. 2020"
THEIRS = {"NTK": (81.95, 14.10)}  # mean and standard deviation over 90 sets, in per cent
ALL = 90


def write_report(workdir: Path, config: ConfigDict, records: list[Record]) -> str:
    """Write summary.md and the figure; return the tables."""
    by_family = {family: [r for r in records if r["family"] == family] for family in config.families}
    accuracies = {family: np.array([100 * np.mean(r["accuracies"]) for r in of]) for family, of in by_family.items()}
    draw(workdir / "uci", accuracies)
    return write_summary(workdir / "summary.md", f"{_comparisons(accuracies)}\n\n{_families(accuracies)}")


def draw(stem: Path, accuracies: dict[str, Float[np.ndarray, " S"]]) -> None:
    """For each family, the share of sets on which it reaches at least so much of the best family's accuracy."""
    best = np.max(list(accuracies.values()), axis=0)
    share = np.arange(len(best), 0, -1) / len(best)
    with plots.style():
        figure, (axes,) = plots.make_figure(1, size=(5.0, 3.6))
        for number, (family, each) in enumerate(accuracies.items()):
            color, line = plots.PALETTE[number % len(plots.PALETTE)], plots.LINES[number % len(plots.LINES)]
            axes.step(np.sort(each / best), share, where="post", color=color, linestyle=line, label=family)
        axes.set_xlabel("Accuracy over that of the best family")
        axes.set_ylabel("Share of sets with at least this")
        axes.legend()
        plots.save_figure(figure, stem)


def _comparisons(accuracies: dict[str, Float[np.ndarray, " S"]]) -> str:
    rows = []
    for family, each in accuracies.items():
        mean, spread = THEIRS.get(family, (None, None)) if len(each) == ALL else (None, None)
        # Both are means over the same sets with the same splits, so that there is no error of sampling.
        rows.append(Comparison(f"{family}: mean accuracy, %", PAPER if mean else "–", mean, float(each.mean())))
        rows.append(Comparison(f"{family}: deviation over sets", PAPER if mean else "–", spread, float(each.std())))
    return comparison_table(rows)


def _families(accuracies: dict[str, Float[np.ndarray, " S"]]) -> str:
    """Ranks, shares of the best, and Wilcoxon's test against the first family; below it Friedman's test of all."""
    names, table = list(accuracies), np.stack(list(accuracies.values()), axis=1)
    ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    best = table.max(axis=1)
    rows = []
    for name, each, rank in zip(names, table.T, ranks, strict=True):
        shares = [f"{100 * np.mean(each >= part * best):.0f} %" for part in (0.9, 0.95)]
        differ = np.any(each != table[:, 0])
        p_value = f"{stats.wilcoxon(each, table[:, 0]).pvalue:.2g}" if differ else "–"
        rows.append(
            (name, f"{each.mean():.2f}", f"{rank:.2f}", *shares, f"{np.mean(each - table[:, 0]):+.2f}", p_value)
        )
    header = ["family", "mean, %", "mean rank", "within 90 %", "within 95 %", f"minus {names[0]}", "Wilcoxon p"]
    text = markdown_table(header, rows)
    if len(names) > 2:
        text += (
            f"\n\nFriedman's test that all families rank the same: p = {stats.friedmanchisquare(*table.T).pvalue:.2g}."
        )
    return text
