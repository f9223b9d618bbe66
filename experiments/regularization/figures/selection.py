"""Selections of records of a sweep: by fields, last values, the best strength; and labels and colours of figures."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.metrics import Record
from experiments.regularization.members import REGULARIZERS

AXES = {"width": "widths", "learning_rate": "learning_rates", "label_noise": "label_noise", "num_train": "train_sizes"}
LABELS = {
    "none": "none",
    "l1": "$L_1$",
    "l2": "$L_2$",
    "elastic_net": "elastic net",
    "weight_decay": "weight decay",
    "spectral": "spectral norm",
    "nuclear": "nuclear norm",
    "dropout": "dropout",
    "batch_norm": "batch norm",
    "spectral_norm": "spectral normalization",
}
STRENGTHS = {"dropout": "Share of units dropped", "spectral_norm": r"$\Vert W\Vert_\sigma$ of every layer"}
# Every figure uses these colours. Regularizers without a strength are grey and black.
COLORS = dict(zip(("l1", "l2", "spectral", "nuclear", "elastic_net", "weight_decay"), plots.PALETTE, strict=False)) | {
    "none": "0.35",
    "dropout": "#8C6D31",
    "batch_norm": "#000000",
    "spectral_norm": "#7A3EB1",
}
# Every figure uses these markers.
MARKERS = dict(zip(LABELS, plots.MARKERS, strict=True))


def select(records: Iterable[Record], **fields: Any) -> list[Record]:
    """The records that did not diverge and have these fields.

    Example:
        >>> found = [{"width": 8, "diverged": None}, {"width": 8, "diverged": 100}, {"width": 16, "diverged": None}]
        >>> select(found, width=8)
        [{'width': 8, 'diverged': None}]
    """
    return [
        record
        for record in records
        if record["diverged"] is None and all(record[name] == value for name, value in fields.items())
    ]


def base_fields(config: ConfigDict) -> dict[str, Any]:
    """The first value of each axis, except strengths and seeds. Figures that do not show an axis take its first value.

    Example:
        >>> axes = {"widths": (64, 8), "learning_rates": (0.1,), "label_noise": (0.0, 0.5), "train_sizes": (100,)}
        >>> base_fields(ConfigDict(axes))
        {'width': 64, 'learning_rate': 0.1, 'label_noise': 0.0, 'num_train': 100}
    """
    return {field: config[axis][0] for field, axis in AXES.items()}


def last(records: Iterable[Record], curve: str) -> np.ndarray:
    """The last value of a curve of each record, (records,) or (records, …).

    Example:
        >>> last([{"curves": {"gap": [0.0, 0.2]}}, {"curves": {"gap": [0.0, 0.1]}}], "gap").tolist()
        [0.2, 0.1]
    """
    return np.array([record["curves"][curve][-1] for record in records], float)


def stopped_early(record: Record, curve: str) -> float:
    """The value of a curve at the step of least validation loss: early stopping after the fact.

    Example:
        >>> curves = {"validation_loss": [2.0, 0.5, 0.7], "test_error": [0.9, 0.2, 0.1]}
        >>> stopped_early({"curves": curves}, "test_error")
        0.2
    """
    return record["curves"][curve][int(np.argmin(record["curves"]["validation_loss"]))]


def strengths_of(config: ConfigDict, regularizer: str) -> list[float]:
    """Strengths of a regularizer in increasing order."""
    return sorted(float(strength) for strength in config.regularizers[regularizer])


def best_strength(records: Iterable[Record], regularizer: str) -> float | None:
    """The strength of least median validation error over seeds, of records that share all other axes."""
    found: dict[float, list[float]] = {}
    for record in select(records, regularizer=regularizer):
        found.setdefault(record["strength"], []).append(record["curves"]["validation_error"][-1])
    medians = {strength: float(np.median(errors)) for strength, errors in found.items()}
    return min(medians, key=lambda strength: (medians[strength], strength)) if medians else None


def best_of_each(records: Iterable[Record], config: ConfigDict) -> dict[str, list[Record]]:
    """The records of every regularizer at its best strength, in the order of `REGULARIZERS`, at `base_fields`."""
    base = select(records, **base_fields(config))
    chosen = {}
    for name in (name for name in REGULARIZERS if name in config.regularizers):
        strength = best_strength(base, name)
        if strength is not None:
            chosen[name] = select(base, regularizer=name, strength=strength)
    return chosen


def label_of(regularizer: str, strength: float) -> str:
    """A regularizer with its strength, for a legend.

    Example:
        >>> label_of("l1", 0.001), label_of("batch_norm", 0.0)
        ('$L_1$, 0.001', 'batch norm')
    """
    has_strength = bool(REGULARIZERS[regularizer].shares)
    return f"{LABELS[regularizer]}, {strength:g}" if has_strength else LABELS[regularizer]
