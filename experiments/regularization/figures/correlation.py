"""Kendall's rank correlation over members: which measures order networks as their generalization gaps do."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy import stats

from experiments.common import plots
from experiments.common.metrics import Record
from experiments.regularization.figures.selection import COLORS, LABELS, MARKERS, last, select
from experiments.regularization.members import REGULARIZERS

_FEWEST = 3
# The measures that are drawn against the gap, with the names of their axes.
_SHOWN = {
    "spectral norms and margins": "Margin bound less training error",
    "spectral complexity": "Spectral complexity",
    "Frobenius norm": "Frobenius norm",
}
# Measures that `bounds.report` does not have, from the last value of each curve. Values of layers are summed.
_READ: dict[str, Callable[[dict[str, Any]], float]] = {
    "Lipschitz constant, lower estimate": lambda end: end.get("lipschitz_estimate", math.nan),
    "NTK drift": lambda end: end.get("ntk_drift", math.nan),
    "stable ranks, summed": lambda end: sum(end["stable_rank"]),
    "effective ranks, summed": lambda end: sum(end["effective_rank"]),
    "spectral norms, summed": lambda end: sum(end["spectral"]),
    "L1 norm": lambda end: sum(end["one"]),
    "share of weights not 0": lambda end: 1 - end["sparsity"],
    "1/median margin": lambda end: 1 / end["margins"][2] if end["margins"][2] > 0 else math.nan,
}


class Correlation(NamedTuple):
    """Kendall's τ of a measure with the gap.

    Attributes:
        overall: τ over all members that have the measure.
        within: The mean of τ over groups in which only the strength changes; NaN without such a group. It is about 0
            for a measure that only tells regularizers apart (Jiang et al. 2019 average over every axis in this way).
        num_members: The number of members with the measure.
    """

    overall: float
    within: float
    num_members: int


def measures_of(record: Record) -> dict[str, float]:
    """All numbers of a member that may predict its gap. The training error is subtracted from bounds.

    Bounds from test data are left out, since they have seen the gap. Bounds at their ceiling are left out, since they
    do not tell networks apart.
    """
    curves, at_ceiling = record["curves"], record["at_ceiling"]
    train_error = curves["train_error"][-1]
    bounds = {name: value for name, value in record["bounds"].items() if value is not None and not _has_seen_gap(name)}
    # Records have 6 digits, so their differences have fewer. Rounding of equal bounds must not order members.
    found = {name: float(f"{value - train_error:.4g}") for name, value in bounds.items() if name not in at_ceiling}
    found |= {name: value for name, value in record["measures"].items() if value is not None}
    found |= {name: read({name: values[-1] for name, values in curves.items()}) for name, read in _READ.items()}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def correlations(records: list[Record]) -> dict[str, Correlation]:
    """τ of every measure with the gap, in descending order, except for the measures in `without_part`.

    Example:
        >>> curves = {"gap": [0.1], "train_error": [0.0], "lipschitz_estimate": [1.0], "stable_rank": [[2.0]]}
        >>> curves |= {"effective_rank": [[2.0]], "spectral": [[1.0]], "one": [[3.0]], "sparsity": [0.0]}
        >>> curves |= {"ntk_drift": [1.0], "margins": [[1.0] * 5]}
        >>> member = {"diverged": None, "regularizer": "l1", "bounds": {}, "at_ceiling": [], "curves": curves}
        >>> rest = {name: 0 for name in ("width", "learning_rate", "label_noise", "num_train", "seed")}
        >>> records = [
        ...     member | rest | {"strength": float(s), "measures": {"Frobenius norm": 2.0 * s}}
        ...     | {"curves": curves | {"gap": [0.1 * s]}} for s in range(1, 5)
        ... ]
        >>> correlations(records)
        {'Frobenius norm': Correlation(overall=1.0, within=1.0, num_members=4)}
    """
    kept = select(records)
    measures, gaps = [measures_of(record) for record in kept], last(kept, "gap")
    found = {}
    for name in dict.fromkeys(name for member in measures for name in member):
        has = np.array([name in member for member in measures])
        values = np.array([member.get(name, np.nan) for member in measures])
        if has.sum() >= _FEWEST and len(np.unique(values[has])) > 1:
            within = [_tau(values[group], gaps[group]) for group in _groups(kept) if has[group].all()]
            within = [tau for tau in within if np.isfinite(tau)]
            mean = float(np.mean(within)) if within else float("nan")
            found[name] = Correlation(_tau(values[has], gaps[has]), mean, int(has.sum()))
    return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1].overall, nan=-2)))


def without_part(records: list[Record]) -> dict[str, str]:
    """Why measures have no correlation: they are at their ceiling, or have the same value for all members.

    If a bound is at its ceiling for some members only, its correlation is that over the other members.

    Example:
        >>> curves = {name: [[2.0]] for name in ("stable_rank", "effective_rank", "spectral", "one")}
        >>> curves |= {"train_error": [0.0], "sparsity": [0.0], "margins": [[1.0] * 5], "gap": [0.1]}
        >>> member = {"diverged": None, "bounds": {"spectral norms and margins": 8.5}, "measures": {}, "curves": curves}
        >>> rest = {name: 0 for name in ("regularizer", "width", "learning_rate", "label_noise", "num_train", "seed")}
        >>> reasons = without_part([member | rest | {"at_ceiling": ["spectral norms and margins"]}] * 4)
        >>> reasons["spectral norms and margins"], reasons["L1 norm"]
        ('at its ceiling', 'the same for all')
    """
    kept, found = select(records), correlations(records)
    counts = Counter(name for record in kept for name in measures_of(record))
    few = f"of fewer than {_FEWEST} members"
    reasons = {name: "the same for all" if count >= _FEWEST else few for name, count in counts.items()}
    ceilings = dict.fromkeys(name for record in kept for name in record["at_ceiling"] if not _has_seen_gap(name))
    reasons |= dict.fromkeys(ceilings, "at its ceiling")
    return {name: reason for name, reason in reasons.items() if name not in found}


def draw_correlations(stem: Path, records: list[Record]) -> None:
    """Bars of τ, or the reason why a measure has none; beside them one bound and two measures against the gap."""
    found, without = correlations(records), without_part(records)
    if not found:
        return
    kept = select(records)
    names = list(found)[::-1]
    shown = [name for name in _SHOWN if name in found] or names[-1:]
    rows = [*list(without)[::-1], *names]
    with plots.style():
        widths = [2.0, *[1.0] * len(shown)]
        height = max(3.4, 0.9 + 0.19 * len(rows))
        figure, panels = plots.make_figure(1 + len(shown), size=(4.2 + 1.6 * len(shown), height), width_ratios=widths)
        places = np.arange(len(without), len(rows))
        overall, within = ([found[name][field] for name in names] for field in (0, 1))
        two = not np.isnan(within).all()
        panels[0].barh(places + 0.2 * two, overall, 0.4, color=plots.PALETTE[0], label="all members")
        if two:
            hatched = panels[0].barh(places - 0.2, within, 0.4, color=plots.PALETTE[4], linewidth=0, hatch="////")
            hatched.set_label("strength alone")
            for bar in hatched:
                bar.set_edgecolor("w")
            panels[0].legend(loc="upper left", frameon=True)
        for place, name in enumerate(rows[: len(without)]):
            panels[0].text(0.04, place, without[name], va="center", color="0.35", fontsize="small")
        panels[0].set_yticks(range(len(rows)), rows)
        panels[0].axvline(0, color="k", linewidth=0.8)
        panels[0].set(xlabel=r"Kendall's $\tau$ with the gap", xlim=(-1, 1), ylim=(-0.6, len(rows) - 0.4))
        for axes in panels[2:]:
            axes.sharey(panels[1])
            axes.tick_params(labelleft=False)
        for axes, name in zip(panels[1:], shown, strict=True):
            _draw_against_gap(axes, kept, name)
        panels[1].set_ylabel("Gap, percentage points")
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        plots.save_figure(figure, stem)


def _draw_against_gap(axes: Axes, records: list[Record], name: str) -> None:
    everything = []
    for regularizer in REGULARIZERS:
        own = [record for record in select(records, regularizer=regularizer) if name in measures_of(record)]
        if own:
            values = [measures_of(record)[name] for record in own]
            (dots,) = axes.plot(values, 100 * last(own, "gap"), MARKERS[regularizer], color=COLORS[regularizer])
            dots.set_label(LABELS[regularizer])
            everything += values
    axes.set_xlabel(_SHOWN.get(name, name[0].upper() + name[1:]))
    if max(everything) > 10 * min(everything) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if max(everything) < 100 * min(everything) else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _has_seen_gap(bound: str) -> bool:
    return "test data" in bound


def _tau(values: np.ndarray, gaps: np.ndarray) -> float:
    """Kendall's τ_b; NaN if either is constant."""
    if len(np.unique(values)) < 2 or len(np.unique(gaps)) < 2:
        return float("nan")
    return float(stats.kendalltau(values, gaps).statistic)


def _groups(records: list[Record]) -> list[np.ndarray]:
    """The places of members that differ only in their strength, group by group."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, record in enumerate(records):
        axes = ("regularizer", "width", "learning_rate", "label_noise", "num_train", "seed")
        groups.setdefault(tuple(record[axis] for axis in axes), []).append(place)
    return [np.array(places) for places in groups.values() if len(places) >= _FEWEST]
