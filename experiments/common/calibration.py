"""How far the confidence of predictions can be trusted: reliability in bins, and the expected calibration error."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Reliability(NamedTuple):
    """Predictions in equal bins of confidence, the probability of the predicted class (DeGroot & Fienberg 1983).

    Attributes:
        shares: Share of all predictions that lie in each bin.
        confidences: Mean confidence in each bin; 0 in an empty bin.
        accuracies: Share of correct predictions in each bin; 0 in an empty bin.
    """

    shares: Float[Array, " bins"]
    confidences: Float[Array, " bins"]
    accuracies: Float[Array, " bins"]


def reliability(confidence: Float[Array, " N"], correct: Bool[Array, " N"], num_bins: int) -> Reliability:
    """Accuracy against confidence in `num_bins` equal bins of [0, 1]; a confidence of 1 is in the last bin.

    Example:
        >>> found = reliability(jnp.array([0.25, 0.5, 1.0]), jnp.array([False, True, False]), num_bins=2)
        >>> print(found.accuracies, found.confidences)
        [0.  0.5] [0.25 0.75]
    """
    dtype = confidence.dtype
    bins = jnp.clip((confidence * num_bins).astype(jnp.int32), 0, num_bins - 1)
    members = jax.nn.one_hot(bins, num_bins, dtype=dtype)
    sizes = jnp.maximum(jnp.sum(members, axis=0), 1)
    return Reliability(
        shares=jnp.mean(members, axis=0),
        confidences=confidence @ members / sizes,
        accuracies=correct.astype(dtype) @ members / sizes,
    )


def expected_calibration_error(found: Reliability) -> Float[Array, ""]:
    """Σ (share of a bin)·|accuracy − confidence| (Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017).

    Example:
        >>> found = Reliability(jnp.array([0.25, 0.75]), jnp.array([0.6, 0.9]), jnp.array([0.5, 0.9]))
        >>> print(expected_calibration_error(found).round(4))
        0.025
    """
    return jnp.sum(found.shares * jnp.abs(found.accuracies - found.confidences))
