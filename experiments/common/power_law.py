"""Exponents of power laws from repeated measurements, with bootstrap confidence intervals."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped


class Exponent(NamedTuple):
    """The exponent of a fitted power law and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def fit_exponent(
    sizes: Shaped[np.ndarray, " sizes"],
    values: Float[np.ndarray, "sizes samples"],
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Exponent:
    """Fit values ∝ size^exponent: the least-squares slope of log(value) against log(size); each sample is a point.

    The interval is the percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3):
    samples are drawn with replacement, at each size separately, and the slope is fitted again.

    Args:
        sizes: For example widths; positive.
        values: values[i, j] is sample j at sizes[i], independent of all others, at least 0. If one value is 0 there is
            no slope, and all three numbers are NaN.
        confidence: The confidence level of the interval, in (0, 1).
        num_resamples: The number of bootstrap fits.
        seed: The seed of the resampling.

    Example:
        >>> sizes = np.array([32, 64, 128])
        >>> exponent = fit_exponent(sizes, 3.0 / np.sqrt(sizes)[:, None] * np.ones((3, 4)))
        >>> [round(number, 6) for number in exponent]
        [-0.5, -0.5, -0.5]
    """
    if not np.all(values > 0):
        return Exponent(np.nan, np.nan, np.nan)
    x, y = np.log(sizes), np.log(values)
    # The slope is a fixed linear combination of the mean of y at each size.
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    draws = np.random.default_rng(seed).integers(y.shape[1], size=(num_resamples, *y.shape))
    resampled = np.take_along_axis(y[None], draws, axis=2).mean(axis=2) @ weights
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Exponent(float(weights @ y.mean(axis=1)), float(low), float(high))
