"""Logarithms of upper bounds on growth functions, where the exact integers would fill the memory."""

import math

import numpy as np

from bounds.checks import as_count
from ntk.checks import check_choice, check_count

_BLOCK = 4096
_MOST_TERMS = 2**22  # that are added; a geometric series bounds the others


def log_sauer(num_samples: int, vc_dim: int) -> float:
    """ln Σ_{i≤d} C(N, i), to a relative error of 1e-12 (Sauer 1972; theory.md 9.1).

    It takes milliseconds for N = 1e9 and d = 1e6.

    Args:
        num_samples: N, at least 0 and below 2^1023.
        vc_dim: d, at least 0.

    Raises:
        ValueError: An argument is not an integer of at least 0, or N has more than 1023 bits.

    Example:
        >>> from bounds.counting.log_counts import log_sauer
        >>> round(log_sauer(10**9, 10**6), 3)
        7907247.287
    """
    check_count("vc_dim", vc_dim, minimum=0)
    n, d = as_count("num_samples", num_samples, minimum=0), int(vc_dim)
    if d >= n:
        return n * math.log(2)
    if 2 * d < n:
        return _log_lower_sum(n, d)
    # More than half of all terms: those that are missing are the first n − d terms of the same sum, from its other end.
    missing = math.exp(min(_log_lower_sum(n, n - d - 1) - n * math.log(2), math.log(0.5)))
    return n * math.log(2) + math.log1p(-missing)


def log_growth(num_samples: int, vc_dim: int, growth: str = "polynomial") -> float:
    """ln of an upper bound on m_H(N) for a class of VC dimension d (theory.md 9.1).

    Args:
        num_samples: N, at least 1.
        vc_dim: d, at least 0.
        growth: "polynomial" for N^d + 1 (Learning From Data, eq. 2.10), "sauer" for the sum that it bounds.

    Raises:
        ValueError: N is not a positive integer, d is not an integer of at least 0, or `growth` is unknown.

    Example:
        >>> import math
        >>> from bounds.counting.log_counts import log_growth
        >>> round(math.exp(log_growth(10, 3))), round(math.exp(log_growth(10, 3, growth="sauer")))
        (1001, 176)
    """
    check_count("num_samples", num_samples)
    d = as_count("vc_dim", vc_dim, minimum=0)
    check_choice("growth", growth, ("polynomial", "sauer"))
    if growth == "sauer":
        return log_sauer(num_samples, d)
    return float(np.logaddexp(d * math.log(int(num_samples)), 0.0))


def _log_lower_sum(n: int, d: int) -> float:
    """ln Σ_{i≤d} C(n, i) for d < n/2: the last term times 1 + d/(n−d+1) + d(d−1)/((n−d+1)(n−d+2)) + ….

    The terms of this series decrease. They are added until they are negligible, or too many. The rest is then replaced
    by an upper bound. Its error is at most the logarithm of the sum, about ½ ln n, which is negligible beside ln C(n,
    d), about n.
    """
    product, ratio_sum, first = 1.0, 1.0, 0
    while product > 1e-17 * ratio_sum and first < min(d, _MOST_TERMS):
        i = np.arange(first, min(first + _BLOCK, d), dtype=np.float64)
        products = product * np.cumprod((float(d) - i) / (float(n - d + 1) + i))
        product, ratio_sum, first = float(products[-1]), ratio_sum + float(products.sum()), first + _BLOCK
    if first < d:
        ratio_sum += product * (d - first) / (n - 2 * d + 1 + 2 * first)
    return _log_binomial(n, d) + math.log(ratio_sum)


def _log_binomial(n: int, d: int) -> float:
    """ln C(n, d) as n times an entropy plus errors of Stirling's formula, without cancellation (Loader 2000)."""
    if d == 0:
        return 0.0
    rest = n - d
    entropy = d * math.log(n / d) - rest * math.log1p(-(d / n))
    return entropy + math.log(n / rest / d / (2 * math.pi)) / 2 + _stirling(n) - _stirling(d) - _stirling(rest)


def _stirling(n: int) -> float:
    """The error of Stirling's formula, ln n! − ((n + ½) ln n − n + ½ ln 2π)."""
    if n < 16:
        return math.log(math.factorial(n)) - (n + 0.5) * math.log(n) + n - math.log(2 * math.pi) / 2
    x = 1 / n
    return x * (1 / 12 - x * x * (1 / 360 - x * x * (1 / 1260 - x * x * (1 / 1680 - x * x / 1188))))
