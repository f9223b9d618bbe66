"""Concentration of an average: the risk on a sample against its expectation, for hypotheses fixed beforehand.

Assumed throughout: N independent, identically distributed losses in [0, 1], and M hypotheses chosen before the sample
was seen (a union bound over them). An epsilon is a bound on a deviation; E_in is the empirical risk, E_out its
expectation.
"""

import math
from fractions import Fraction

import numpy as np

from bounds.checks import (
    Counts,
    Float64,
    Reals,
    Result,
    as_counts,
    as_delta,
    as_nonnegative,
    as_positive,
    as_risk,
    as_scalar,
    broadcast,
    log_count,
    log_events,
    log_sides,
    plain,
)
from bounds.concentration.relative_entropy import kl_inverse_lower, kl_inverse_upper


def hoeffding_epsilon(num_samples: Counts, delta: Reals, num_hypotheses: int = 1, two_sided: bool = True) -> Result:
    """ε = sqrt(ln(2M/δ)/(2N)): with probability 1−δ, |E_in − E_out| ≤ ε for all M hypotheses.

    Hoeffding 1963, Theorem 2; theory.md 8.1.

    Args:
        num_samples: N, one or an array of them.
        delta: δ in (0, 1), broadcast against `num_samples`.
        num_hypotheses: M, an integer of any size.
        two_sided: False bounds E_out − E_in alone, with ln(M/δ).

    Raises:
        ValueError: A count is not a positive integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.averages import hoeffding_epsilon
        >>> round(hoeffding_epsilon(1000, 0.05), 6), round(hoeffding_epsilon(1000, 0.05, num_hypotheses=100), 6)
        (0.042947, 0.064397)
    """
    n, events = broadcast(
        num_samples=as_counts("num_samples", num_samples), delta=log_events(delta, num_hypotheses, two_sided)
    )
    return plain(np.sqrt(events / (2 * n)))


def hoeffding_sample_size(epsilon: float, delta: float, num_hypotheses: int = 1, two_sided: bool = True) -> int:
    """The smallest N with `hoeffding_epsilon(N, …)` ≤ ε: ln(2M/δ)/(2ε²), rounded up.

    Hoeffding 1963, Theorem 2; theory.md 8.1.

    Args:
        epsilon: ε > 0.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.
        two_sided: False bounds E_out − E_in alone, with ln(M/δ).

    Raises:
        ValueError: ε is not positive, δ is outside (0, 1), or M is not a positive integer.
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.averages import hoeffding_sample_size
        >>> hoeffding_sample_size(0.05, 0.03), hoeffding_sample_size(0.05, 0.03, num_hypotheses=100)
        (840, 1761)
    """
    # In rational numbers ε² cannot underflow.
    events = Fraction(float(log_events(as_scalar(as_delta, "delta", delta), num_hypotheses, two_sided)))
    return math.ceil(events / (2 * Fraction(as_scalar(as_positive, "epsilon", epsilon)) ** 2))


def hoeffding_delta(num_samples: Counts, epsilon: Reals, num_hypotheses: int = 1, two_sided: bool = True) -> Result:
    """A bound on the probability that |E_in − E_out| > ε for one of M hypotheses: 2M e^{−2ε²N}, at most 1.

    Hoeffding 1963, Theorem 2; theory.md 8.1.

    Args:
        num_samples: N, one or an array of them.
        epsilon: ε > 0, broadcast against `num_samples`.
        num_hypotheses: M, an integer of any size.
        two_sided: False for E_out − E_in > ε alone, M e^{−2ε²N}.

    Raises:
        ValueError: A count is not a positive integer, or ε is not positive.
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.averages import hoeffding_delta
        >>> round(hoeffding_delta(1000, 0.05), 6), hoeffding_delta(10, 0.05)
        (0.013476, 1.0)
    """
    n, epsilon = broadcast(num_samples=as_counts("num_samples", num_samples), epsilon=as_positive("epsilon", epsilon))
    events = log_count("num_hypotheses", num_hypotheses) + log_sides(two_sided)
    with np.errstate(over="ignore", under="ignore"):  # of ε²: the probability is 0 or 1 then
        return plain(np.exp(np.minimum(events - 2 * n * epsilon**2, 0.0)))


def mcdiarmid_epsilon(differences: Reals, delta: Reals, two_sided: bool = True) -> Result:
    """sqrt(Σc_i² ln(2/δ)/2): with probability 1−δ, |F − EF| is at most this.

    McDiarmid 1989, Lemma 1.2; theory.md 8.2.

    F is a function of m independent variables that changes by at most c_i when the i-th alone does. An average of
    losses in [0, 1] has c_i = 1/m, which gives `hoeffding_epsilon`.

    Args:
        differences: c, (m,), at least 0.
        delta: δ in (0, 1), one or an array of them.
        two_sided: False bounds F − EF (or EF − F) alone, with ln(1/δ).

    Raises:
        ValueError: `differences` is not (m,) or has a negative entry, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> import numpy as np
        >>> from bounds.concentration.averages import mcdiarmid_epsilon
        >>> round(mcdiarmid_epsilon(np.full(1000, 1 / 1000), 0.05), 6)
        0.042947
    """
    return plain(_norm(differences) * np.sqrt(log_events(delta, 1, two_sided) / 2))


