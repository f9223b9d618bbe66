"""Deviations of an average against arithmetic in many digits, exact binomial sums, published sizes and simulation."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import stats
from tolerances import CLOSED_FORM, LAST_DIGITS, REORDERED, SAME_FORMULA, SOLVED

from bounds.concentration import averages as c
from bounds.concentration.binomial_tails import binomial_tail_inversion, clopper_pearson
from bounds.concentration.relative_entropy import binary_kl, kl_inverse_lower, kl_inverse_upper

DELTA = 0.1
DRAWS = 4000
# A bound that fails with probability δ exceeds this rate in one of 10,000 simulations.
LARGEST_RATE = DELTA + 3.7 * math.sqrt(DELTA * (1 - DELTA) / DRAWS)


def digits_kl(q, p):
    """kl(q‖p) in 50 digits, of the float64 numbers as they are."""
    with mpmath.workdps(50):
        q, p = mpmath.mpf(q), mpmath.mpf(p)
        return sum(x * mpmath.log(x / y) for x, y in ((q, p), (1 - q, 1 - p)) if x > 0)


@pytest.mark.parametrize("q", [0.0, 1e-12, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("p", [1e-9, 0.03000001, 0.2, 0.5, 1 - 1e-9])
def test_relative_entropy_to_the_last_digits(q, p):
    # Each term has an error of a few ulp. The parts of the two terms that cancel are below |p − q|.
    np.testing.assert_allclose(binary_kl(q, p), float(digits_kl(q, p)), rtol=1e-14, atol=8e-16 * abs(p - q))


def test_relative_entropy_at_the_ends():
    assert binary_kl([0.0, 1.0, 0.3], [0.0, 1.0, 0.3]).tolist() == [0.0, 0.0, 0.0]
    assert binary_kl([0.5, 0.5, 1.0], [0.0, 1.0, 0.0]).tolist() == [math.inf] * 3


@pytest.mark.parametrize("c_value", [1e-9, 1e-3, 0.2, 30.0])
@pytest.mark.parametrize("q", [0.0, 1e-6, 0.3, 0.5, 1.0])
def test_inverses_are_where_the_relative_entropy_is_c(q, c_value):
    for end, bound in ((1, kl_inverse_upper(q, c_value)), (0, kl_inverse_lower(q, c_value))):
        if q == end:
            assert bound == end
            continue
        # kl is computed to 1e-15 |p − q|, which is 1e-11 of c where |p − q| is about sqrt(c).
        assert binary_kl(q, bound) == math.inf or digits_kl(q, bound) >= c_value * (1 - 1e-10)
        inner = bound + 1e-8 * (q - bound) + math.copysign(2.3e-16, q - bound)  # at least one float further inside
        assert digits_kl(q, inner) <= c_value


def test_inverses_contain_q_and_everything():
    assert kl_inverse_upper(0.3, 0.0) == pytest.approx(0.3, abs=LAST_DIGITS["float64"])
    assert kl_inverse_upper(0.3, 1e4) == 1.0
    assert kl_inverse_lower(0.3, 1e4) == 0.0
    q = np.linspace(0, 1, 7)
    np.testing.assert_allclose(
        kl_inverse_lower(q, 0.1), 1 - kl_inverse_upper(1 - q, 0.1), rtol=0, atol=LAST_DIGITS["float64"]
    )


@pytest.mark.parametrize(("num_hypotheses", "listed"), [(1, 1000), (10, 1500), (100, 2000)])
def test_sample_sizes_of_learning_from_data(num_hypotheses, listed):
    """The smallest listed N with 2M e^{−2ε²N} ≤ 0.03 at ε = 0.05 (the course's homework 3, problems 1 to 3)."""
    n = c.hoeffding_sample_size(0.05, 0.03, num_hypotheses)
    assert listed - 500 < n <= listed
    for size, expected in ((n, True), (n - 1, False)):
        assert (2 * num_hypotheses * math.exp(-2 * 0.05**2 * size) <= 0.03) is expected


@pytest.mark.parametrize("two_sided", [True, False])
def test_hoeffding_inverts_itself(two_sided):
    sizes, deltas = np.array([[1], [50], [10**9]]), np.array([0.3, 1e-3, 1e-300])
    epsilon = c.hoeffding_epsilon(sizes, deltas, 7, two_sided)
    assert epsilon.shape == (3, 3)
    sides = 2 if two_sided else 1
    for (i, j), value in np.ndenumerate(epsilon):
        expected = math.sqrt((math.log(sides * 7) - math.log(deltas[j])) / (2 * sizes[i, 0]))
        assert value == pytest.approx(expected, rel=SAME_FORMULA["float64"])
    # ε² N multiplies ε's rounding by ln(1/δ), here up to 700.
    np.testing.assert_allclose(c.hoeffding_delta(sizes, epsilon, 7, two_sided), np.tile(deltas, (3, 1)), rtol=1e-12)
    n = c.hoeffding_sample_size(1e-3, 1e-6, 7, two_sided)
    assert c.hoeffding_epsilon(n, 1e-6, 7, two_sided) <= 1e-3 < c.hoeffding_epsilon(n - 1, 1e-6, 7, two_sided)


def test_hoeffding_with_more_hypotheses_than_a_float_holds():
    programs = 2**8192
    assert c.hoeffding_epsilon(10**6, 0.05, programs) == pytest.approx(
        math.sqrt((8193 * math.log(2) + math.log(20)) / 2e6), rel=SAME_FORMULA["float64"]
    )
    assert c.hoeffding_delta(10**6, 0.01, programs) == 1.0
    assert c.hoeffding_sample_size(1e-200, 0.05) > 10**400
    assert c.hoeffding_epsilon(10**30, 0.05) == pytest.approx(
        1e-10 * c.hoeffding_epsilon(10**10, 0.05), rel=SAME_FORMULA["float64"]
    )


def test_mcdiarmid_of_an_average_is_hoeffding():
    differences = np.full(200, 1 / 200)
    for two_sided in (True, False):
        epsilon = c.mcdiarmid_epsilon(differences, DELTA, two_sided)
        assert epsilon == pytest.approx(
            c.hoeffding_epsilon(200, DELTA, two_sided=two_sided), rel=SAME_FORMULA["float64"]
        )
        assert c.mcdiarmid_delta(differences, epsilon, two_sided) == pytest.approx(DELTA, rel=REORDERED["float64"])
    assert c.mcdiarmid_delta(np.zeros(3), 0.1) == 0.0
    assert c.mcdiarmid_epsilon([3.0, 4.0], DELTA) == pytest.approx(
        5 * math.sqrt(math.log(20) / 2), rel=SAME_FORMULA["float64"]
    )


@pytest.mark.parametrize("scale", [1e-200, 1e-170, 1e200])
def test_squares_need_not_be_within_float64(scale):
    """For numbers of any size, and without a warning."""
    differences, epsilon = np.array([3.0, 4.0]), 7.0
    found = c.mcdiarmid_epsilon(scale * differences, DELTA)
    assert found == pytest.approx(scale * c.mcdiarmid_epsilon(differences, DELTA), rel=REORDERED["float64"])
    found = c.mcdiarmid_delta(scale * differences, scale * epsilon)
    assert found == pytest.approx(2 * math.exp(-2 * (epsilon / 5) ** 2), rel=CLOSED_FORM["float64"])
    assert c.mcdiarmid_delta([1e-200], 1e-200) == pytest.approx(2 * math.exp(-2), rel=REORDERED["float64"])
    assert c.hoeffding_delta(10, 1e200) == 0.0
    assert c.mcdiarmid_delta([1e-300], 1e300) == 0.0


def test_empirical_bernstein_by_hand():
    expected = {False: math.log(2 * 3 / 0.05), True: math.log(3 * 3 / 0.05)}
    for two_sided, logarithm in expected.items():
        by_hand = math.sqrt(2 * 0.04 * logarithm / 100) + 7 * logarithm / (3 * 99)
        assert c.empirical_bernstein_epsilon(0.04, 100, 0.05, 3, two_sided) == pytest.approx(
            by_hand, rel=SAME_FORMULA["float64"]
        )
    # Hoeffding is tighter for coins, and Bernstein for losses that hardly vary.
    assert c.empirical_bernstein_epsilon(0.25, 1000, 0.05) > c.hoeffding_epsilon(1000, 0.05)
    assert c.empirical_bernstein_epsilon(0.001, 1000, 0.05) < c.hoeffding_epsilon(1000, 0.05)


def exact_tail(k, n, p):
    """P(Bin(n, p) ≤ k) in rational arithmetic."""
    p = Fraction(p)
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 60), (1, 3), (7, 60), (59, 60)])
@pytest.mark.parametrize("delta", [0.5, 0.05, 1e-12])
def test_tail_inversion_against_exact_sums(k, n, delta):
    root = binomial_tail_inversion(k, n, delta)
    assert exact_tail(k, n, root * (1 - 1e-10)) > delta > exact_tail(k, n, min(root * (1 + 1e-10), 1.0))
    shared = binomial_tail_inversion(k, n, delta, num_hypotheses=4)
    assert shared == pytest.approx(binomial_tail_inversion(k, n, delta / 4), rel=REORDERED["float64"])


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (20, 20)])
def test_clopper_pearson_against_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(
        clopper_pearson(k, n, 0.05), expected, rtol=SOLVED["float64"], atol=CLOSED_FORM["float64"]
    )
    assert clopper_pearson(k, n, 0.05).upper == binomial_tail_inversion(k, n, 0.025)


