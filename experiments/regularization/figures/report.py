"""The report of a sweep: tables in summary.md, and every figure that its axes allow."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table
from experiments.regularization.figures.axis_figures import draw_axes
from experiments.regularization.figures.correlation import correlations, draw_correlations, without_part
from experiments.regularization.figures.geometry import draw_geometry
from experiments.regularization.figures.selection import AXES, best_strength, last, select, stopped_early
from experiments.regularization.figures.strength_figures import draw_gaps, draw_sparsity
from experiments.regularization.figures.weight_figures import draw_reliability, draw_spectra
from experiments.regularization.members import REGULARIZERS

_HEADER = (
    *("train %", "test %", "gap", "stopped early", "zeros %", "Π‖W‖_σ", "stable rank", "effective rank", "ECE"),
    *("NTK drift", "diverged"),
)


def write_report(workdir: Path, config: ConfigDict, records: list[Record]) -> str:
    """Write summary.md and the figures; return the summary."""
    summary = "\n\n".join(
        part for part in (_opening(config), _members(config, records), _bounds(records), _correlations(records)) if part
    )
    draw_gaps(workdir / "gap", records, config)
    draw_sparsity(workdir / "sparsity", records, config)
    draw_spectra(workdir / "spectra", records, config)
    draw_reliability(workdir / "reliability", records, config)
    draw_axes(workdir / "axes", records, config)
    draw_correlations(workdir / "correlation", records)
    if {"l1", "l2"} & set(config.regularizers):
        draw_geometry(workdir / "geometry")
    return write_summary(workdir / "summary.md", summary)


def _opening(config: ConfigDict) -> str:
    network = config.network
    batches = "all points" if config.batch_size is None else f"batches of {config.batch_size}"
    return (
        f"{network.kind} of {network.parameterization} parameterization on {config.dataset}: {config.num_steps} steps"
        f" of {config.optimizer} on {batches}, {config.loss.replace('_', '-')}. Medians over {config.num_seeds} seeds"
        ' after the last step. * marks the strength of least validation error. "Stopped early" is the test error in %'
        " at the step of least validation loss. Ranks are means over layers. The gap and the bounds are for labels with"
        " the noise of the training set; test % is for labels without noise."
    )


def _members(config: ConfigDict, records: list[Record]) -> str:
    """One line for each strength of each regularizer, at every combination of the other axes."""
    varied = [field for field, axis in AXES.items() if len(config[axis]) > 1]
    cells: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        place = (*(record[field] for field in varied), list(REGULARIZERS).index(record["regularizer"]))
        cells.setdefault((*place, record["strength"]), []).append(record)
    lines = []
    for place, found in sorted(cells.items(), key=lambda item: item[0]):
        name, strength = found[0]["regularizer"], found[0]["strength"]
        beside = select(records, **{field: found[0][field] for field in varied})
        chosen = bool(REGULARIZERS[name].shares) and best_strength(beside, name) == strength
        shown = f"{strength:g}{'*' if chosen else ''}" if REGULARIZERS[name].shares else ""
        lines.append([name, shown, *(f"{value:g}" for value in place[: len(varied)]), *_cells(found)])
    return markdown_table(["regularizer", "strength", *varied, *_HEADER], lines)


def _cells(found: list[Record]) -> list[str]:
    kept = select(found)
    diverged = f"{len(found) - len(kept)} of {len(found)}" if len(kept) < len(found) else ""
    if not kept:
        return ["–"] * (len(_HEADER) - 1) + [diverged]

    def median(values: Any) -> float:
        return float(np.median(values))

    return [
        f"{100 * median(last(kept, 'train_error')):.1f}",
        f"{100 * median(last(kept, 'test_error')):.1f}",
        f"{100 * median(last(kept, 'gap')):.1f}",
        f"{100 * median([stopped_early(record, 'test_error') for record in kept]):.1f}",
        f"{100 * median(last(kept, 'sparsity')):.1f}",
        f"{median(last(kept, 'lipschitz_product')):.3g}",
        f"{median(last(kept, 'stable_rank').mean(1)):.2f}",
        f"{median(last(kept, 'effective_rank').mean(1)):.1f}",
        f"{median(last(kept, 'ece')):.3f}",
        f"{median(last(kept, 'ntk_drift')):.2f}" if "ntk_drift" in kept[0]["curves"] else "–",
        diverged,
    ]


def _bounds(records: list[Record]) -> str:
    """A table of bounds: least and median value over members, and how many are at their ceiling or below the error.

    Two kinds of bounds are not compared with the error. Bounds from test data are computed from this error, and
    PAC-Bayes bounds the error of noisy parameters. Below the table is a list of the bounds that were left out, and why.
    """
    kept = select(records)
    held: dict[str, list[Record]] = {}
    for record in kept:
        for name in (name for name, value in record["bounds"].items() if value is not None):
            held.setdefault(name, []).append(record)
    lines = []
    for name, own in held.items():
        values = np.array([record["bounds"][name] for record in own])
        above = f"{int(np.sum(last(own, 'train_error') + last(own, 'gap') > values))} of {len(own)}"
        compared = "test data" not in name and "PAC-Bayes" not in name
        ceilings = sum(name in record["at_ceiling"] for record in own)
        at_ceiling = f"{ceilings} of {len(own)}" if ceilings else ""
        lines.append([name, f"{values.min():.3g}", f"{np.median(values):.3g}", at_ceiling, above if compared else "–"])
    if not lines:
        return ""
    missing = Counter(pair for record in kept for pair in record["left_out"].items())
    reasons = "".join(f"\n- {name}, of {count}: {reason}" for (name, reason), count in missing.items())
    table = markdown_table(["bound on the error", "least", "median", "at its ceiling", "error above"], lines)
    return f"{table}\n\nLeft out of {len(kept)} members:\n{reasons}" if reasons else table


def _correlations(records: list[Record]) -> str:
    lines = [
        [
            name,
            f"{found.overall:+.2f}",
            "" if np.isnan(found.within) else f"{found.within:+.2f}",
            str(found.num_members),
        ]
        for name, found in correlations(records).items()
    ]
    if not lines:
        return ""
    table = markdown_table(["measure", "τ, all members", "τ, strength alone", "members"], lines)
    without = "".join(f"\n- {name}: {reason}" for name, reason in without_part(records).items())
    summary = f"Kendall's τ with the generalization gap. The training error is subtracted from bounds.\n\n{table}"
    return f"{summary}\n\nWithout a correlation:\n{without}" if without else summary
