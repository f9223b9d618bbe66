"""The inverses of the relative entropy are bounds in float64: never on the wrong side, held against 60 digits."""

import itertools

import mpmath
import numpy as np
import pytest

from bounds.concentration.relative_entropy import binary_kl, kl_inverse_lower, kl_inverse_upper

SMALLEST = 5e-324
Q = [0.0, SMALLEST, 1e-310, 1e-300, 1e-17, 1e-9, 1e-3, 0.1, 1 / 3, 0.5, 0.9, 1 - 1e-9, 1 - 2**-53, 1.0]
C = [0.0, SMALLEST, 1e-310, 1e-200, 1e-33, 1e-20, 1e-15, 1e-9, 1e-4, 0.05, 0.7, 3.0, 40.0, 700.0, 1e300, np.inf]


def exact_kl(q, p):
    """kl(q‖p) of two float64 numbers to more than 30 digits."""
    if p in (0, 1):
        return mpmath.mpf(0) if p == q else mpmath.inf
    return sum(terms(q, p))


def terms(q, p):
    """Both terms of kl(q‖p), which have different signs."""
    q, p = mpmath.mpf(q), mpmath.mpf(p)
    if q in (0, 1):
        return mpmath.mpf(0), -mpmath.log1p(-p) if q == 0 else -mpmath.log(p)
    left = q * mpmath.log(q / p) if q < p / 2 else q * mpmath.log1p((q - p) / p)
    right = (1 - q) * mpmath.log((1 - q) / (1 - p)) if q > (1 + p) / 2 else (1 - q) * mpmath.log1p((p - q) / (1 - p))
    return left, right


def rounding(q, p):
    """A few units in the last place of the terms. Their sum nearly cancels if q and p are close."""
    return 40 * 2.0**-53 * sum(map(abs, terms(q, p))) + 3e-321


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(60):
        yield


def random_pairs():
    generator = np.random.default_rng(0)
    return zip(generator.uniform(size=50), 10 ** generator.uniform(-18, 1, size=50), strict=True)


PAIRS = [*itertools.product(Q, C), *random_pairs()]
UPPER, LOWER = (inverse(*np.array(PAIRS).T).tolist() for inverse in (kl_inverse_upper, kl_inverse_lower))


def test_kl_is_that_of_60_digits():
    for q, p in itertools.product(Q, Q[1:-1]):
        assert abs(binary_kl(q, p) - exact_kl(q, p)) <= rounding(q, p), (q, p)


def test_the_upper_inverse_is_never_below():
    for (q, c), p in zip(PAIRS, UPPER, strict=True):
        assert q <= p <= 1
        assert p == 1 or exact_kl(q, p) >= c, (q, c, p)


def test_the_lower_inverse_is_never_above():
    for (q, c), p in zip(PAIRS, LOWER, strict=True):
        assert 0 <= p <= q
        assert p == 0 or exact_kl(q, p) >= c, (q, c, p)


def test_the_next_number_towards_q_may_be_inside():
    for (q, c), p in [*zip(PAIRS, UPPER, strict=True), *zip(PAIRS, LOWER, strict=True)]:
        nearer = np.nextafter(p, q)
        assert nearer == q or exact_kl(q, nearer) <= c + rounding(q, nearer), (q, c, p)


def test_arrays_are_the_numbers_one_by_one():
    for inverses, inverse in ((UPPER, kl_inverse_upper), (LOWER, kl_inverse_lower)):
        np.testing.assert_array_equal(inverses[::5], [inverse(*pair) for pair in PAIRS[::5]])
