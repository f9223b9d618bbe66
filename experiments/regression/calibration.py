"""From Gaussian outputs to probabilities of classes, and how far these can be trusted."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_ndtr

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(96)


class Reliability(NamedTuple):
    """Predictions in bins by confidence, the probability of the class predicted (DeGroot & Fienberg 1983).

    Attributes:
        confidence: Mean confidence in each bin that is not empty.
        accuracy: Share of correct predictions there.
        counts: Predictions there.
    """

    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    counts: Int[np.ndarray, " bins"]


def class_probabilities(
    mean: Float[np.ndarray, "points classes"], std: Float[np.ndarray, " points"]
) -> Float[np.ndarray, "points classes"]:
    """The probability of each class that its output is the largest, outputs being independent N(mean, std²).

    P(k) = E_z Π_{j ≠ k} Φ(z + (m_k − m_j)/s) for z ~ N(0, 1), by Gauss–Hermite quadrature.

    Args:
        mean: One row a point.
        std: Positive, shared by the outputs of a point.

    Example:
        >>> class_probabilities(np.array([[0.0, 0.0], [2.0**0.5, 0.0]]), np.ones(2)).round(4)  # 1/2, and Φ(1)
        array([[0.5   , 0.5   ],
               [0.8413, 0.1587]])
    """
    gaps = (mean[:, :, None] - mean[:, None, :]) / std[:, None, None]
    logs = np.zeros((*mean.shape, len(_NODES)))
    for other in range(mean.shape[1]):
        factor = log_ndtr(_NODES + gaps[:, :, other, None])
        factor[:, other] = 0
        logs += factor
    probabilities = np.exp(logs) @ (_WEIGHTS / _WEIGHTS.sum())
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def negative_log_likelihood(
    probabilities: Float[np.ndarray, "points classes"], labels: Int[np.ndarray, " points"]
) -> float:
    """The mean of −ln p(label).

    Example:
        >>> round(negative_log_likelihood(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 1])), 4)
        0.3993
    """
    return float(-np.mean(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300))))


def reliability(
    probabilities: Float[np.ndarray, "points classes"], labels: Int[np.ndarray, " points"], bins: int = 10
) -> Reliability:
    """Accuracy against confidence, in bins.

    Example:
        >>> found = reliability(np.array([[0.5, 0.5], [0.1, 0.9], [0.08, 0.92]]), np.array([1, 1, 0]), bins=10)
        >>> found.accuracy.tolist(), found.counts.tolist()
        ([0.0, 0.5], [1, 2])
    """
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    kept = counts > 0
    sums = (np.bincount(place, weights=values, minlength=bins)[kept] for values in (confidence, correct))
    means = [total / counts[kept] for total in sums]
    return Reliability(means[0], means[1], counts[kept])


def expected_calibration_error(found: Reliability) -> float:
    """Σ (n_b/n) |accuracy − confidence| over the bins (Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017).

    Example:
        >>> found = Reliability(np.array([0.6, 0.9]), np.array([0.5, 0.9]), np.array([1, 3]))
        >>> round(expected_calibration_error(found), 4)
        0.025
    """
    return float(np.sum(found.counts * np.abs(found.accuracy - found.confidence)) / np.sum(found.counts))
