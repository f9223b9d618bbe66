"""The relative entropy of two Bernoulli distributions and its inverses, as test-set and PAC-Bayes bounds use them."""

import numpy as np

from bounds.checks import Float64, Reals, as_divergence, as_risk, broadcast, plain

# Halvings of [0, 1] after which the two ends are neighbours unless the root is below 1e-20.
_HALVINGS = 120


def binary_kl(q: Reals, p: Reals) -> Reals:
    """kl(q‖p) = q ln(q/p) + (1−q) ln((1−q)/(1−p)), in nats; infinite where p is 0 or 1 and q is not.

    Precise where q and p are close too, in spite of the two terms' opposite signs.

    Args:
        q: Probabilities in [0, 1].
        p: Probabilities in [0, 1], broadcast against `q`.

    Raises:
        ValueError: A probability is outside [0, 1].
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.kl import binary_kl
        >>> binary_kl(0.5, 0.25), binary_kl([0.0, 1.0], 1.0)
        (0.14384103622589045, array([inf,  0.]))
    """
    return plain(_kl(*broadcast(q=as_risk("q", q), p=as_risk("p", p))))


def kl_inverse_upper(q: Reals, c: Reals) -> Reals:
    """The largest p with kl(q‖p) ≤ c, by bisection, rounded up (Seeger 2002; Langford 2005).

    Args:
        q: Probabilities in [0, 1].
        c: Relative entropies from 0 to infinity, broadcast against `q`.

    Raises:
        ValueError: A probability is outside [0, 1], or `c` is negative.
        TypeError: An argument is no real number, or is traced.

    Example:
        >>> from bounds.kl import kl_inverse_upper
        >>> round(kl_inverse_upper(0.1, 0.05), 6), round(kl_inverse_upper(0.0, 0.05), 6)
        (0.220079, 0.048771)
    """
    return _inverse(q, c, outside=1.0)


def kl_inverse_lower(q: Reals, c: Reals) -> Reals:
    """The smallest p with kl(q‖p) ≤ c, by bisection, rounded down; arguments and errors as for `kl_inverse_upper`.

    Example:
        >>> from bounds.kl import kl_inverse_lower
        >>> round(kl_inverse_lower(0.1, 0.05), 6)
        0.031278
    """
    return _inverse(q, c, outside=0.0)


def _inverse(q: Reals, c: Reals, outside: float) -> Reals:
    """The end of {p: kl(q‖p) ≤ c} towards `outside`; of the last bracket, the end that is not in the set."""
    q, c = broadcast(q=as_risk("q", q), c=as_divergence("c", c))
    inner, outer = q, np.full(q.shape, outside)
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        within = _kl(q, middle) <= c
        inner, outer = np.where(within, middle, inner), np.where(within, outer, middle)
    return plain(outer)


def _kl(q: Float64, p: Float64) -> Float64:
    # The sum of the two is never negative; rounding may say otherwise.
    return np.maximum(_term(q, p, p - q) + _term(1 - q, 1 - p, q - p), 0.0)


def _term(q: Float64, p: Float64, difference: Float64) -> Float64:
    """Q ln(q/p), of p = q + difference where these are close."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.where(np.abs(difference) < q / 2, np.log1p(difference / q), np.log(p / q))
        return np.where(q > 0, -q * log_ratio, 0.0)
