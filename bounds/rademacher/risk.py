"""From a Rademacher complexity to a bound on the risk."""

import math
from typing import NamedTuple

import jax
import numpy as np

from bounds.checks import Real, Reals, as_count, as_delta, as_nonnegative, as_risk, as_scalar
from bounds.rademacher.classes import FunctionClass
from bounds.rademacher.estimates import Estimate, empirical_rademacher
from ntk.checks import check_flag


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
    empirical_risk: Reals, complexity: Real, num_samples: int, delta: Real, empirical: bool = True
) -> RademacherBound:
    """A bound on E g for all g of a class G of losses in [0, 1] at once (Mohri et al. 2018, Theorem 3.3).

    Stated in theory.md 11.2.

    For an i.i.d. sample S of m points, with probability at least 1 − δ over S, one-sided, for all g in G,

        E g ≤ Ê g + 2 R̂_S(G) + 3 √(ln(2/δ)/(2m))   (empirical: the complexity of the sample at hand)
        E g ≤ Ê g + 2 R_m(G) + √(ln(1/δ)/(2m))      (otherwise: its expectation over samples).

    G is the class of losses, fixed before S is seen. `contracted_rademacher` bounds the complexity of losses by that of
    predictions. For 0-1 losses of classifiers h in {−1, 1}, R̂_S(G) = R̂_S(H)/2 (Lemma 3.4). If the complexity is a Monte
    Carlo estimate, use `rademacher_monte_carlo_bound`, which includes the error of the draws.

    Args:
        empirical_risk: Ê g in [0, 1], or the training losses themselves, (m,), whose mean it is.
        complexity: R̂_S(G) or R_m(G), or an upper bound of it.
        num_samples: m.
        delta: δ, the probability with which the bound may fail.
        empirical: True if the complexity is R̂_S(G), False if it is R_m(G).

    Returns:
        `RademacherBound`: the bound, empirical_risk, complexity (doubled) and confidence.

    Raises:
        ValueError: A loss is outside [0, 1], there are not m of them, the complexity is negative, m is not a positive
            integer or δ is outside (0, 1).
        TypeError: An argument is not a number, such as an `Estimate`, or is traced by JAX.

    Example:
        >>> from bounds.rademacher import rademacher_bound
        >>> losses = [0.0] * 90 + [1.0] * 10
        >>> print(", ".join(f"{part:.4f}" for part in rademacher_bound(losses, 0.02, 100, delta=0.05)))
        0.5474, 0.1000, 0.0400, 0.4074
    """
    check_flag("empirical", empirical)
    m = as_count("num_samples", num_samples)
    losses = as_risk("empirical_risk", empirical_risk)
    if losses.shape not in ((), (m,)):
        raise ValueError(f"empirical_risk has shape {losses.shape}; expected a number or ({m},) losses.")
    risk = float(np.mean(losses))
    if isinstance(complexity, Estimate):
        raise TypeError(
            "complexity is an Estimate, which may lie below the complexity; expected a number, or"
            " rademacher_monte_carlo_bound with the class itself."
        )
    doubled = 2 * as_scalar(as_nonnegative, "complexity", complexity)
    delta = as_scalar(as_delta, "delta", delta)
    factor, num_events = (3, 2) if empirical else (1, 1)
    confidence = factor * math.sqrt(math.log(num_events / delta) / (2 * m))
    return RademacherBound(risk + doubled + confidence, risk, doubled, confidence)


