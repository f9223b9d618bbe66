"""Kernel ridge regression: the risk bound against the exact expectation, the margin bound by hand and by simulation."""

import math

import jax
import numpy as np
import pytest
from tolerances import SOLVED

from bounds.kernels.kernel_ridge import kernel_ridge_margin_bound, kernel_ridge_risk_bound

RNG = np.random.default_rng(0)
M = 30
GRAM = (lambda x: np.exp(-((x[:, None] - x) ** 2)))(np.sort(RNG.uniform(0, 4, size=M)))


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_risk_bound_is_above_the_exact_expectation(ridge):
    noise_std, radius = 0.7, 2.0
    found = kernel_ridge_risk_bound(GRAM, ridge, noise_std, radius)
    smoother = GRAM @ np.linalg.inv(GRAM + ridge * np.eye(M))
    assert found.variance == pytest.approx(noise_std**2 * np.trace(smoother) / M, rel=SOLVED["float64"])
    assert found.bias == pytest.approx(ridge * radius**2 / (4 * M))
    assert found.bound == found.bias + found.variance
    variance = noise_std**2 * np.sum(smoother**2) / M
    values, vectors = np.linalg.eigh(GRAM)
    for value, vector in zip(values[-8:], vectors.T[-8:], strict=True):
        f = radius * np.sqrt(value) * vector  # of norm B
        bias = np.sum((smoother @ f - f) ** 2) / M
        assert bias + variance <= found.bound
    # The bound on the variance is not much too large: only eigenvalues near the ridge make it so.
    assert variance > found.variance / 2 * (values.max() / (values.max() + ridge)) - found.bias


def test_the_bias_is_attained_where_the_spectrum_is_the_ridge():
    found = kernel_ridge_risk_bound(0.3 * np.eye(M), 0.3, noise_std=1.0, radius=2.0)
    f = 2.0 * np.sqrt(0.3) * np.eye(M)[0]
    assert found.bias == pytest.approx(np.sum((f / 2) ** 2) / M)
    noise = RNG.normal(size=(20_000, M))
    errors = np.mean(((f + noise) / 2 - f) ** 2, axis=1)
    # E = bias + σ²/4, where the effective dimension gives σ²/2; four standard errors.
    assert abs(errors.mean() - (found.bias + found.variance / 2)) < 4 * errors.std() / np.sqrt(len(errors))


def test_margin_bound_by_hand():
    labels = np.sign(RNG.normal(size=M))
    alpha = np.linalg.inv(GRAM + 0.2 * np.eye(M)) @ labels
    C = math.sqrt(alpha @ GRAM @ alpha) / 0.5
    k = next(k for k in range(-100, 100) if 1.1**k >= C)
    complexity = 2 * 1.1**k * math.sqrt(M) / M
    confidence = 3 * math.sqrt(math.log(2 * 1.5 * (abs(k) + 1) * (abs(k) + 2) / 0.1) / (2 * M))
    risk = np.clip(1 - labels * (GRAM @ alpha) / 0.5, 0, 1).mean()
    expected = (risk + complexity + confidence, risk, complexity, confidence)
    assert kernel_ridge_margin_bound(GRAM, labels, 0.2, 0.1, gamma=0.5) == pytest.approx(
        expected, rel=SOLVED["float64"]
    )


def test_margin_bound_holds_with_its_probability():
    """A linear kernel on the circle, a tenth of the labels flipped: E_out is known. γ is the best of three."""
    m, repeats = 400, 100
    bounds, risks, training = [], [], []
    for _ in range(repeats):
        angles = RNG.uniform(0, 2 * np.pi, size=m)
        x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        labels = np.sign(x[:, 0]) * RNG.choice([1, -1], size=m, p=[0.9, 0.1])
        bounds.append(min(kernel_ridge_margin_bound(x @ x.T, labels, 1.0, 0.5, g).bound for g in (0.25, 0.5, 1.0)))
        w = np.linalg.solve(x.T @ x + np.eye(2), x.T @ labels)
        risks.append(0.1 + 0.8 * math.acos(w[0] / np.linalg.norm(w)) / math.pi)
        training.append(np.mean(labels * (x @ w) <= 0))
    # Four standard errors of a binomial of probability ½. No bound is vacuous, and training errors alone are not
    # bounds.
    assert np.mean(np.array(risks) > bounds) <= 0.5 + 4 * math.sqrt(0.25 / repeats)
    assert max(bounds) < 1
    assert np.mean(np.array(risks) > training) > 0.3


def test_margin_bound_holds_for_labels_that_are_coin_tosses():
    """A kernel of more features than points fits every label, and E_out = ½: without the part of the class it fails."""
    m, d = 800, 2400
    for _ in range(5):
        x, labels = RNG.normal(size=(m, d)) / math.sqrt(d), RNG.choice([-1.0, 1.0], size=m)
        found = kernel_ridge_margin_bound(x @ x.T, labels, ridge=1e-3, delta=0.05, gamma=0.99)
        assert found.margin_risk + found.confidence < 0.5 <= found.bound


def test_bounds_are_in_float64_whatever_jax_has():
    labels = np.sign(RNG.normal(size=M))
    expected = kernel_ridge_margin_bound(GRAM, labels, 0.2, 0.1), kernel_ridge_risk_bound(GRAM, 0.1, 0.7, 2.0)
    with jax.enable_x64(False):
        found = kernel_ridge_margin_bound(GRAM, labels, 0.2, 0.1), kernel_ridge_risk_bound(GRAM, 0.1, 0.7, 2.0)
        beyond = kernel_ridge_risk_bound(1e200 * GRAM, 1e199, 0.7, 2.0)
    assert found == expected
    assert beyond.variance == pytest.approx(expected[1].variance, rel=SOLVED["float64"])
