"""Gaussian posteriors against the multivariate formula, a linear classifier's exact risk, and simulation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from tolerances import CLOSED_FORM, REORDERED, SAME_FORMULA

from bounds import batches
from bounds.concentration.averages import chernoff_upper
from bounds.pac_bayes.closed_forms import seeger_bound
from bounds.pac_bayes.gaussian_posterior import gaussian_kl, pac_bayes_gaussian, posterior_risks

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
N, DIM = 100, 2


def zero_one(w, data):
    """The share of samples on the wrong side of a half-plane through the origin."""
    x, y = data
    return jnp.mean(y * (x @ w) <= 0)


def sample(rng):
    """Normal points with the sign of the first coordinate, a tenth of them flipped."""
    x = rng.normal(size=(N, DIM))
    y = np.sign(x[:, 0]) * np.where(rng.random(N) < 0.1, -1, 1)
    return x, y


def exact_gibbs_risk(w, sigma, data):
    """P(y x·(w + σz) ≤ 0) = Φ(−y x·w/(σ‖x‖)), averaged over the sample."""
    x, y = data
    return ndtr(-y * (x @ w) / (sigma * np.linalg.norm(x, axis=1))).mean()


@pytest.mark.parametrize("dtype", REORDERED)
@pytest.mark.parametrize(("sigma", "prior_sigma"), [(0.1, 0.1), (0.02, 3.0), (1.5, 0.3)])
def test_kl_of_multivariate_normals(sigma, prior_sigma, dtype):
    """½ (tr Λ⁻¹Σ + (v−w)ᵀΛ⁻¹(v−w) − D + ln det Λ/det Σ)."""
    params = {"w": RNG.normal(size=(3, 2)).astype(dtype), "b": [RNG.normal(size=2).astype(dtype)]}
    prior = jax.tree.map(lambda leaf: np.full_like(leaf, 0.3), params)
    moved = np.concatenate([(leaf - 0.3).ravel() for leaf in jax.tree.leaves(params)]).astype(np.float64)
    posterior_covariance, prior_covariance = sigma**2 * np.eye(8), prior_sigma**2 * np.eye(8)
    inverse = np.linalg.inv(prior_covariance)
    determinants = np.linalg.slogdet(prior_covariance)[1] - np.linalg.slogdet(posterior_covariance)[1]
    expected = (np.trace(inverse @ posterior_covariance) + moved @ inverse @ moved - 8 + determinants) / 2
    found = gaussian_kl(params, prior, sigma, prior_sigma)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=REORDERED[dtype])


def test_kl_is_differentiable_and_smallest_at_the_best_prior():
    """∂KL/∂λ = 0 at λ² = σ² + ‖w − v‖²/D, and KL of a distribution from itself is 0."""
    params, prior = jnp.array([1.0, 2.0, -1.0]), jnp.zeros(3)
    best = math.sqrt(0.25 + 6.0 / 3)
    slope = jax.jit(jax.grad(gaussian_kl, argnums=3))
    assert abs(slope(params, prior, 0.5, best)) < CLOSED_FORM["float64"]
    scales = jnp.array([best / 1.1, best, best * 1.1])
    values = jax.vmap(gaussian_kl, in_axes=(None, None, None, 0))(params, prior, 0.5, scales)
    assert values.argmin() == 1
    assert gaussian_kl(params, params, 0.5, 0.5) == 0.0


def test_draws_average_to_the_exact_risk_and_their_error_is_right():
    """400 estimates of 50 draws each, standardized: their squares average to 49/47, the variance of Student's t."""
    data, w, sigma = sample(RNG), np.array([1.0, 0.4]), 0.7
    keys = jax.random.split(KEY, 400)
    draws = np.asarray(jax.vmap(lambda key: posterior_risks(zero_one, w, data, sigma, key, num_draws=50))(keys))
    assert draws.shape == (400, 50)
    z = (draws.mean(1) - exact_gibbs_risk(w, sigma, data)) / (draws.std(1, ddof=1) / math.sqrt(50))
    # Four standard errors: 1/√400 of the mean, about √(2/400) of the mean square.
    assert abs(z.mean()) < 4 / 20
    assert abs((z**2).mean() - 49 / 47) < 4 * math.sqrt(2 / 400) * 49 / 47


def test_gradient_in_the_scale():
    """E ‖w + σz‖² = ‖w‖² + Dσ², so the derivative in σ is 2Dσ on average, with standard error √(8D)σ/√n."""

    def energy(w, _):
        return jnp.sum(w["a"] ** 2) + jnp.sum(w["b"] ** 2)

    params = {"a": jnp.ones((2, 2)), "b": jnp.zeros(3)}
    mean = jax.jit(jax.grad(lambda s: posterior_risks(energy, params, None, s, KEY, num_draws=1000).mean()))
    error = math.sqrt((8 * 7 * 0.5**2 + 4 * 4) / 1000)
    assert abs(mean(0.5) - 2 * 7 * 0.5) < 4 * error