def test_the_exact_inversion_is_tightest():
    k, n = np.arange(101), 100
    inversion = binomial_tail_inversion(k, n, 0.05)
    chernoff = c.chernoff_upper(k / n, n, 0.05)
    hoeffding = k / n + c.hoeffding_epsilon(n, 0.05, two_sided=False)
    assert np.all(inversion <= chernoff)
    assert np.all(chernoff <= np.minimum(hoeffding, 1.0) + LAST_DIGITS["float64"])
    assert np.all(np.diff(inversion) > 0)


@pytest.mark.parametrize("n", [1, 7, 40])
def test_exact_coverage_of_counts_of_errors(n):
    """The probability that a bound fails, summed over the n + 1 possible counts, for many risks p."""
    k, p = np.arange(n + 1), np.linspace(0, 1, 1001)[:, None]
    pmf = stats.binom.pmf(k, n, p)
    upper, interval = binomial_tail_inversion(k, n, DELTA), clopper_pearson(k, n, DELTA)
    failures = {
        "inversion": p > upper,
        "interval": (p < interval.lower) | (p > interval.upper),
        "chernoff upper": p > c.chernoff_upper(k / n, n, DELTA),
        "chernoff lower": p < c.chernoff_lower(k / n, n, DELTA),
        "hoeffding": np.abs(k / n - p) > c.hoeffding_epsilon(n, DELTA),
        "one-sided hoeffding": p - k / n > c.hoeffding_epsilon(n, DELTA, two_sided=False),
    }
    rates = {name: (pmf * failed).sum(1).max() for name, failed in failures.items()}
    assert max(rates.values()) <= DELTA * (1 + SOLVED["float64"]), rates
    # The inversion is exact: just above one of its values, it fails with probability δ.
    at_root = stats.binom.cdf(0, n, upper[0])
    assert at_root == pytest.approx(DELTA, rel=SOLVED["float64"])


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1.0, 30.0), (30.0, 1.0)])
def test_coverage_for_losses_between_0_and_1(a, b):
    """M = 5 hypotheses with independent Beta(a, b) losses, N = 30: all of their deviations at once."""
    n, hypotheses = 30, 5
    losses = np.random.default_rng(0).beta(a, b, (DRAWS, hypotheses, n))
    truth, risk = a / (a + b), losses.mean(-1)
    deviation = truth - risk
    variance = losses.var(-1, ddof=1)
    failures = {
        "hoeffding": np.abs(deviation) > c.hoeffding_epsilon(n, DELTA, hypotheses),
        "one-sided hoeffding": deviation > c.hoeffding_epsilon(n, DELTA, hypotheses, two_sided=False),
        "bernstein": np.abs(deviation) > c.empirical_bernstein_epsilon(variance, n, DELTA, hypotheses),
        "one-sided bernstein": deviation > c.empirical_bernstein_epsilon(variance, n, DELTA, hypotheses, False),
        "chernoff upper": truth > c.chernoff_upper(risk, n, DELTA, hypotheses),
        "chernoff lower": truth < c.chernoff_lower(risk, n, DELTA, hypotheses),
    }
    rates = {name: failed.any(1).mean() for name, failed in failures.items()}
    assert max(rates.values()) <= LARGEST_RATE, rates
    # The empirical risk itself fails more often, so the test can tell.
    assert (deviation > 0).any(1).mean() > LARGEST_RATE


def test_coverage_of_mcdiarmid_for_a_function_that_is_not_an_average():
    """The Kolmogorov distance of a sample of 40 from its distribution.

    F = sup_t |F_m(t) − t| for uniform variables changes by at most 1/m when one of them does.
    """
    m = 40
    z = np.sort(np.random.default_rng(1).random((DRAWS, m)), axis=1)
    steps = np.arange(m + 1) / m
    distance = np.maximum(steps[1:] - z, z - steps[:-1]).max(1)
    expected = distance.mean()  # its standard error, 0.001, is a hundredth of ε
    for two_sided in (True, False):
        deviation = np.abs(distance - expected) if two_sided else distance - expected
        epsilon = c.mcdiarmid_epsilon(np.full(m, 1 / m), DELTA, two_sided)
        assert (deviation > epsilon).mean() <= LARGEST_RATE
        assert (deviation > epsilon / 5).mean() > DELTA
