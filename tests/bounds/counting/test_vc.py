"""The VC bound and related bounds: published numbers, the equations they solve, and whether they hold."""

import math

import numpy as np
import pytest
from tolerances import CLOSED_FORM, REORDERED

from bounds.counting import vc
from bounds.counting.growth import ray_growth

DELTA = 0.1
BOUNDS = {
    "vc": vc.vc_epsilon,
    "rademacher_penalty": vc.rademacher_penalty_epsilon,
    "parrondo_van_den_broek": vc.parrondo_van_den_broek_epsilon,
    "devroye": vc.devroye_epsilon,
}


def growth_function(n, d, growth):
    """The bound on m_H(n) in exact integers."""
    return n**d + 1 if growth == "polynomial" else sum(math.comb(n, i) for i in range(d + 1))


def test_numbers_of_learning_from_data():
    """Section 2.2.2: d = 1, N = 100 at 90 % gives 0.848. Problem 2.12: d = 10 at 95 % and ε = 0.05 needs 452,957."""
    # Stated to three digits.
    assert vc.vc_epsilon(100, 1, 0.1) == pytest.approx(0.848, abs=5e-4)
    assert vc.vc_sample_size(0.05, 10, 0.05) == 452_957


@pytest.mark.parametrize(("vc_dim", "published"), [(3, 30_000), (4, 40_000), (5, 50_000)])
def test_sample_sizes_of_learning_from_data(vc_dim, published):
    """Example 2.6: about 10,000 d samples for ε = δ = 0.1, stated to one digit."""
    # Stated to one digit.
    assert vc.vc_sample_size(0.1, vc_dim, 0.1) == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize(("size", "smallest"), [(10_000, "devroye"), (5, "parrondo_van_den_broek")])
def test_which_bound_is_smallest(size, smallest):
    """Problem 2.20 at d = 50, δ = 0.05, as the course's homework 4 answers it."""
    curves = vc.vc_curves([size], 50, 0.05)
    assert min(curves, key=lambda name: curves[name][0]) == smallest


@pytest.mark.parametrize("growth", ["polynomial", "sauer"])
@pytest.mark.parametrize(("n", "d", "delta"), [(5, 50, 0.05), (40, 3, 0.3), (3000, 7, 1e-6), (3, 0, 0.5)])
def test_equations_hold(n, d, delta, growth):
    def log_m(size):
        return math.log(growth_function(size, d, growth))

    epsilon = {name: bound(n, d, delta, growth) for name, bound in BOUNDS.items()}
    implicit = {
        "vc": math.sqrt(8 / n * (math.log(4 / delta) + log_m(2 * n))),
        "rademacher_penalty": math.sqrt(2 * (math.log(2 * n) + log_m(n)) / n)
        + math.sqrt(2 / n * math.log(1 / delta))
        + 1 / n,
        "parrondo_van_den_broek": math.sqrt(
            (2 * epsilon["parrondo_van_den_broek"] + math.log(6 / delta) + log_m(2 * n)) / n
        ),
        "devroye": math.sqrt(
            (4 * epsilon["devroye"] * (1 + epsilon["devroye"]) + math.log(4 / delta) + log_m(n**2)) / (2 * n)
        ),
    }
    for name, expected in implicit.items():
        assert epsilon[name] == pytest.approx(expected, rel=CLOSED_FORM["float64"]), name


def test_devroye_needs_three_samples():
    assert vc.devroye_epsilon(2, 1, DELTA) == math.inf
    assert math.isfinite(vc.devroye_epsilon(3, 1, DELTA))


def test_large_numbers():
    """4 (2·10⁹)^{10⁶} is far beyond a float, and ε is finite; Sauer's sum is tighter."""
    polynomial, sauer = (vc.vc_epsilon(10**9, 10**6, 0.05, growth) for growth in ("polynomial", "sauer"))
    assert polynomial == pytest.approx(math.sqrt(8e-9 * (math.log(80) + 1e6 * math.log(2e9))), rel=REORDERED["float64"])
    assert 0.2 < sauer < polynomial < 0.5
    assert vc.devroye_epsilon(10**9, 10**6, 0.05, "sauer") < sauer


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("growth", ["polynomial", "sauer"])
def test_sample_size_is_the_smallest(bound, growth):
    n = vc.vc_sample_size(0.2, 4, DELTA, growth, bound)
    sizes = np.unique(np.concatenate([np.arange(1, 60), np.linspace(60, n + 500, 60).astype(int), [n - 1, n]]))
    enough = np.array([BOUNDS[bound](int(size), 4, DELTA, growth) <= 0.2 for size in sizes])
    np.testing.assert_array_equal(enough, sizes >= n)


def test_curves_are_the_bounds():
    sizes = np.array([1, 10, 1000])
    for name, curve in vc.vc_curves(sizes, 3, DELTA, "sauer").items():
        assert curve.tolist() == [BOUNDS[name](int(n), 3, DELTA, "sauer") for n in sizes]


def test_coverage():
    """The rays {x > a} with labels 1[x > ½], a fifth of them flipped: E_out(a) = 0.2 + 0.6 |a − ½|, d = 1.

    The largest |E_out − E_in| over all a, exactly: between two neighbouring points E_in is constant and E_out is
    largest or smallest at the ends or at ½.
    """
    n, draws = 400, 1000
    rng = np.random.default_rng(0)
    x = np.sort(rng.random((draws, n)), axis=1)
    y = (x > 0.5) ^ (rng.random((draws, n)) < 0.2)
    # With a just above the k-th point, the errors are the positives up to it and the negatives beyond.
    positives = np.pad(np.cumsum(y, axis=1), ((0, 0), (1, 0)))
    negatives = np.pad(np.cumsum(~y, axis=1), ((0, 0), (1, 0)))
    e_in = (positives + negatives[:, -1:] - negatives) / n
    edges = np.pad(x, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    left, right = edges[:, :-1], edges[:, 1:]
    highest = 0.2 + 0.6 * np.maximum(np.abs(left - 0.5), np.abs(right - 0.5))
    lowest = 0.2 + 0.6 * np.abs(np.clip(0.5, left, right) - 0.5)
    above, below = (highest - e_in).max(1), (e_in - lowest).max(1)
    largest_rate = DELTA + 3.7 * math.sqrt(DELTA * (1 - DELTA) / draws)  # one in 10,000
    assert ray_growth(2 * n) == 2 * n + 1  # N^d + 1 is exact for rays
    for growth in ("polynomial", "sauer"):
        for name, bound in BOUNDS.items():
            epsilon = bound(n, 1, DELTA, growth)
            assert epsilon < 1
            deviation = np.maximum(above, below) if name in ("vc", "devroye") else above
            assert (deviation > epsilon).mean() <= largest_rate, name
    # A tenth of the VC bound would fail, so the deviations are not negligible.
    assert (np.maximum(above, below) > vc.vc_epsilon(n, 1, DELTA) / 10).mean() > largest_rate
