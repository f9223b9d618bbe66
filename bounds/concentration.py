"""Concentration of an average: the risk on a sample against its expectation, for hypotheses fixed beforehand.

Assumed throughout: N independent, identically distributed losses in [0, 1], and M hypotheses chosen before the sample
was seen (a union bound over them). An epsilon is a bound on a deviation; E_in is the empirical risk, E_out its
expectation.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy import special

from bounds.checks import (
    Counts,
    Float64,
    Reals,
    as_counts,
    as_delta,
    as_nonnegative,
    as_positive,
    as_risk,
    log_count,
    plain,
)
from bounds.kl import kl_inverse_lower, kl_inverse_upper


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    lower: Reals
    upper: Reals


def hoeffding_epsilon(num_samples: Counts, delta: Reals, num_hypotheses: int = 1, two_sided: bool = True) -> Reals:
    """ε = sqrt(ln(2M/δ)/(2N)): with probability 1−δ, |E_in − E_out| ≤ ε for all M hypotheses (Hoeffding 1963, Thm 2).

    Args:
        num_samples: N, one or an array of them.
        delta: δ in (0, 1), broadcast against `num_samples`.
        num_hypotheses: M, an integer of any size.
        two_sided: False bounds E_out − E_in alone, with ln(M/δ).

    Raises:
        ValueError: A count is no positive integer, or δ is outside (0, 1).
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.concentration import hoeffding_epsilon
        >>> round(hoeffding_epsilon(1000, 0.05), 6), round(hoeffding_epsilon(1000, 0.05, num_hypotheses=100), 6)
        (0.042947, 0.064397)
    """
    return plain(np.sqrt(_log_events(delta, num_hypotheses, two_sided) / (2 * as_counts("num_samples", num_samples))))


def hoeffding_sample_size(epsilon: float, delta: float, num_hypotheses: int = 1, two_sided: bool = True) -> int:
    """The smallest N with `hoeffding_epsilon(N, …)` ≤ ε: ln(2M/δ)/(2ε²), rounded up (Hoeffding 1963, Thm 2).

    Args:
        epsilon: ε > 0.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.
        two_sided: As for `hoeffding_epsilon`.

    Raises:
        ValueError: ε is not positive, δ is outside (0, 1), or M is no positive integer.
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.concentration import hoeffding_sample_size
        >>> hoeffding_sample_size(0.05, 0.03), hoeffding_sample_size(0.05, 0.03, num_hypotheses=100)
        (840, 1761)
    """
    # In rational numbers ε² cannot underflow.
    log_events = Fraction(float(_log_events(delta, num_hypotheses, two_sided)))
    return math.ceil(log_events / (2 * Fraction(float(as_positive("epsilon", epsilon))) ** 2))


def hoeffding_delta(num_samples: Counts, epsilon: Reals, num_hypotheses: int = 1, two_sided: bool = True) -> Reals:
    """2M e^{−2ε²N}, at most 1: the probability that |E_in − E_out| > ε for one of M hypotheses (Hoeffding 1963, Thm 2).

    Args:
        num_samples: N, one or an array of them.
        epsilon: ε > 0, broadcast against `num_samples`.
        num_hypotheses: M, an integer of any size.
        two_sided: False for E_out − E_in > ε alone, M e^{−2ε²N}.

    Raises:
        ValueError: A count is no positive integer, or ε is not positive.
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.concentration import hoeffding_delta
        >>> round(hoeffding_delta(1000, 0.05), 6), hoeffding_delta(10, 0.05)
        (0.013476, 1.0)
    """
    exponent = -2 * as_positive("epsilon", epsilon) ** 2 * as_counts("num_samples", num_samples)
    return plain(
        np.exp(np.minimum(exponent + log_count("num_hypotheses", num_hypotheses) + _log_sides(two_sided), 0.0))
    )


def mcdiarmid_epsilon(differences: Reals, delta: Reals, two_sided: bool = True) -> Reals:
    """sqrt(Σc_i² ln(2/δ)/2): with probability 1−δ, |F − EF| is at most this (McDiarmid 1989, Lemma 1.2).

    F is a function of m independent variables that changes by at most c_i when the i-th alone does. An average of
    losses in [0, 1] has c_i = 1/m, which gives `hoeffding_epsilon`.

    Args:
        differences: c, (m,), at least 0.
        delta: δ in (0, 1), one or an array of them.
        two_sided: False bounds F − EF (or EF − F) alone, with ln(1/δ).

    Raises:
        ValueError: `differences` is no vector of numbers of at least 0, or δ is outside (0, 1).
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> import numpy as np
        >>> from bounds.concentration import mcdiarmid_epsilon
        >>> round(mcdiarmid_epsilon(np.full(1000, 1 / 1000), 0.05), 6)
        0.042947
    """
    return plain(np.sqrt(_sum_of_squares(differences) * _log_events(delta, 1, two_sided) / 2))


def mcdiarmid_delta(differences: Reals, epsilon: Reals, two_sided: bool = True) -> Reals:
    """2 exp(−2ε²/Σc_i²), at most 1: the probability that |F − EF| ≥ ε (McDiarmid 1989, Lemma 1.2).

    Args:
        differences: c, (m,), at least 0, as for `mcdiarmid_epsilon`.
        epsilon: ε > 0, one or an array of them.
        two_sided: False for F − EF ≥ ε alone, without the factor 2.

    Raises:
        ValueError: `differences` is no vector of numbers of at least 0, or ε is not positive.
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> import numpy as np
        >>> from bounds.concentration import mcdiarmid_delta
        >>> round(mcdiarmid_delta(np.full(1000, 1 / 1000), 0.05), 6)
        0.013476
    """
    with np.errstate(divide="ignore"):  # a constant F deviates with probability 0
        exponent = -2 * as_positive("epsilon", epsilon) ** 2 / _sum_of_squares(differences)
    return plain(np.exp(np.minimum(exponent + _log_sides(two_sided), 0.0)))


def empirical_bernstein_epsilon(
    variance: Reals,
    num_samples: Counts,
    delta: Reals,
    num_hypotheses: int = 1,
    two_sided: bool = True,
) -> Reals:
    """ε = sqrt(2V ln(3M/δ)/N) + 7 ln(3M/δ)/(3(N−1)) with the sample's own variance V (Maurer & Pontil 2009, Thm 4).

    With probability 1−δ, |E_in − E_out| ≤ ε for all M hypotheses, V being that of each. The theorem is one-sided, with
    ln(2M/δ): one event for Bennett's inequality and one for the variance (their Theorem 10); a second side adds one
    more. Tighter than Hoeffding where losses vary little.

    Args:
        variance: V, of each hypothesis's losses with N − 1 in the denominator, at most N/(4(N−1)).
        num_samples: N, at least 2; the three broadcast.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.
        two_sided: False bounds E_out − E_in alone.

    Raises:
        ValueError: N is below 2, V is no variance of N numbers in [0, 1], or δ is outside (0, 1).
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.concentration import empirical_bernstein_epsilon
        >>> round(empirical_bernstein_epsilon(0.01, 1000, 0.05), 6)
        0.018612
    """
    variance, n = as_nonnegative("variance", variance), as_counts("num_samples", num_samples, minimum=2)
    too_large = variance > n / (4 * (n - 1)) * (1 + 1e-6)  # float32 variances of losses 0 and 1 may round up
    if np.any(too_large):
        first = plain(np.broadcast_to(variance, too_large.shape)[too_large][0])
        raise ValueError(f"variance is {first!r}; expected at most N/(4(N−1)), the largest of N losses in [0, 1].")
    log_events = _log_events(delta, num_hypotheses, two_sided) + math.log(3 / 2 if two_sided else 2)
    return plain(np.sqrt(2 * variance * log_events / n) + 7 * log_events / (3 * (n - 1)))


def chernoff_upper(risk: Reals, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Reals:
    """The largest E with kl(E_in‖E) ≤ ln(M/δ)/N: E_out is at most this with probability 1−δ, for all M hypotheses.

    One-sided. The relative-entropy Chernoff bound (Hoeffding 1963, Thm 1; Langford 2005, section 3), for losses in
    [0, 1], not 0 and 1 only; never above E_in + `hoeffding_epsilon(…, two_sided=False)`.

    Args:
        risk: E_in in [0, 1]; the three broadcast.
        num_samples: N.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.

    Raises:
        ValueError: The risk is outside [0, 1], a count is no positive integer, or δ is outside (0, 1).
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.concentration import chernoff_upper
        >>> round(chernoff_upper(0.0, 100, 0.05), 6), round(chernoff_upper(0.1, 100, 0.05), 6)
        (0.029513, 0.188829)
    """
    c = _log_events(delta, num_hypotheses, two_sided=False) / as_counts("num_samples", num_samples)
    return kl_inverse_upper(as_risk("risk", risk), c)


def chernoff_lower(risk: Reals, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Reals:
    """The smallest E with kl(E_in‖E) ≤ ln(M/δ)/N: E_out is at least this with probability 1−δ; as `chernoff_upper`.

    Example:
        >>> from bounds.concentration import chernoff_lower
        >>> round(chernoff_lower(0.1, 100, 0.05), 6)
        0.042409
    """
    c = _log_events(delta, num_hypotheses, two_sided=False) / as_counts("num_samples", num_samples)
    return kl_inverse_lower(as_risk("risk", risk), c)


def binomial_tail_inversion(num_errors: Counts, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Reals:
    """The largest p with P(Bin(N, p) ≤ k) ≥ δ/M: E_out is at most this with probability 1−δ, for all M hypotheses.

    One-sided and exact: no bound from the number of errors k alone is smaller (Langford 2005, JMLR 6: section 3 for
    M = 1; section 4, Occam's razor with equal weights, for more). Losses are 0 or 1.

    Args:
        num_errors: k, from 0 to N; the three broadcast.
        num_samples: N.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.

    Raises:
        ValueError: There are more errors than samples, a count is no integer, or δ is outside (0, 1).
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.concentration import binomial_tail_inversion
        >>> round(binomial_tail_inversion(0, 100, 0.05), 6), round(binomial_tail_inversion(10, 100, 0.05), 6)
        (0.029513, 0.163718)
    """
    k, n = _errors_and_samples(num_errors, num_samples)
    return plain(_upper_root(k, n, np.exp(-_log_events(delta, num_hypotheses, two_sided=False))))


def clopper_pearson(num_errors: Counts, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Interval:
    """The exact two-sided interval of E_out: each end fails with probability at most δ/2 (Clopper & Pearson 1934).

    Arguments and errors as for `binomial_tail_inversion`, which is its upper end at δ/2.

    Example:
        >>> from bounds.concentration import clopper_pearson
        >>> interval = clopper_pearson(10, 100, 0.05)
        >>> round(interval.lower, 6), round(interval.upper, 6)
        (0.049005, 0.176223)
    """
    k, n = _errors_and_samples(num_errors, num_samples)
    tail = np.exp(-_log_events(delta, num_hypotheses, two_sided=True))
    # k errors among N are N − k successes: the lower end is an upper one of what is left.
    with np.errstate(invalid="ignore"):
        lower = np.where(k > 0, special.betaincinv(np.maximum(k, 1.0), n - k + 1, tail), 0.0)
    return Interval(plain(lower), plain(_upper_root(k, n, tail)))


def _upper_root(k: np.ndarray, n: np.ndarray, tail: Float64) -> Float64:
    """P(Bin(N, p) ≤ k) = 1 − I_p(k+1, N−k), solved for p; where k = N every p will do."""
    return np.where(k < n, special.betainccinv(k + 1, np.maximum(n - k, 1.0), tail), 1.0)


def _errors_and_samples(num_errors: Counts, num_samples: Counts) -> tuple[np.ndarray, np.ndarray]:
    k, n = as_counts("num_errors", num_errors, minimum=0), as_counts("num_samples", num_samples)
    if np.any(k > n):
        raise ValueError(f"num_errors is {num_errors!r} of {num_samples!r} samples; expected at most as many.")
    return k, n


def _sum_of_squares(differences: Reals) -> Float64:
    c = as_nonnegative("differences", differences)
    if c.ndim != 1:
        raise ValueError(f"differences has shape {c.shape}; expected (m,), one for each variable.")
    return np.sum(c**2)


def _log_events(delta: Reals, num_hypotheses: int, two_sided: bool) -> Float64:
    """ln(2M/δ), or ln(M/δ): the logarithm of the number of events that share δ."""
    return log_count("num_hypotheses", num_hypotheses) + _log_sides(two_sided) - np.log(as_delta("delta", delta))


def _log_sides(two_sided: bool) -> float:
    return math.log(2) if two_sided else 0.0
