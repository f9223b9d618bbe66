"""The fitted exponent and its bootstrap interval on synthetic log-normal errors."""

import numpy as np
import pytest
from tolerances import CLOSED_FORM

from experiments.common.power_law import fit_exponent

SIZES = np.array([32, 64, 128, 256, 512, 1024, 2048, 4096])
SAMPLES = 32


def lognormal(rng, exponent, sigma=0.7):
    return 3.0 * SIZES[:, None] ** exponent * np.exp(sigma * rng.standard_normal((len(SIZES), SAMPLES)))


def test_an_exact_power_law_has_no_interval():
    values = np.repeat(5.0 * SIZES[:, None] ** -0.37, SAMPLES, axis=1)
    np.testing.assert_allclose(fit_exponent(SIZES, values), [-0.37] * 3, rtol=CLOSED_FORM["float64"])


def test_it_is_the_least_squares_line_through_every_point():
    values = lognormal(np.random.default_rng(0), -0.5)
    points = np.repeat(np.log(SIZES), SAMPLES), np.log(values).ravel()
    assert fit_exponent(SIZES, values).value == pytest.approx(np.polyfit(*points, deg=1)[0], rel=CLOSED_FORM["float64"])


def half_width_of_normal_theory(sigma):
    x = np.log(SIZES) - np.log(SIZES).mean()
    return 1.96 * sigma / np.sqrt(SAMPLES * np.sum(x**2))


def test_the_interval_has_the_width_of_the_normal_theory():
    fit = fit_exponent(SIZES, lognormal(np.random.default_rng(1), -0.5, sigma=0.7), num_resamples=20_000)
    # The sample deviation of 256 residuals is known to 1/sqrt(512) = 4.4 %, a quantile of 20,000 resamples to about
    # 1 %, and the bootstrap's variance is low by 1/32: four standard deviations of the first cover all three.
    assert (fit.high - fit.low) / 2 == pytest.approx(half_width_of_normal_theory(0.7), rel=0.18)


def test_each_size_is_resampled_on_its_own():
    # The noise is the same at every size. With the same draws at every size it would cancel, and the interval be empty.
    noise = np.random.default_rng(4).standard_normal(SAMPLES)
    fit = fit_exponent(SIZES, SIZES[:, None] ** -0.5 * np.exp(0.7 * noise), num_resamples=20_000)
    # The sample deviation of 32 numbers is known to 1/sqrt(62) = 13 %: four of these.
    assert (fit.high - fit.low) / 2 == pytest.approx(half_width_of_normal_theory(0.7), rel=0.51)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_covers_the_true_exponent_as_often_as_it_says(confidence):
    rng = np.random.default_rng(2)
    trials = 400
    fits = [
        fit_exponent(SIZES, lognormal(rng, -0.5), confidence=confidence, num_resamples=500, seed=trial)
        for trial in range(trials)
    ]
    covered = np.mean([fit.low <= -0.5 <= fit.high for fit in fits])
    # Resampling 32 points shrinks deviations by sqrt(31/32): 1.6 %, which costs up to 0.6 % of coverage; to that, four
    # binomial standard deviations of the coverage measured in 400 trials.
    tolerance = 0.006 + 4 * np.sqrt(confidence * (1 - confidence) / trials)
    assert abs(covered - confidence) < tolerance


def test_the_seed_repeats_the_interval():
    values = lognormal(np.random.default_rng(3), -0.5)
    assert fit_exponent(SIZES, values, seed=1) == fit_exponent(SIZES, values, seed=1)
    assert fit_exponent(SIZES, values, seed=1) != fit_exponent(SIZES, values, seed=2)
