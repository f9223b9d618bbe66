"""Classifiers with network kernels on small sets, by the protocol of Arora et al. 2020 (arXiv:1910.01663).

On the validation half, choose a kernel of a family and the weight of the errors. With these, average the test accuracy
over four splits of 75 % and 25 %.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float
from ml_collections import ConfigDict
from sklearn.svm import SVC

import ntk
from experiments.common.metrics import Record
from experiments.published.uci_sets import uci_sets
from ntk.checks import check_choice, check_count

MAX_DEPTH = 4
WEIGHTS = tuple(10.0**k for k in range(-2, 5))

Kernel = Float[np.ndarray, "N N"]
Kernels = dict[str, Kernel]


class Family(NamedTuple):
    """Kernels to choose from, and the classifier that uses the chosen one.

    Attributes:
        kernels: The kernels of inputs (N, d), by a name that says which it is.
        predict: The labels of held-out points from their kernel with the others, the others' kernel and labels, and the
            weight of the errors.
    """

    kernels: Callable[[Float[np.ndarray, "N d"]], Kernels]
    predict: Callable[[Kernel, Kernel, np.ndarray, float], np.ndarray]


def support_vectors(across: Kernel, kernel: Kernel, y: np.ndarray, weight: float) -> np.ndarray:
    """Scikit-learn's classifier with C = weight."""
    return SVC(C=weight, kernel="precomputed", cache_size=1000).fit(kernel, y).predict(across)


def ridge(across: Kernel, kernel: Kernel, y: np.ndarray, weight: float) -> np.ndarray:
    """Ridge regression on one-hot targets, with the ridge tr K/N / weight."""
    penalty = np.trace(kernel) / len(kernel) / weight
    classes, one_hot = np.unique(y), y[:, None] == np.unique(y)
    dual = np.linalg.solve(kernel + penalty * np.eye(len(kernel)), one_hot - one_hot.mean(axis=0))
    return classes[np.argmax(across @ dual + one_hot.mean(axis=0), axis=1)]


def partly_trained(activation: str, x: Float[np.ndarray, "N d"], b_std: float = 0.0) -> Kernels:
    """NTKs of MLPs with 0 to 4 hidden layers, of which the first ones are not trained.

    With all hidden layers fixed it is the NNGP. The paper does not divide inputs by √d, so x is multiplied by √d here.
    For ReLU without biases the kernels are those of the paper; a factor √2 in its weights scales only C.
    """
    found = {}
    for depth, (C, D) in enumerate(_moments_of_depths(activation, x * x.shape[1] ** 0.5, b_std)):
        # The output layer, and then one hidden layer after the other, down to the last that is not fixed.
        terms = np.concatenate([C[-1:], ((C[:-1] + b_std**2) * D)[::-1]])
        for fixed, kernel in enumerate(np.cumsum(terms, axis=0)[::-1]):
            found[f"{depth} layers, {fixed} fixed"] = kernel
    return found


def fixed(x: Float[np.ndarray, "N d"]) -> Kernels:
    """The NNGPs alone."""
    return {name: k for name, k in partly_trained("relu", x).items() if name[0] == name.split()[2]}


def smooth(activation: str, x: Float[np.ndarray, "N d"]) -> Kernels:
    """NTKs and NNGPs of a smooth activation with biases, on inputs scaled to ξ·ξ/d of about 1."""
    of_all = partly_trained(activation, x / x.shape[1] ** 0.5, b_std=0.3)
    return {name: k for name, k in of_all.items() if name.split()[2] in ("0", name[0])}


def ensembles(x: Float[np.ndarray, "N d"]) -> Kernels:
    """Sums of the kernels of ReLU and erf networks of the same depth, each divided by its mean diagonal."""
    relu, erf = partly_trained("relu", x), smooth("erf", x)
    return {name: _unit(relu[name]) + _unit(kernel) for name, kernel in erf.items()}


FAMILIES = {
    "NTK": Family(lambda x: partly_trained("relu", x), support_vectors),
    "NNGP": Family(fixed, support_vectors),
    "NTK, erf": Family(lambda x: smooth("erf", x), support_vectors),
    "NTK, gelu": Family(lambda x: smooth("gelu", x), support_vectors),
    "ReLU + erf": Family(ensembles, support_vectors),
    "NTK, ridge": Family(lambda x: partly_trained("relu", x), ridge),
}


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.
    """
    check_count("max_points", config.max_points, minimum=2)
    for family in config.families:
        check_choice("families", family, tuple(FAMILIES))


def places(config: ConfigDict) -> list[tuple[str, str]]:
    """Every set with every family: (name, family). The smallest set comes first."""
    return [(name, family) for name in uci_sets(config.data_dir, config.max_points) for family in config.families]


def place_of(record: Record) -> tuple[str, str]:
    """The set and the family of a record."""
    return record["set"], record["family"]


def measure(place: tuple[str, str], config: ConfigDict) -> Record:
    """The chosen kernel and weight, and the accuracy on each test split."""
    name, family = place
    data, (kernels, predict) = uci_sets(config.data_dir, config.max_points)[name], FAMILIES[family]
    of = kernels(data.x)

    def accuracy(choice: tuple[str, float], held_out: Bool[np.ndarray, " N"]) -> float:
        kernel, trained = of[choice[0]], ~held_out
        labels = predict(kernel[held_out][:, trained], kernel[trained][:, trained], data.y[trained], choice[1])
        return float(np.mean(labels == data.y[held_out]))

    # The first of the best.
    choices = [(kernel, weight) for kernel in of for weight in WEIGHTS]
    chosen = max(choices, key=lambda choice: accuracy(choice, data.validation))
    accuracies = [accuracy(chosen, test) for test in data.test]
    return {
        "set": name,
        "family": family,
        "num_points": len(data.x),
        "kernel": chosen[0],
        "weight": chosen[1],
        "accuracies": accuracies,
    }


def _moments_of_depths(
    activation: str, x: Float[np.ndarray, "N d"], b_std: float
) -> list[tuple[Float[np.ndarray, "L1 N N"], Float[np.ndarray, "L N N"]]]:
    """C and D of the MLPs of each depth, in float64.

    Rows of zeros are added, so that sets of nearly one size compile one program.
    """
    quarter = 2 ** max(int(np.log2(len(x))) - 2, 0)
    padded = np.pad(x, ((0, -len(x) % quarter), (0, 0)))
    net = ntk.MLP(depth=MAX_DEPTH, activation=activation, b_std=b_std)
    with jax.enable_x64(True):
        k = ntk.infinite_kernels(net, padded)
        each = [k.up_to(depth) for depth in range(MAX_DEPTH + 1)]
    here = (slice(None), slice(len(x)), slice(len(x)))
    return [(np.asarray(k.C)[here], np.asarray(k.D)[here]) for k in each]


def _unit(kernel: Kernel) -> Kernel:
    return kernel / np.mean(np.diag(kernel))
