"""VC bounds and counts of dichotomies are monotone in every argument, and do not depend on coordinates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.counting import vc
from bounds.counting.dichotomies import count_linear_dichotomies, linear_dichotomies
from bounds.counting.growth import cover_count, sauer
from bounds.counting.log_counts import log_growth

BOUNDS = (vc.vc_epsilon, vc.rademacher_penalty_epsilon, vc.parrondo_van_den_broek_epsilon, vc.devroye_epsilon)
SIZE, MORE, DIM = st.integers(3, 10**9), st.integers(1, 10**9), st.integers(0, 10**4)
DELTA, GROWTH = st.floats(1e-12, 0.9), st.sampled_from(["polynomial", "sauer"])
ROUNDING = 1 + 1e-12
EXAMPLES = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.mark.parametrize("bound", BOUNDS)
@given(SIZE, MORE, DIM, MORE, DELTA, DELTA, GROWTH)
@EXAMPLES
def test_bounds_are_monotone(bound, n, more, dim, wider, one, other, growth):
    """From N = 3 on, where ln(N)/N falls."""
    delta, less = max(one, other), min(one, other)
    epsilon = bound(n, dim, delta, growth)
    assert bound(n + more, dim, delta, growth) <= epsilon * ROUNDING
    assert epsilon <= bound(n, dim + wider, delta, growth) * ROUNDING
    assert epsilon <= bound(n, dim, less, growth) * ROUNDING
    assert bound(n, dim, delta, "sauer") <= bound(n, dim, delta, "polynomial") * ROUNDING


@given(st.floats(0.05, 0.4), st.integers(0, 20), DELTA, GROWTH, st.sampled_from(["vc", "devroye"]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_sample_sizes_are_monotone(epsilon, dim, delta, growth, bound):
    size = vc.vc_sample_size(epsilon, dim, delta, growth, bound)
    assert vc.vc_sample_size(2 * epsilon, dim, delta, growth, bound) <= size
    assert size <= vc.vc_sample_size(epsilon, dim + 1, delta, growth, bound)
    assert size <= vc.vc_sample_size(epsilon, dim, delta / 2, growth, bound)


@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 300))
@EXAMPLES
def test_counts_are_monotone_and_obey_pascals_rule(n, d, dim):
    assert sauer(n + 1, d + 1) == sauer(n, d + 1) + sauer(n, d)
    assert cover_count(n + 1, dim + 1) == cover_count(n, dim + 1) + cover_count(n, dim)
    assert sauer(n, d) <= sauer(n, d + 1) <= 2**n
    assert cover_count(n, dim) <= cover_count(n, dim, affine=True) <= 2**n
    assert log_growth(n, d) <= log_growth(n + 1, d) * ROUNDING


@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_dichotomies_do_not_depend_on_the_order_of_points_or_on_coordinates(seed, order):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, size=(5, 2))  # often collinear or repeated
    found = {tuple(signs) for signs in linear_dichotomies(x).tolist()}
    permuted = {tuple(signs) for signs in linear_dichotomies(x[order])[:, np.argsort(order)].tolist()}
    assert permuted == found
    # Integers again, so that nothing is rounded.
    sheared = x @ np.array([[2, 1], [1, 1]]) + np.array([7, -4])
    assert {tuple(signs) for signs in linear_dichotomies(sheared).tolist()} == found
    assert count_linear_dichotomies(x[:4]) <= len(found)
    # The opposite of a dichotomy is one.
    assert {tuple(-sign for sign in signs) for signs in found} == found
