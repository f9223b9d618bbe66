"""Growth functions against sums over binomial coefficients, enumeration of subsets and many digits."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from tolerances import CLOSED_FORM, LAST_DIGITS, REORDERED, SAME_FORMULA

from bounds.counting import growth as g
from bounds.counting.log_counts import log_growth, log_sauer


@pytest.mark.parametrize("n", [0, 1, 2, 7, 30])
def test_sauer_is_its_sum(n):
    for d in range(n + 3):
        found = g.sauer(n, d)
        assert type(found) is int
        assert found == sum(math.comb(n, i) for i in range(d + 1))
        assert log_sauer(n, d) == pytest.approx(math.log(found), rel=CLOSED_FORM["float64"], abs=LAST_DIGITS["float64"])
        if n:
            assert found <= n**d + 1


@pytest.mark.parametrize("n", [1000, 3001])
@pytest.mark.parametrize("share", [0.001, 0.2, 0.49, 0.5, 0.51, 0.9, 0.999])
def test_log_sauer_of_exact_integers(n, share):
    d = int(share * n)
    assert log_sauer(n, d) == pytest.approx(math.log(g.sauer(n, d)), rel=CLOSED_FORM["float64"])


@pytest.mark.parametrize(
    ("n", "d"),
    [
        *[(10**9, 1), (10**9, 10**6), (10**18, 10**6), (10**7, 10**6), (3 * 10**12, 20), (10**30, 3)],
        *[(10**9, 10**5), (10**12, 10**7), (10**15, 2 * 10**9), (10**18, 2 * 10**12)],
    ],
)
def test_log_sauer_of_large_numbers_in_many_digits(n, d):
    with mpmath.workdps(60):
        log_comb = mpmath.loggamma(n + 1) - mpmath.loggamma(d + 1) - mpmath.loggamma(n - d + 1)
        term = total = mpmath.mpf(1)
        for i in range(min(d, 60)):  # each term is at most a ninth of the one before
            term *= mpmath.mpf(d - i) / (n - d + 1 + i)
            total += term
        expected = log_comb + mpmath.log(total)
    assert log_sauer(n, d) == pytest.approx(float(expected), rel=REORDERED["float64"])


@pytest.mark.parametrize("d", [10, 10**4, 10**6, 10**9, 10**13, 10**18, 10**300])
def test_half_of_all_subsets(d):
    """The smaller half of an odd number of binomial coefficients, where the series is longest, has 2^{N−1} subsets."""
    assert log_sauer(2 * d + 1, d) == pytest.approx(2 * d * math.log(2), rel=CLOSED_FORM["float64"])
    # Beyond the middle the sum is counted from the other end.
    if d < 10**9:  # logarithms of larger sums do not differ in float64
        assert log_sauer(2 * d + 1, d + 1) > log_sauer(2 * d + 1, d)
    assert log_sauer(2 * d + 1, d + 1) == pytest.approx(2 * d * math.log(2), rel=0.1 if d == 10 else 1e-3)


def test_log_growth_chooses():
    assert log_growth(10, 3) == pytest.approx(math.log(1001), rel=LAST_DIGITS["float64"])
    assert log_growth(10, 3, growth="sauer") == pytest.approx(math.log(176), rel=SAME_FORMULA["float64"])
    assert log_growth(10**9, 10**6) == pytest.approx(10**6 * math.log(10**9), rel=LAST_DIGITS["float64"])
    assert log_growth(1, 5) == pytest.approx(math.log(2), rel=LAST_DIGITS["float64"])


def test_cover_of_learning_from_data():
    """Affine half-planes: 14 of 16 at four points (Learning From Data, section 2.1), and 22 at five."""
    assert [g.cover_count(n, 2, affine=True) for n in range(1, 6)] == [2, 4, 8, 14, 22]
    assert [g.cover_count(n, 1) for n in range(1, 6)] == [2] * 5
    assert g.cover_count(200, 100) == 2**199  # capacity: half of all at N = 2D
    assert g.cover_count(7, 4, affine=True) == g.cover_count(7, 5)


@pytest.mark.parametrize(("n", "dim", "affine"), [(6, 3, False), (6, 2, True), (4, 3, True)])
def test_cover_against_random_half_spaces(n, dim, affine):
    """Random half-spaces never find more dichotomies. 1,000,000 of them hit even the smallest cell 20 times."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, dim))
    if affine:
        x = np.column_stack([x, np.ones(n)])
    signs = rng.normal(size=(1_000_000, x.shape[1])) @ x.T > 0
    assert len(np.unique(np.packbits(signs, axis=1))) == g.cover_count(n, dim, affine)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_rays_and_intervals_by_enumeration(n):
    points, ends = np.arange(n), np.arange(-1, n + 1) + 0.5
    right = {tuple(points > a) for a in ends}
    left = {tuple(points < a) for a in ends}
    between = {tuple((points > a) & (points < b)) for a in ends for b in ends}
    assert g.ray_growth(n) == len(right)
    assert g.ray_growth(n, both_directions=True) == len(right | left)
    assert g.interval_growth(n) == len(between)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_rectangles_by_enumeration(n):
    """Every order of the points, every subset: it is cut out if its bounding box holds no other point."""
    subsets = np.array(list(itertools.product([False, True], repeat=n)))

    def count(heights):
        held = np.ones(subsets.shape, bool)
        for coordinate in (np.arange(n), heights):
            low = np.where(subsets, coordinate, n).min(1, keepdims=True)
            high = np.where(subsets, coordinate, -1).max(1, keepdims=True)
            held &= (low <= coordinate) & (coordinate <= high)
        return (held == subsets).all(1).sum()

    assert g.rectangle_growth(n) == max(count(np.array(p)) for p in itertools.permutations(range(n)))


def test_rectangles_stay_below_sauer():
    assert all(g.rectangle_growth(n) <= g.sauer(n, 4) for n in range(1, 10))


@pytest.mark.parametrize(
    ("growth_function", "vc_dim"),
    [
        (g.ray_growth, 1),
        (lambda n: g.ray_growth(n, both_directions=True), 2),
        (g.interval_growth, 2),
        (g.rectangle_growth, 4),
        (lambda n: g.cover_count(n, 7), 7),
        (lambda n: g.cover_count(n, 7, affine=True), 8),
        (lambda n: g.sauer(n, 12), 12),
    ],
)
def test_break_point_is_one_more_than_the_vc_dimension(growth_function, vc_dim):
    assert g.break_point(growth_function) == vc_dim + 1
    assert g.break_point(growth_function, limit=vc_dim) is None


def test_convex_sets_have_no_break_point():
    assert g.break_point(g.convex_growth) is None
    # A point p of the circle is not a convex combination of the others: x·p is smaller at all of them.
    circle = np.exp(2j * np.pi * np.arange(12) / 12)
    products = (circle[:, None] * circle.conj()).real
    assert (products[~np.eye(12, dtype=bool)] < 1 - 1e-9).all()
    assert g.convex_growth(12) == 2**12
