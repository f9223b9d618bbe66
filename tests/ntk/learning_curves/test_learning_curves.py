"""Predicted errors of kernel regression against simulations, closed forms and fits that leave out a point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import assert_refused, rows
from tolerances import CLOSED_FORM, DIFFERENCE, SAME_FORMULA, SOLVED

import ntk


def simulated(eigenvalues, degeneracies, power, num_samples, ridge, noise, repeats=400):
    """Test and training errors of kernel regression with Gaussian features of these variances, and standard errors."""
    rng = np.random.default_rng(0)
    lam = np.repeat(eigenvalues, degeneracies)
    found = []
    for _ in range(repeats):
        # A target of random direction within each degenerate space, of the given power.
        directions = [rng.normal(size=count) for count in degeneracies]
        v = np.concatenate([p**0.5 * u / np.linalg.norm(u) for p, u in zip(power, directions, strict=True)])
        phi = rng.normal(size=(num_samples, len(lam)))
        y = phi @ v + noise * rng.normal(size=num_samples)
        dual = np.linalg.solve(phi * lam @ phi.T + ridge * np.eye(num_samples), y)
        fitted = lam * (phi.T @ dual)
        found.append((np.sum((fitted - v) ** 2) + noise**2, np.mean((phi @ fitted - y) ** 2)))
    return np.mean(found, axis=0), np.std(found, axis=0) / repeats**0.5


SPECTRUM = np.array([1.0, 0.1, 0.01, 0.001])
COUNTS = (3, 20, 80, 150)
POWER = np.array([1.0, 0.5, 0.3, 0.1])


@pytest.mark.parametrize(("ridge", "noise"), [(0.0, 0.0), (0.5, 0.3)])
@pytest.mark.parametrize("num_samples", [40, 100])
def test_simulated_regression(ridge, noise, num_samples):
    """The theory errs by about 1/N of itself."""
    curve = ntk.learning_curve(SPECTRUM, COUNTS, POWER, num_samples, ridge=ridge, noise=noise)
    (test, train), errors = simulated(SPECTRUM, COUNTS, POWER, num_samples, ridge, noise)
    assert abs(curve.test_mse - test) < 4 * errors[0] + test / num_samples
    # Without a ridge the fit goes through the samples; the solver leaves an error of rounding.
    assert abs(curve.train_mse - train) < 4 * errors[1] + train / num_samples + SOLVED["float64"]


def test_one_eigenvalue_has_a_closed_form():
    """Linear regression on D features. With γ = D/N below 1 it is σ²/(1 − γ) (Hastie et al. 2022)."""
    below = ntk.learning_curve([0.3], [50], [2.0], [100, 200], noise=0.7)
    np.testing.assert_allclose(below.test_mse, [0.49 / (1 - 0.5), 0.49 / (1 - 0.25)], rtol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(below.train_mse, [0.49 * 0.5, 0.49 * 0.75], rtol=SAME_FORMULA["float64"])
    above = ntk.learning_curve([0.3], [100], [2.0], [50], noise=0.7)
    np.testing.assert_allclose(above.test_mse, 2.0 * (1 - 1 / 2) + 0.49 / (2 - 1) + 0.49, rtol=CLOSED_FORM["float64"])
    # λD/(λ + κ) + δ/κ = N is quadratic in κ.
    lam, count, num_samples, ridge = 0.3, 100, 50, 4.0
    a, b, c = num_samples, num_samples * lam - count * lam - ridge, -ridge * lam
    kappa = (-b + (b * b - 4 * a * c) ** 0.5) / (2 * a)
    found = ntk.learning_curve([lam], [count], [1.0], num_samples, ridge=ridge)
    np.testing.assert_allclose(found.kappa, kappa, rtol=CLOSED_FORM["float64"])


def test_sums_and_limits():
    curve = ntk.learning_curve(SPECTRUM, COUNTS, POWER, np.array([[5.0, 50.0], [200.0, 1e6]]), ridge=0.1, noise=0.2)
    assert curve.learnability.shape == (2, 2, 4)
    np.testing.assert_allclose(curve.mode_mse.sum(-1) + 0.04, curve.test_mse, rtol=CLOSED_FORM["float64"])
    learned = (curve.learnability * COUNTS).sum(-1) + 0.1 / curve.kappa
    np.testing.assert_allclose(learned, curve.num_samples, rtol=CLOSED_FORM["float64"])
    # With many samples all is learned, and the noise alone is left. With hardly any, nothing is learned.
    # E₀ − 1 is at most the number of modes over N.
    np.testing.assert_allclose(curve.test_mse[1, 1], 0.04, rtol=3 * sum(COUNTS) / 1e6)
    none = ntk.learning_curve(SPECTRUM, COUNTS, POWER, 1e-9)
    # L is at most N for every mode.
    np.testing.assert_allclose(none.test_mse, POWER.sum(), rtol=2e-9)


def test_extremes():
    peak = ntk.learning_curve([1.0], [50], [1.0], 50, noise=0.1)
    assert np.isinf(peak.test_mse)
    nothing = ntk.learning_curve([0.0], [50], [1.0], 10, ridge=2.0, noise=0.1)
    np.testing.assert_allclose(nothing.test_mse, 1.01, rtol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(nothing.kappa, 0.2, rtol=CLOSED_FORM["float64"])
    tiny = ntk.learning_curve(1e-290 * SPECTRUM, COUNTS, POWER, 40)
    one = ntk.learning_curve(SPECTRUM, COUNTS, POWER, 40)
    np.testing.assert_allclose(tiny.test_mse, one.test_mse, rtol=SOLVED["float64"])
    # A tail of many small eigenvalues is a ridge of the size of their sum.
    tail = ntk.learning_curve([*SPECTRUM, 1e-9], [*COUNTS, 10**9], [*POWER, 0.0], 40)
    ridge = ntk.learning_curve(SPECTRUM, COUNTS, POWER, 40, ridge=1.0)
    # λ/(λ + κ) is λ/κ up to λ/κ, which is 1e-9 over some 0.03.
    np.testing.assert_allclose(tail.test_mse, ridge.test_mse, rtol=1e-6)


def problem(num=12, outputs=(2,), seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, 4))
    return jnp.asarray(np.tanh(x @ x.T / 4) + np.eye(num)), jnp.asarray(rng.normal(size=(num, *outputs)))


@pytest.mark.parametrize("outputs", [(), (2,)])
@pytest.mark.parametrize("relative_ridge", [False, True])
def test_residuals_are_those_of_fits_without_the_point(outputs, relative_ridge):
    k, y = problem(outputs=outputs)
    rho = 0.2 * float(jnp.mean(jnp.diag(k))) if relative_ridge else 0.2
    found = ntk.leave_one_out_residuals(k, y, ridge=0.2, relative_ridge=relative_ridge)
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        fit = np.linalg.solve(k[others][:, others] + rho * np.eye(len(y) - 1), y[others])
        np.testing.assert_allclose(found[i], y[i] - k[i, others] @ fit, rtol=SOLVED["float64"])


def test_risk_estimated_from_the_sample():
    """The estimate and the errors of leaving points out both come near the error at new samples, within 4 %."""
    lam, rng, num = np.repeat(SPECTRUM, COUNTS), np.random.default_rng(1), 100
    v = rng.normal(size=len(lam)) * np.repeat(POWER / COUNTS, COUNTS) ** 0.5
    ratios = []
    for _ in range(100):
        phi = rng.normal(size=(num, len(lam)))
        y = phi @ v + 0.3 * rng.normal(size=num)
        k = phi * lam @ phi.T
        fitted = lam * (phi.T @ np.linalg.solve(k + 0.5 * np.eye(num), y))
        test = np.sum((fitted - v) ** 2) + 0.09
        loo = jnp.mean(ntk.leave_one_out_residuals(k, y, ridge=0.5) ** 2)
        ratios.append((ntk.kernel_alignment_risk(k, y, ridge=0.5) / test, loo / test))
    # A single estimate errs by about √(2/N) = 14 %, the mean of 100 by 1.4 %. Three of these are 4 %.
    np.testing.assert_allclose(np.mean(ratios, axis=0), 1, atol=0.04)


def test_derivatives_in_the_ridge():
    k, y = problem()

    def risk(ridge):
        return ntk.kernel_alignment_risk(k, y, ridge=ridge)

    h = 1e-5
    for fn, slope in ((risk, jax.grad(risk)), (jax.grad(risk), jax.jit(jax.grad(jax.grad(risk))))):
        np.testing.assert_allclose(slope(0.3), (fn(0.3 + h) - fn(0.3 - h)) / (2 * h), rtol=DIFFERENCE["float64"])


SINGULAR = jnp.ones((3, 3))


@rows(
    [
        ("a negative eigenvalue", lambda ntk: ntk.learning_curve([-1.0], [1], [1.0], 5), ValueError, "eigenvalues is"),
        (
            "unequal lengths",
            lambda ntk: ntk.learning_curve([1.0], [1, 2], [1.0], 5),
            ValueError,
            r"shapes \(1,\), \(2,\)",
        ),
        ("no samples", lambda ntk: ntk.learning_curve([1.0], [1], [1.0], 0), ValueError, "num_samples is 0"),
        ("a ridge", lambda ntk: ntk.learning_curve([1.0], [1], [1.0], 5, ridge=-1.0), ValueError, "ridge is -1"),
        (
            "two ridges",
            lambda ntk: ntk.learning_curve([1.0], [1], [1.0], 5, ridge=np.ones(2)),
            ValueError,
            "one number",
        ),
        ("a noise", lambda ntk: ntk.learning_curve([1.0], [1], [1.0], 5, noise=np.nan), ValueError, "noise is nan"),
        (
            "singular",
            lambda ntk: ntk.kernel_alignment_risk(SINGULAR, SINGULAR[0], ridge=0.0),
            ValueError,
            "not positive",
        ),
        (
            "no ridge",
            lambda ntk: ntk.leave_one_out_residuals(SINGULAR, SINGULAR[0], ridge=0.0),
            ValueError,
            "not positive",
        ),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
