"""From a Rademacher complexity to a bound on the risk."""

import math
from typing import NamedTuple

import numpy as np

from bounds.checks import Reals, as_counts, as_delta, as_nonnegative, as_risk


class RademacherBound(NamedTuple):
    """An upper bound on a risk and the three parts that add up to it.

    Attributes:
        bound: The sum of the parts. It is vacuous from 1 on.
        empirical_risk: Ê g, the mean training loss.
        complexity: 2R_m or 2R̂_S.
        confidence: The part that depends on δ.
    """

    bound: float
    empirical_risk: float
    complexity: float
    confidence: float


def rademacher_bound(
    empirical_risk: Reals, complexity: Reals, num_samples: int, delta: Reals, empirical: bool = True
) -> RademacherBound:
    """A bound on E g for all g of a class G of losses in [0, 1] at once (Mohri et al. 2018, Theorem 3.3).

    For an i.i.d. sample S of m points, with probability at least 1 − δ over S, one-sided, for all g in G,

        E g ≤ Ê g + 2 R̂_S(G) + 3 √(ln(2/δ)/(2m))   (empirical: the complexity of the sample at hand)
        E g ≤ Ê g + 2 R_m(G) + √(ln(1/δ)/(2m))      (otherwise: its expectation over samples).

    G is the class of losses, fixed before S is seen; for that of predictions see `contracted_rademacher`, and for 0-1
    losses of classifiers h in {−1, 1}, R̂_S(G) = R̂_S(H)/2 (Lemma 3.4). A complexity by Monte Carlo is itself known only
    up to `rademacher_sampling_margin`.

    Args:
        empirical_risk: Ê g in [0, 1], or the training losses themselves, (m,), whose mean it is.
        complexity: R̂_S(G) or R_m(G), or an upper bound of it.
        num_samples: m.
        delta: δ, the probability with which the bound may fail.
        empirical: Which of the two complexities is given.

    Returns:
        `RademacherBound`: the bound, empirical_risk, complexity (doubled) and confidence.

    Raises:
        ValueError: A loss is outside [0, 1], there are not m of them, the complexity is negative, m is no positive
            integer or δ is outside (0, 1).
        TypeError: An argument is no number, or is traced by JAX.

    Example:
        >>> from bounds.rademacher import rademacher_bound
        >>> losses = [0.0] * 90 + [1.0] * 10
        >>> print(", ".join(f"{part:.4f}" for part in rademacher_bound(losses, 0.02, 100, delta=0.05)))
        0.5474, 0.1000, 0.0400, 0.4074
    """
    m = int(as_counts("num_samples", num_samples))
    losses = as_risk("empirical_risk", empirical_risk)
    if losses.shape not in ((), (m,)):
        raise ValueError(f"empirical_risk has shape {losses.shape}; expected a number or ({m},) losses.")
    risk = float(np.mean(losses))
    doubled = 2 * float(as_nonnegative("complexity", complexity))
    delta = float(as_delta("delta", delta))
    factor, num_events = (3, 2) if empirical else (1, 1)
    confidence = factor * math.sqrt(math.log(num_events / delta) / (2 * m))
    return RademacherBound(risk + doubled + confidence, risk, doubled, confidence)


def rademacher_sampling_margin(num_draws: int, num_samples: int, delta: Reals, largest_value: Reals = 1.0) -> float:
    """How far a Monte Carlo estimate may lie below R̂_S: by at most c √(2 ln(1/δ)/(m n)) with probability 1 − δ.

    One-sided, by McDiarmid's inequality over n independent sign vectors of m signs each: one sign changes the mean of
    the suprema by at most 2c/(m n) where |g(z_i)| ≤ c. A bound on the risk with the estimate plus this margin as its
    complexity may fail with its own δ plus this one. A standard error promises less: it is right only for large n.

    Args:
        num_draws: n, at least 1.
        num_samples: m.
        delta: δ.
        largest_value: c, at least the largest |g(z_i)| on the sample; 1 for losses in [0, 1].

    Returns:
        The margin.

    Raises:
        ValueError: A number is out of its range.
        TypeError: An argument is no number, or is traced by JAX.

    Example:
        >>> from bounds.rademacher import rademacher_sampling_margin
        >>> print(f"{rademacher_sampling_margin(1000, 500, delta=0.05):.4f}")
        0.0035
    """
    num_signs = as_counts("num_samples", num_samples) * as_counts("num_draws", num_draws)
    variance = 2 * -np.log(as_delta("delta", delta)) / num_signs
    return float(as_nonnegative("largest_value", largest_value) * np.sqrt(variance))


def contracted_rademacher(complexity: Reals, lipschitz: Reals, vector_valued: bool = False) -> float:
    """At most the complexity of the losses ℓ(h(x), y), for that of the predictions h.

    Talagrand's contraction lemma: where each ℓ(·, y) is L-Lipschitz, R̂_S(ℓ∘H) ≤ L R̂_S(H) (Ledoux & Talagrand 1991;
    Mohri et al. 2018, Lemma 5.7). For outputs in R^k and ℓ(·, y) L-Lipschitz in Euclidean norm, R̂_S(ℓ∘H) ≤ √2 L times
    E_σ sup_h (1/m) Σ_i Σ_k σ_ik h_k(x_i), with one sign per output (Maurer 2016, Corollary 1). L is 1 for the absolute,
    hinge and logistic losses, 1/γ for the ramp of margin γ, √2 for cross-entropy as a function of logits in R^k.

    Args:
        complexity: R̂_S(H) or R_m(H), or an upper bound; for vectors with one sign per output.
        lipschitz: L.
        vector_valued: Whether h has several outputs.

    Returns:
        The complexity times L, or times √2 L.

    Raises:
        ValueError: A number is negative or not finite.
        TypeError: An argument is no number, or is traced by JAX.

    Example:
        >>> from bounds.rademacher import contracted_rademacher
        >>> print(f"{contracted_rademacher(0.1, 2.0):.2f} {contracted_rademacher(0.1, 2.0, vector_valued=True):.2f}")
        0.20 0.28
    """
    factor = math.sqrt(2) if vector_valued else 1.0
    return factor * float(as_nonnegative("lipschitz", lipschitz) * as_nonnegative("complexity", complexity))