def rademacher_monte_carlo_bound(
    empirical_risk: Reals,
    function_class: FunctionClass,
    key: jax.Array,
    delta: Real,
    *,
    lipschitz: Real = 1.0,
    num_draws: int = 1000,
    monte_carlo_share: Real = 0.1,
) -> RademacherBound:
    """`rademacher_bound` with R̂_S of a class by Monte Carlo, including the error of the draws.

    The share `monte_carlo_share` of δ goes to `rademacher_monte_carlo_epsilon` and the rest to the sample. The bound
    holds with probability at least 1 − δ over both (theory.md 11.2, 11.7 and 11.8).

    Args:
        empirical_risk: Ê in [0, 1], or the training losses themselves, (m,).
        function_class: The class of losses on the sample, or the class of real-valued predictions h if the losses are
            L-Lipschitz in h.
        key: A PRNG key, independent of the sample.
        delta: δ, the probability with which the bound may fail.
        lipschitz: L, the Lipschitz constant of the losses as functions of h; 1 for the losses themselves.
        num_draws: How many sign vectors, at least 2. The error of the draws falls with their number.
        monte_carlo_share: The share of δ for the draws, in (0, 1).

    Returns:
        `RademacherBound`.

    Raises:
        ValueError: The supremum of the class is a lower estimate, as for networks; the class's data has a wrong shape
            or value; a loss is outside [0, 1]; there are not m losses; or a number is out of its range.
        TypeError: The class's data is not of float32 or float64, `key` is not a PRNG key, or an argument is not a
            number or is traced by JAX.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import LinearBall, rademacher_monte_carlo_bound
        >>> x = jax.random.normal(jax.random.key(0), (10_000, 2))
        >>> found = rademacher_monte_carlo_bound(0.1, LinearBall(x), jax.random.key(1), delta=0.05)
        >>> print(f"{found.complexity:.2f} {found.confidence:.2f}")
        0.03 0.04
    """
    if getattr(function_class, "is_lower_estimate", False):
        raise ValueError(
            f"function_class is a {type(function_class).__name__}, whose supremum is a lower estimate; expected a class"
            " with an exact one: its upper_bound() is a complexity for rademacher_bound."
        )
    delta = as_scalar(as_delta, "delta", delta)
    share = as_scalar(as_delta, "monte_carlo_share", monte_carlo_share)
    estimate = float(empirical_rademacher(function_class, key, num_draws).estimate)
    m, largest = function_class.num_samples, float(function_class.checked().largest_value())
    estimate += rademacher_monte_carlo_epsilon(num_draws, m, share * delta, largest)
    return rademacher_bound(empirical_risk, contracted_rademacher(estimate, lipschitz), m, (1 - share) * delta)


def rademacher_monte_carlo_epsilon(num_draws: int, num_samples: int, delta: Real, largest_value: Real = 1.0) -> float:
    """How far a Monte Carlo estimate may lie below R̂_S: by at most c √(2 ln(1/δ)/(m n)) with probability 1 − δ.

    One-sided, by McDiarmid's inequality over n independent sign vectors of m signs each (theory.md 11.8): one sign
    changes the mean of the suprema by at most 2c/(m n) where |g(z_i)| ≤ c. A bound on the risk whose complexity is the
    estimate plus this margin fails with probability at most its own δ plus this one; `rademacher_monte_carlo_bound` is
    that bound. A standard error would not be enough, since it is right only for large n.

    Args:
        num_draws: n, at least 1.
        num_samples: m.
        delta: δ.
        largest_value: c, at least the largest |g(z_i)| on the sample; 1 for losses in [0, 1].

    Returns:
        The deviation ε.

    Raises:
        ValueError: A number is out of its range.
        TypeError: An argument is not a number, or is traced by JAX.

    Example:
        >>> from bounds.rademacher import rademacher_monte_carlo_epsilon
        >>> print(f"{rademacher_monte_carlo_epsilon(1000, 500, delta=0.05):.4f}")
        0.0035
    """
    m, n = as_count("num_samples", num_samples), as_count("num_draws", num_draws)
    variance = -2 * math.log(as_scalar(as_delta, "delta", delta)) / m / n
    return as_scalar(as_nonnegative, "largest_value", largest_value) * math.sqrt(variance)


def contracted_rademacher(complexity: Real, lipschitz: Real, vector_valued: bool = False) -> float:
    """An upper bound on the complexity of the losses ℓ(h(x), y), from the complexity of the predictions h.

    If each ℓ(·, y) is L-Lipschitz, R̂_S(ℓ∘H) ≤ L R̂_S(H): this is Talagrand's contraction lemma (Ledoux & Talagrand
    1991; Mohri et al. 2018, Lemma 5.7; theory.md 11.7). For outputs in R^k and ℓ(·, y) L-Lipschitz in Euclidean norm,
    R̂_S(ℓ∘H) is at most √2 L E_σ sup_h (1/m) Σ_i Σ_k σ_ik h_k(x_i), with one sign per output (Maurer 2016, Corollary 1).
    L is 1 for the absolute, hinge and logistic losses, 1/γ for the ramp of margin γ, and √2 for cross-entropy as a
    function of logits in R^k.

    Args:
        complexity: R̂_S(H) or R_m(H), or an upper bound; for vectors with one sign per output.
        lipschitz: L.
        vector_valued: Whether h has several outputs.

    Returns:
        The complexity times L, or times √2 L.

    Raises:
        ValueError: A number is negative or not finite.
        TypeError: An argument is not a number, or is traced by JAX.

    Example:
        >>> from bounds.rademacher import contracted_rademacher
        >>> print(f"{contracted_rademacher(0.1, 2.0):.2f} {contracted_rademacher(0.1, 2.0, vector_valued=True):.2f}")
        0.20 0.28
    """
    check_flag("vector_valued", vector_valued)
    factor = math.sqrt(2) if vector_valued else 1.0
    constant = as_scalar(as_nonnegative, "lipschitz", lipschitz)
    return factor * constant * as_scalar(as_nonnegative, "complexity", complexity)
