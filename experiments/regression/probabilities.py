"""From Gaussian outputs to probabilities of classes, and the likelihood of labels under these."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_ndtr

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(96)


def class_probabilities(
    mean: Float[np.ndarray, "points classes"], std: Float[np.ndarray, " points"]
) -> Float[np.ndarray, "points classes"]:
    """The probability of each class that its output is the largest, for independent outputs N(mean, std²).

    P(k) = E_z Π_{j ≠ k} Φ(z + (m_k − m_j)/s) for z ~ N(0, 1), by Gauss–Hermite quadrature.

    Args:
        mean: One row for each point.
        std: Positive; all outputs of a point share it.

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