def mcdiarmid_delta(differences: Reals, epsilon: Reals, two_sided: bool = True) -> Result:
    """A bound on the probability that |F − EF| ≥ ε: 2 exp(−2ε²/Σc_i²), at most 1.

    McDiarmid 1989, Lemma 1.2; theory.md 8.2. F is a function of m independent variables.

    Args:
        differences: c, (m,), at least 0: F changes by at most c_i when the i-th variable alone does.
        epsilon: ε > 0, one or an array of them.
        two_sided: False for F − EF ≥ ε alone, without the factor 2.

    Raises:
        ValueError: `differences` is not (m,) or has a negative entry, or ε is not positive.
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> import numpy as np
        >>> from bounds.concentration.averages import mcdiarmid_delta
        >>> round(mcdiarmid_delta(np.full(1000, 1 / 1000), 0.05), 6)
        0.013476
    """
    with np.errstate(divide="ignore", over="ignore", under="ignore"):  # a constant F deviates with probability 0
        ratio = as_positive("epsilon", epsilon) / _norm(differences)
        return plain(np.exp(np.minimum(log_sides(two_sided) - 2 * ratio**2, 0.0)))


def empirical_bernstein_epsilon(
    variance: Reals,
    num_samples: Counts,
    delta: Reals,
    num_hypotheses: int = 1,
    two_sided: bool = True,
) -> Result:
    """ε = sqrt(2V ln(3M/δ)/N) + 7 ln(3M/δ)/(3(N−1)) with the sample's own variance V.

    With probability 1−δ, |E_in − E_out| ≤ ε for all M hypotheses, each with its own V (Maurer & Pontil 2009, Theorem 4;
    theory.md 8.3). The theorem is one-sided, with ln(2M/δ): one event for Bennett's inequality and one for the variance
    (their Theorem 10). A second side adds one more event. The bound is tighter than Hoeffding's where losses vary
    little.

    Args:
        variance: V, of each hypothesis's losses with N − 1 in the denominator, at most N/(4(N−1)).
        num_samples: N, at least 2; the three broadcast.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.
        two_sided: False bounds E_out − E_in alone.

    Raises:
        ValueError: N is below 2, V cannot be the variance of N numbers in [0, 1], or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.averages import empirical_bernstein_epsilon
        >>> round(empirical_bernstein_epsilon(0.01, 1000, 0.05), 6)
        0.018612
    """
    variance, n, events = broadcast(
        variance=as_nonnegative("variance", variance),
        num_samples=as_counts("num_samples", num_samples, minimum=2),
        delta=log_events(delta, num_hypotheses, two_sided) + math.log(3 / 2 if two_sided else 2),
    )
    too_large = variance > n / (4 * (n - 1)) * (1 + 1e-6)  # float32 variances of losses 0 and 1 may round up
    if np.any(too_large):
        first = plain(variance[too_large][0])
        raise ValueError(f"variance is {first!r}; expected at most N/(4(N−1)), the largest of N losses in [0, 1].")
    return plain(np.sqrt(2 * variance * events / n) + 7 * events / (3 * (n - 1)))


def chernoff_upper(risk: Reals, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Result:
    """The largest E with kl(E_in‖E) ≤ ln(M/δ)/N: E_out is at most this with probability 1−δ, for all M hypotheses.

    One-sided. This is the relative-entropy Chernoff bound (Hoeffding 1963, Theorem 1; Langford 2005, section 3;
    theory.md 8.4). It holds for losses in [0, 1], not only 0 and 1, and is never above
    E_in + `hoeffding_epsilon(…, two_sided=False)`.

    Args:
        risk: E_in in [0, 1]; the three broadcast.
        num_samples: N.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.

    Raises:
        ValueError: The risk is outside [0, 1], a count is not a positive integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.averages import chernoff_upper
        >>> round(chernoff_upper(0.0, 100, 0.05), 6), round(chernoff_upper(0.1, 100, 0.05), 6)
        (0.029513, 0.188829)
    """
    return kl_inverse_upper(*_risk_and_divergence(risk, num_samples, delta, num_hypotheses))


def chernoff_lower(risk: Reals, num_samples: Counts, delta: Reals, num_hypotheses: int = 1) -> Result:
    """The smallest E with kl(E_in‖E) ≤ ln(M/δ)/N: E_out is at least this with probability 1−δ, for all M hypotheses.

    The other side of `chernoff_upper`, one-sided too (theory.md 8.4).

    Args:
        risk: E_in in [0, 1]; the three broadcast.
        num_samples: N.
        delta: δ in (0, 1).
        num_hypotheses: M, an integer of any size.

    Raises:
        ValueError: The risk is outside [0, 1], a count is not a positive integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.averages import chernoff_lower
        >>> round(chernoff_lower(0.1, 100, 0.05), 6)
        0.042409
    """
    return kl_inverse_lower(*_risk_and_divergence(risk, num_samples, delta, num_hypotheses))


def _risk_and_divergence(
    risk: Reals, num_samples: Counts, delta: Reals, num_hypotheses: int
) -> tuple[Float64, Float64]:
    """E_in and ln(M/δ)/N, at one shape."""
    q, n, events = broadcast(
        risk=as_risk("risk", risk),
        num_samples=as_counts("num_samples", num_samples),
        delta=log_events(delta, num_hypotheses, two_sided=False),
    )
    return q, events / n


def _norm(differences: Reals) -> Float64:
    """‖c‖₂, also if the squares of c overflow or underflow float64."""
    c = as_nonnegative("differences", differences)
    if c.ndim != 1:
        raise ValueError(f"differences has shape {c.shape}; expected (m,), one for each variable.")
    scale = c.max(initial=0.0) or 1.0
    norm: Float64 = scale * np.sqrt(np.sum((c / scale) ** 2))
    return norm
