"""The relative entropy of two Bernoulli distributions and its inverses, as test-set and PAC-Bayes bounds use them."""

import numpy as np

from bounds.checks import Float64, Reals, Result, as_divergence, as_risk, broadcast, plain

# Bounds on the rounding error of kl: relative to its two terms in absolute value, and absolute for tiny numbers.
# Each term is a product of a logarithm and its factor, both within a few units in the last place.
_RELATIVE, _ABSOLUTE = 16 * 2.0**-53, 1e-321


def binary_kl(q: Reals, p: Reals) -> Result:
    """kl(q‖p) = q ln(q/p) + (1−q) ln((1−q)/(1−p)), in nats; infinite where p is 0 or 1 and q is not.

    Stated in theory.md 8.4. It is precise also where q and p are close and the two terms nearly cancel.

    Args:
        q: Probabilities in [0, 1].
        p: Probabilities in [0, 1], broadcast against `q`.

    Raises:
        ValueError: A probability is outside [0, 1].
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.relative_entropy import binary_kl
        >>> binary_kl(0.5, 0.25), binary_kl([0.0, 1.0], 1.0)
        (0.14384103622589045, array([inf,  0.]))
    """
    return plain(_kl_and_rounding(*broadcast(q=as_risk("q", q), p=as_risk("p", p)))[0])


def kl_inverse_upper(q: Reals, c: Reals) -> Result:
    """The largest p with kl(q‖p) ≤ c, by bisection, rounded up (Seeger 2002; Langford 2005).

    Stated in theory.md 8.4. The result is never below the exact p, and above it by about one unit in the last place:
    the returned p satisfies kl(q‖p) ≥ c in exact arithmetic, or it is 1.

    Args:
        q: Probabilities in [0, 1].
        c: Relative entropies from 0 to infinity, broadcast against `q`.

    Raises:
        ValueError: A probability is outside [0, 1], or `c` is negative.
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.relative_entropy import kl_inverse_upper
        >>> round(kl_inverse_upper(0.1, 0.05), 6), round(kl_inverse_upper(0.0, 0.05), 6)
        (0.220079, 0.048771)
    """
    return _inverse(q, c, outside=1.0)


def kl_inverse_lower(q: Reals, c: Reals) -> Result:
    """The smallest p with kl(q‖p) ≤ c, by bisection, rounded down (theory.md 8.4).

    Args:
        q: Probabilities in [0, 1].
        c: Relative entropies from 0 to infinity, broadcast against `q`.

    Raises:
        ValueError: A probability is outside [0, 1], or `c` is negative.
        TypeError: An argument is not a real number, or is traced by JAX.

    Example:
        >>> from bounds.concentration.relative_entropy import kl_inverse_lower
        >>> round(kl_inverse_lower(0.1, 0.05), 6)
        0.031278
    """
    return _inverse(q, c, outside=0.0)


def _inverse(q: Reals, c: Reals, outside: float) -> Result:
    """The end of {p: kl(q‖p) ≤ c} towards `outside`, rounded outwards.

    Rounding may lower kl and make the set look larger. It never makes the set look smaller.
    """
    q, c = broadcast(q=as_risk("q", q), c=as_divergence("c", c))
    inner, outer = q, np.full(q.shape, outside)
    while True:
        middle = (inner + outer) / 2
        if np.all((middle == inner) | (middle == outer)):
            return plain(np.where(c > 0, outer, q))
        kl, rounding = _kl_and_rounding(q, middle)
        within = kl - rounding < c
        inner, outer = np.where(within, middle, inner), np.where(within, outer, middle)


def _kl_and_rounding(q: Float64, p: Float64) -> tuple[Float64, Float64]:
    """kl(q‖p), and a bound on how much too large it may be."""
    one, other = _term(q, p, p - q), _term(1 - q, 1 - p, q - p)
    with np.errstate(invalid="ignore"):  # two infinite terms never have opposite signs
        rounding = _RELATIVE * (np.abs(one) + np.abs(other)) + _ABSOLUTE
        # The sum of the two is never negative; rounding may say otherwise.
        return np.maximum(one + other, 0.0), np.where(np.isinf(rounding), 0.0, rounding)


def _term(q: Float64, p: Float64, difference: Float64) -> Float64:
    """q ln(q/p) for p = q + difference. If q and p are close, the difference gives it to all digits."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        near, ratio = np.abs(difference) < q / 2, p / q
        # A ratio that overflows or is subnormal has lost its digits. The two logarithms have not.
        lost = np.isinf(ratio) | (ratio < np.finfo(np.float64).tiny)
        log_ratio = np.where(lost, np.log(p) - np.log(q), np.log(ratio))
        return np.where(q > 0, -q * np.where(near, np.log1p(difference / q), log_ratio), 0.0)
