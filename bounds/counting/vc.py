"""The VC bound and related bounds: how far the risk of a hypothesis may exceed its risk on the sample.

All bounds hold with probability 1−δ for every hypothesis of a class of VC dimension d at once: E_out ≤ E_in + ε, for N
independent, identically distributed samples and losses 0 or 1. The growth function is bounded by N^d + 1 if `growth` is
"polynomial", and by Sauer's sum, which is tighter, if it is "sauer" (theory.md 9.1). A bound with ε ≥ 1 is vacuous.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from bounds.checks import Counts, as_count, as_counts, as_delta, as_scalar
from bounds.counting.log_counts import log_growth
from ntk.checks import check_choice

_MOST_BITS = 1022  # of N, so that 2N is within float64; half as many for N²


def vc_epsilon(num_samples: int, vc_dim: int, delta: float, growth: str = "polynomial") -> float:
    """ε = sqrt((8/N) ln(4 m_H(2N)/δ)), the VC bound (Vapnik & Chervonenkis 1971; Learning From Data, Theorem 2.5).

    Two-sided: |E_in − E_out| ≤ ε (theory.md 9.4).

    Args:
        num_samples: N.
        vc_dim: d, at least 0.
        delta: δ in (0, 1).
        growth: "polynomial" or "sauer".

    Raises:
        ValueError: N is not a positive integer, d is not an integer of at least 0, δ is outside (0, 1), or `growth` is
            unknown.
        TypeError: δ is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.counting.vc import vc_epsilon
        >>> round(vc_epsilon(100, 1, 0.1), 3), round(vc_epsilon(452957, 10, 0.05), 6)
        (0.848, 0.05)
    """
    n, log_inverse_delta = _arguments(num_samples, delta)
    return math.sqrt(8 * (math.log(4) + log_growth(2 * n, vc_dim, growth) + log_inverse_delta) / n)


def rademacher_penalty_epsilon(num_samples: int, vc_dim: int, delta: float, growth: str = "polynomial") -> float:
    """ε = sqrt(2 ln(2N m_H(N))/N) + sqrt((2/N) ln(1/δ)) + 1/N, the Rademacher penalty bound.

    One-sided (Learning From Data, problem 2.20; theory.md 9.4).

    Args:
        num_samples: N.
        vc_dim: d, at least 0.
        delta: δ in (0, 1).
        growth: "polynomial" or "sauer".

    Raises:
        ValueError: N is not a positive integer, d is not an integer of at least 0, δ is outside (0, 1), or `growth` is
            unknown.
        TypeError: δ is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.counting.vc import rademacher_penalty_epsilon
        >>> round(rademacher_penalty_epsilon(10_000, 50, 0.05), 4)
        0.3313
    """
    n, log_inverse_delta = _arguments(num_samples, delta)
    penalty = 2 * (math.log(2 * n) + log_growth(n, vc_dim, growth)) / n
    return math.sqrt(penalty) + math.sqrt(2 * log_inverse_delta / n) + 1 / n


def parrondo_van_den_broek_epsilon(num_samples: int, vc_dim: int, delta: float, growth: str = "polynomial") -> float:
    """The solution of ε = sqrt((2ε + ln(6 m_H(2N)/δ))/N), the bound of Parrondo & van den Broek 1993.

    One-sided (Learning From Data, problem 2.20; theory.md 9.5). Squared, it is Nε² − 2ε − A = 0 with
    A = ln(6 m_H(2N)/δ).

    Args:
        num_samples: N.
        vc_dim: d, at least 0.
        delta: δ in (0, 1).
        growth: "polynomial" or "sauer".

    Raises:
        ValueError: N is not a positive integer, d is not an integer of at least 0, δ is outside (0, 1), or `growth` is
            unknown.
        TypeError: δ is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.counting.vc import parrondo_van_den_broek_epsilon
        >>> round(parrondo_van_den_broek_epsilon(10_000, 50, 0.05), 4)
        0.2237
    """
    n, log_inverse_delta = _arguments(num_samples, delta)
    a = math.log(6) + log_growth(2 * n, vc_dim, growth) + log_inverse_delta
    return 1 / n + math.sqrt((1 / n) ** 2 + a / n)


def devroye_epsilon(num_samples: int, vc_dim: int, delta: float, growth: str = "polynomial") -> float:
    """The solution of ε = sqrt((4ε(1 + ε) + ln(4 m_H(N²)/δ))/(2N)), the bound of Devroye 1982.

    Two-sided (Learning From Data, problem 2.20; theory.md 9.5). Squared, it is (2N−4)ε² − 4ε − A = 0 with
    A = ln(4 m_H(N²)/δ). For N ≤ 2 no ε solves it, and ε is infinite.

    Args:
        num_samples: N.
        vc_dim: d, at least 0.
        delta: δ in (0, 1).
        growth: "polynomial" or "sauer".

    Raises:
        ValueError: N is not a positive integer, d is not an integer of at least 0, δ is outside (0, 1), or `growth` is
            unknown.
        TypeError: δ is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.counting.vc import devroye_epsilon
        >>> round(devroye_epsilon(10_000, 50, 0.05), 4)
        0.2152
    """
    n, log_inverse_delta = _arguments(num_samples, delta, bits=_MOST_BITS // 2)
    a = math.log(4) + log_growth(n**2, vc_dim, growth) + log_inverse_delta
    return (2 + math.sqrt(4 + (2 * n - 4) * a)) / (2 * n - 4) if n > 2 else math.inf


_EPSILONS: dict[str, Callable[[int, int, float, str], float]] = {
    "vc": vc_epsilon,
    "rademacher_penalty": rademacher_penalty_epsilon,
    "parrondo_van_den_broek": parrondo_van_den_broek_epsilon,
    "devroye": devroye_epsilon,
}


def vc_sample_size(epsilon: float, vc_dim: int, delta: float, growth: str = "polynomial", bound: str = "vc") -> int:
    """The smallest N at which a bound of theory.md 9.4 or 9.5 is at most ε (Learning From Data, section 2.2.1).

    Args:
        epsilon: ε in (0, 1).
        vc_dim: d, at least 0.
        delta: δ in (0, 1).
        growth: "polynomial" or "sauer".
        bound: "vc", "rademacher_penalty", "parrondo_van_den_broek" or "devroye".

    Raises:
        ValueError: ε or δ is outside (0, 1), d is not an integer of at least 0, a name is unknown, or N leaves the
            range of float64.
        TypeError: ε or δ is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.counting.vc import vc_sample_size
        >>> vc_sample_size(0.05, 10, 0.05), vc_sample_size(0.05, 10, 0.05, growth="sauer")
        (452957, 400700)
    """
    check_choice("bound", bound, _EPSILONS)
    epsilon = as_scalar(as_delta, "epsilon", epsilon)
    # Every bound decreases in N once it is below 1, so doubling and bisection find the smallest N.
    enough = 1
    while _EPSILONS[bound](enough, vc_dim, delta, growth) > epsilon:
        enough *= 2
        if enough.bit_length() > _MOST_BITS // 2:
            raise ValueError(f"epsilon is {epsilon:g}; expected one that fewer than 2^{_MOST_BITS // 2} samples reach.")
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _EPSILONS[bound](middle, vc_dim, delta, growth) > epsilon:
            too_few = middle
        else:
            enough = middle
    return enough


def vc_curves(
    num_samples: Counts, vc_dim: int, delta: float, growth: str = "polynomial"
) -> dict[str, Float[np.ndarray, " K"]]:
    """ε of the bounds of theory.md 9.4 and 9.5 as N grows, to compare them (Learning From Data, problem 2.20).

    Args:
        num_samples: N, (K,) positive integers.
        vc_dim: d, at least 0.
        delta: δ in (0, 1).
        growth: "polynomial" or "sauer".

    Returns:
        A dictionary with the keys "vc", "rademacher_penalty", "parrondo_van_den_broek" and "devroye", each with (K,)
        values of ε in float64.

    Raises:
        ValueError: `num_samples` is not (K,) or holds a number below 1, d is not an integer of at least 0, δ is outside
            (0, 1), or `growth` is unknown.
        TypeError: `num_samples` does not hold integers, δ is not a real number, or an argument is traced by JAX.

    Example:
        >>> from bounds.counting.vc import vc_curves
        >>> curves = vc_curves([5, 10_000], vc_dim=50, delta=0.05)
        >>> min(curves, key=lambda bound: curves[bound][0]), min(curves, key=lambda bound: curves[bound][1])
        ('parrondo_van_den_broek', 'devroye')
    """
    sizes = as_counts("num_samples", num_samples).astype(np.int64)
    if sizes.ndim != 1:
        raise ValueError(f"num_samples has shape {sizes.shape}; expected (K,), one N for each point of the curves.")
    return {
        name: np.array([epsilon(int(n), vc_dim, delta, growth) for n in sizes]) for name, epsilon in _EPSILONS.items()
    }


def _arguments(num_samples: int, delta: float, bits: int = _MOST_BITS) -> tuple[int, float]:
    """N and ln(1/δ)."""
    n = as_count("num_samples", num_samples, bits=bits)
    return n, -math.log(as_scalar(as_delta, "delta", delta))
