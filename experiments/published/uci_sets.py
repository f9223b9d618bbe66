"""Small sets of the UCI repository with their splits: 90 of them from a file, or four that scikit-learn ships."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn import datasets

FILE = Path("uci90") / "uci90.npz"
EMBEDDED: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast-cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}


class UCISet(NamedTuple):
    """One set with its splits.

    Attributes:
        x: Standardized inputs, (N, d).
        y: Labels from 0, (N,).
        validation: The half on which choices are made, (N,). The other half is trained on.
        test: Which points are tested in each of four splits, (4, N).
    """

    x: Float[np.ndarray, "N d"]
    y: Int[np.ndarray, " N"]
    validation: Bool[np.ndarray, " N"]
    test: Bool[np.ndarray, "4 N"]


def uci_sets(data_dir: str, max_points: int) -> dict[str, UCISet]:
    """The sets of at most `max_points` points, from the smallest to the largest.

    Args:
        data_dir: A folder with uci90/uci90.npz. An empty string means the sets that scikit-learn ships.
        max_points: Larger sets are left out.

    Raises:
        FileNotFoundError: The folder has no such file.

    Example:
        >>> {name: len(data.x) for name, data in uci_sets("", 200).items()}
        {'iris': 150, 'wine': 178}
    """
    found = _from_file(Path(data_dir) / FILE) if data_dir else {name: _embedded(name) for name in EMBEDDED}
    ordered = sorted(found.items(), key=lambda item: (len(item[1].x), item[0]))
    return {name: data for name, data in ordered if len(data.x) <= max_points}


def _from_file(file: Path) -> dict[str, UCISet]:
    found = {}
    with np.load(file, allow_pickle=False) as arrays:
        for name in map(str, arrays["names"]):
            x, y = arrays[f"{name}/x"].astype(float), arrays[f"{name}/y"].astype(int)
            packed = (arrays[f"{name}/{part}"] for part in ("validation", "test"))
            validation, test = (np.unpackbits(bits, axis=-1, count=len(x)).astype(bool) for bits in packed)
            found[name] = UCISet(x, y, validation, test)
    return found


def _embedded(name: str) -> UCISet:
    """The set with splits of our own, from the seed 0."""
    x, y = EMBEDDED[name](return_X_y=True)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    order = np.random.default_rng(0)
    validation = order.permutation(len(x)) < len(x) // 2
    test = np.stack([order.permutation(len(x)) < len(x) // 4 for _ in range(4)])
    return UCISet(x, y.astype(int), validation, test)