@pytest.mark.slow
def test_coverage_of_the_whole_bound():
    """200 samples: the exact risk of the posterior, E = 0.1 + 0.8 E∠(w, e₁)/π, and its exact empirical risk.

    Averages over the posterior in the plane by 4,000 fixed normal numbers.
    """
    delta, share, repeats = 0.2, 0.25, 200
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4000, DIM))
    failures = {"bound": 0, "monte carlo": 0, "empirical risk": 0}
    options = {"num_samples": N, "delta": delta, "sigmas": [0.05, 0.2, 0.8], "num_draws": 40}
    scales = set()
    for repeat in range(repeats):
        x, y = data = sample(rng)
        w = (y[:, None] * x).mean(0)
        found = pac_bayes_gaussian(
            zero_one, w, np.zeros(DIM), data, jax.random.key(repeat), monte_carlo_share=share, **options
        )
        drawn = w + found.sigma * noise
        out = 0.1 + 0.8 * np.abs(np.arctan2(drawn[:, 1], drawn[:, 0])).mean() / np.pi
        failures["bound"] += out > found.bound
        failures["monte carlo"] += exact_gibbs_risk(w, found.sigma, data) > found.risk_upper
        failures["empirical risk"] += out > found.risk
        scales.add((found.sigma, found.prior_sigma))
        assert found.risk < found.risk_upper < found.bound < 1
    # One in 10,000, as in the other tests.
    assert failures["bound"] / repeats <= delta + 3.7 * math.sqrt(delta * (1 - delta) / repeats)
    assert failures["monte carlo"] / repeats <= delta * share + 3.7 * math.sqrt(delta * share / repeats)
    assert failures["empirical risk"] / repeats > delta
    assert len(scales) > 1  # the scales follow the sample


def test_parts_make_the_bound():
    data, w = sample(RNG), np.array([1.0, 0.2])
    grid = [0.1, 0.4]
    found = pac_bayes_gaussian(
        zero_one, w, 0.5 * w, data, KEY, num_samples=N, delta=0.1, sigmas=grid, num_draws=30, monte_carlo_share=0.3
    )
    assert found.kl == pytest.approx(float(gaussian_kl(w, 0.5 * w, found.sigma, found.prior_sigma)))
    assert found.risk_upper == pytest.approx(chernoff_upper(found.risk, 30, 0.03 / 2), rel=CLOSED_FORM["float64"])
    assert found.bound == pytest.approx(
        seeger_bound(found.risk_upper, found.kl, N, 0.07 / 2), rel=CLOSED_FORM["float64"]
    )
    # No other pair of scales has a smaller bound with the same draws.
    for sigma, key in zip(grid, jax.random.split(KEY, 2), strict=True):
        risk = float(posterior_risks(zero_one, w, data, sigma, key, num_draws=30).mean())
        for prior_sigma in grid:
            kl = float(gaussian_kl(w, 0.5 * w, sigma, prior_sigma))
            assert found.bound <= seeger_bound(chernoff_upper(risk, 30, 0.015), kl, N, 0.035) * (
                1 + CLOSED_FORM["float64"]
            )


def test_a_prior_of_infinite_divergence_is_not_chosen():
    """In float32 the KL from a prior of 1e-25 overflows; the bound is that of the other prior, at its share of δ."""
    data, w = tuple(part.astype("float32") for part in sample(RNG)), np.ones(DIM, "float32")
    options = {"num_samples": N, "delta": 0.1, "num_draws": 20}
    found = pac_bayes_gaussian(zero_one, w, 0 * w, data, KEY, sigmas=[1e-25, 0.5], **options)
    assert gaussian_kl(w, 0 * w, 0.5, 1e-25) == np.inf
    assert found.prior_sigma == 0.5
    assert found.bound < 1


def test_kl_of_nearly_equal_scales_in_float32():
    """A million parameters: KL = D r²/4 to first order in r = 2 ln(σ/λ), which float32 holds to a few digits alone."""
    params = jnp.zeros(10**6, jnp.float32)
    sigma, prior_sigma = np.float32(1.00005), np.float32(1.0)
    r = 2 * math.log(float(sigma))
    found = gaussian_kl(params, params, sigma, prior_sigma)
    np.testing.assert_allclose(found, 1e6 * (math.expm1(r) - r) / 2, rtol=SAME_FORMULA["float32"])


def test_the_bound_takes_its_kl_in_float64(monkeypatch):
    data, w = tuple(part.astype("float32") for part in sample(RNG)), np.float32([1.0, 0.3])
    found = pac_bayes_gaussian(
        zero_one, w, np.float32([0.9, 0.1]), data, KEY, num_samples=N, delta=0.1, sigmas=[0.31, 0.3], num_draws=20
    )
    r = 2 * math.log(found.sigma / found.prior_sigma)
    moved = np.sum((w.astype(float) - np.float32([0.9, 0.1]).astype(float)) ** 2) / found.prior_sigma**2
    assert found.kl == pytest.approx((2 * (math.expm1(r) - r) + moved) / 2, rel=CLOSED_FORM["float64"])


def test_draws_in_batches_are_the_same(monkeypatch):
    data, w = sample(RNG), np.array([1.0, 0.4])
    expected = posterior_risks(zero_one, w, data, 0.7, KEY, num_draws=10)
    monkeypatch.setattr(batches, "NUMBERS_AT_ONCE", 3000)
    jax.clear_caches()
    np.testing.assert_array_equal(posterior_risks(zero_one, w, data, 0.7, KEY, num_draws=10), expected)
