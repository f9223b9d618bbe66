"""PAC-Bayes bounds in closed form: the risk of a hypothesis drawn from a posterior Q, by its distance from a prior P.

P is fixed before the sample is seen, and Q may depend on the sample in any way. Ê is the average over Q of the
empirical risk and E is the average of the risk, for N independent, identically distributed samples and losses in [0,
1]. Both bounds hold with probability 1−δ for all Q at once. They are one-sided: E is at most the bound.
"""

import numpy as np

from bounds.checks import Counts, Float64, Reals, Result, as_counts, as_delta, as_divergence, as_risk, broadcast, plain
from bounds.concentration.relative_entropy import kl_inverse_upper


def seeger_bound(risk: Reals, kl: Reals, num_samples: Counts, delta: Reals) -> Result:
    """The largest E with kl(Ê‖E) ≤ (KL(Q‖P) + ln(2√N/δ))/N.

    Seeger 2002, Theorem 1, with the constant of Maurer 2004, Theorem 5; theory.md 13.1.

    Args:
        risk: Ê in [0, 1]; the four broadcast.
        kl: KL(Q‖P) in nats, at least 0; infinite if Q is not absolutely
            continuous with respect to P, and then the bound says nothing.
        num_samples: N.
        delta: δ in (0, 1).

    Raises:
        ValueError: The risk is outside [0, 1], KL is negative, N is not a positive integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.pac_bayes.closed_forms import seeger_bound
        >>> round(seeger_bound(0.02, 5000.0, 60_000, 0.025), 4)
        0.1344
    """
    return kl_inverse_upper(*_risk_and_complexity(risk, kl, num_samples, delta))


def mcallester_bound(risk: Reals, kl: Reals, num_samples: Counts, delta: Reals) -> Result:
    """Ê + sqrt((KL(Q‖P) + ln(2√N/δ))/(2N)), which may exceed 1.

    McAllester 1999, with the constant of Maurer 2004, Theorem 5; theory.md 13.2. It is `seeger_bound` loosened by
    Pinsker's inequality 2(E − Ê)² ≤ kl(Ê‖E).

    Args:
        risk: Ê in [0, 1]; the four broadcast.
        kl: KL(Q‖P) in nats, at least 0, possibly infinite.
        num_samples: N.
        delta: δ in (0, 1).

    Raises:
        ValueError: The risk is outside [0, 1], KL is negative, N is not a positive integer, or δ is outside (0, 1).
        TypeError: An argument is not a real number, or is traced by JAX.

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
