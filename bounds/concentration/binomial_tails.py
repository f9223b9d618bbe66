"""The risk of a classifier from its number of errors on test data, exactly: tails of the binomial distribution.

N independent, identically distributed losses of 0 or 1 for each of M hypotheses that were chosen before the test data
were seen.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from bounds.checks import Counts, Float64, Reals, Result, as_counts, broadcast, log_events, plain


class Interval(NamedTuple):
    """Both ends of a confidence interval.

    Attributes:
        lower: The lower end, a scalar or an array of the shape to which the arguments broadcast.
        upper: The upper end, of the same shape as `lower`; a scalar if that is one.
    """

    lower: Result
    upper: Result


def binomial_tail_inversion(num_errors: Counts, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Result:
    """The largest p with P(Bin(N, p) ≤ k) ≥ δ/M: E_out is at most this with probability 1−δ, for all M hypotheses.

    One-sided, for losses of 0 or 1 (theory.md 8.5). For M = 1 it is exact: no smaller bound depends on the number of
    errors k alone and grows with it (Langford 2005, JMLR 6, section 3). For more hypotheses it is a union bound
    (section 4, Occam's razor with equal weights).

    Args:
        num_errors: k, from 0 to N; the three broadcast.
        num_samples: N.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.

    Raises:
        ValueError: There are more errors than samples, a count is not an integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.binomial_tails import binomial_tail_inversion
        >>> round(binomial_tail_inversion(0, 100, 0.05), 6), round(binomial_tail_inversion(10, 100, 0.05), 6)
        (0.029513, 0.163718)
    """
    tail = np.exp(-log_events(delta, num_hypotheses, two_sided=False))
    return plain(_upper_root(*_errors_and_samples(num_errors, num_samples, tail)))


def clopper_pearson(num_errors: Counts, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Interval:
    """The exact two-sided interval of E_out: each end fails with probability at most δ/2.

    Clopper & Pearson 1934; theory.md 8.5 at δ/2. The upper end is `binomial_tail_inversion` at δ/2.

    Args:
        num_errors: k, from 0 to N; the three broadcast.
        num_samples: N.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.

    Raises:
        ValueError: There are more errors than samples, a count is not an integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.binomial_tails import clopper_pearson
        >>> interval = clopper_pearson(10, 100, 0.05)
        >>> round(interval.lower, 6), round(interval.upper, 6)
        (0.049005, 0.176223)
    """
    tail = np.exp(-log_events(delta, num_hypotheses, two_sided=True))
    k, n, tail = _errors_and_samples(num_errors, num_samples, tail)
    # k errors among N are N − k successes: one minus the lower end is the upper end for successes.
    with np.errstate(invalid="ignore"):
        lower = np.where(k > 0, special.betaincinv(np.maximum(k, 1.0), n - k + 1, tail), 0.0)
    return Interval(plain(lower), plain(_upper_root(k, n, tail)))


def _upper_root(k: np.ndarray, n: np.ndarray, tail: Float64) -> Float64:
    """P(Bin(N, p) ≤ k) = 1 − I_p(k+1, N−k), solved for p; where k = N every p satisfies it."""
    return np.where(k < n, special.betainccinv(k + 1, np.maximum(n - k, 1.0), tail), 1.0)


def _errors_and_samples(num_errors: Counts, num_samples: Counts, tail: Float64) -> list[np.ndarray]:
    """k, N and the share of δ, at one shape."""
    k, n, tail = broadcast(
        num_errors=as_counts("num_errors", num_errors, minimum=0),
        num_samples=as_counts("num_samples", num_samples),
        delta=tail,
    )
    if np.any(k > n):
        raise ValueError(f"num_errors is {num_errors!r} of {num_samples!r} samples; expected at most as many.")
    return [k, n, tail]
