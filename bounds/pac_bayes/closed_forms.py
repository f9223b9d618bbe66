"""PAC-Bayes bounds in closed form: the risk of a hypothesis drawn from a posterior Q, by its distance from a prior P.

P is fixed before the sample is seen, Q may depend on it in any way. Ê is the average over Q of the empirical risk, E
that of the risk, for N independent, identically distributed samples and losses in [0, 1]. Both bounds hold with
probability 1−δ for all Q at once, and are one-sided: E is at most the bound.
"""

import numpy as np

from bounds.checks import Counts, Float64, Reals, as_counts, as_delta, as_divergence, as_risk, broadcast, plain
from bounds.concentration.relative_entropy import kl_inverse_upper


def seeger_bound(risk: Reals, kl: Reals, num_samples: Counts, delta: Reals) -> Reals:
    """The largest E with kl(Ê‖E) ≤ (KL(Q‖P) + ln(2√N/δ))/N (Seeger 2002, Thm 1; constant of Maurer 2004, Thm 5).

    Args:
        risk: Ê in [0, 1]; the four broadcast.
        kl: KL(Q‖P) in nats, at least 0; infinite where Q has what P has not, and then the bound says nothing.
        num_samples: N.
        delta: δ in (0, 1).

    Raises:
        ValueError: The risk is outside [0, 1], KL negative, N no positive integer, or δ outside (0, 1).
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.pac_bayes.closed_forms import seeger_bound
        >>> round(seeger_bound(0.02, 5000.0, 60_000, 0.025), 4)
        0.1344
    """
    return kl_inverse_upper(*_risk_and_complexity(risk, kl, num_samples, delta))


def mcallester_bound(risk: Reals, kl: Reals, num_samples: Counts, delta: Reals) -> Reals:
    """Ê + sqrt((KL(Q‖P) + ln(2√N/δ))/(2N)) (McAllester 1999; constant of Maurer 2004, Thm 5).

    `seeger_bound` loosened by Pinsker's inequality 2(E − Ê)² ≤ kl(Ê‖E); arguments and errors as there. May exceed 1.

    Example:
        >>> from bounds.pac_bayes.closed_forms import mcallester_bound
        >>> round(mcallester_bound(0.02, 5000.0, 60_000, 0.025), 4)
        0.2243
    """
    q, complexity = _risk_and_complexity(risk, kl, num_samples, delta)
    return plain(q + np.sqrt(complexity / 2))


def _risk_and_complexity(risk: Reals, kl: Reals, num_samples: Counts, delta: Reals) -> tuple[Float64, Float64]:
    """Ê and (KL + ln(2√N/δ))/N, at one shape."""
    q, divergence, n, delta = broadcast(
        risk=as_risk("risk", risk),
        kl=as_divergence("kl", kl),
        num_samples=as_counts("num_samples", num_samples),
        delta=as_delta("delta", delta),
    )
    return q, (divergence + np.log(2 * np.sqrt(n)) - np.log(delta)) / n
