"""Deviations and test-set bounds are monotone in every argument, and do not depend on names or units."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import LAST_DIGITS, REORDERED, SAME_FORMULA

from bounds.concentration import averages as c
from bounds.concentration.binomial_tails import binomial_tail_inversion, clopper_pearson
from bounds.concentration.relative_entropy import binary_kl, kl_inverse_lower, kl_inverse_upper

SIZE, DELTA = st.integers(2, 10**6), st.floats(1e-12, 0.9)
RISK, COUNT = st.floats(0, 1), st.integers(1, 10**9)
# Rounding may break monotonicity in float64, by a few ε relative to numbers of order one.
ROUNDING = 1e-12
EXAMPLES = settings(max_examples=20, deadline=None, derandomize=True)


@given(SIZE, SIZE, DELTA, COUNT, st.booleans())
@EXAMPLES
def test_more_samples_narrow_every_deviation(n, more, delta, hypotheses, two_sided):
    variance = 0.1
    for bound in (
        lambda size: c.hoeffding_epsilon(size, delta, hypotheses, two_sided),
        lambda size: c.empirical_bernstein_epsilon(variance, size, delta, hypotheses, two_sided),
        lambda size: c.mcdiarmid_epsilon(np.full(4, 1 / size), delta, two_sided),
        lambda size: c.hoeffding_delta(size, 0.01, hypotheses, two_sided),
    ):
        assert bound(n + more) <= bound(n)


@given(SIZE, DELTA, DELTA, COUNT, COUNT)
@EXAMPLES
def test_more_confidence_and_more_hypotheses_widen_every_deviation(n, one, other, hypotheses, more):
    delta, less = max(one, other), min(one, other)
    for bound in (
        lambda delta, count: c.hoeffding_epsilon(n, delta, count),
        lambda delta, count: c.empirical_bernstein_epsilon(0.2, n, delta, count),
        lambda delta, count: c.hoeffding_sample_size(0.05, delta, count),
        lambda delta, count: binomial_tail_inversion(n // 3, n, delta, count),
        lambda delta, count: c.chernoff_upper(0.3, n, delta, count),
        lambda delta, count: -c.chernoff_lower(0.3, n, delta, count),
    ):
        assert bound(delta, hypotheses) <= bound(less, hypotheses) + ROUNDING
        assert bound(delta, hypotheses) <= bound(delta, hypotheses + more) + ROUNDING


@given(RISK, RISK, st.floats(0, 50), st.floats(0, 50))
@EXAMPLES
def test_inverses_of_the_relative_entropy_are_monotone(one, other, small, more):
    q, larger = min(one, other), max(one, other)
    for inverse, outwards in ((kl_inverse_upper, 1), (kl_inverse_lower, -1)):
        assert inverse(q, small) <= inverse(larger, small) + ROUNDING
        assert outwards * inverse(q, small) <= outwards * inverse(q, small + more) + ROUNDING


@given(st.integers(0, 2**20), st.integers(0, 2**20), st.floats(0, 30))
@EXAMPLES
def test_successes_and_failures_have_the_same_role(a, b, divergence):
    """kl(q‖p) = kl(1−q‖1−p), on a grid of binary fractions, where 1 − q has no rounding."""
    q, p = a / 2**20, b / 2**20
    np.testing.assert_allclose(binary_kl(q, p), binary_kl(1 - q, 1 - p), rtol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(
        kl_inverse_upper(q, divergence), 1 - kl_inverse_lower(1 - q, divergence), atol=LAST_DIGITS["float64"]
    )


@given(st.integers(1, 10**4), st.data(), DELTA)
@EXAMPLES
def test_intervals_of_errors_mirror_those_of_successes(n, data, delta):
    k = data.draw(st.integers(0, n))
    interval, mirrored = clopper_pearson(k, n, delta), clopper_pearson(n - k, n, delta)
    # SciPy's quantiles of the beta distribution have this accuracy.
    np.testing.assert_allclose(interval, (1 - mirrored.upper, 1 - mirrored.lower), rtol=1e-9, atol=1e-12)


@given(st.lists(st.floats(1e-300, 1e3), min_size=1, max_size=6), st.permutations(range(6)), st.floats(1e-3, 1e3), DELTA)
@EXAMPLES
def test_the_order_of_variables_does_not_matter_and_their_unit_is_that_of_the_deviation(c_i, order, unit, delta):
    differences = np.array(c_i)
    permuted = differences[[i for i in order if i < len(c_i)]]
    epsilon = c.mcdiarmid_epsilon(differences, delta)
    np.testing.assert_allclose(c.mcdiarmid_epsilon(permuted, delta), epsilon, rtol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(
        c.mcdiarmid_epsilon(unit * differences, delta), unit * epsilon, rtol=REORDERED["float64"]
    )
