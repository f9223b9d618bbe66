"""Ensembles of trained networks and Gaussian processes, against neural-tangents, textbook algebra and simulation."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from kernel_problems import OUT, M, N, joint_kernel, split, targets, with_duplicates
from tolerances import CLOSED_FORM, DIFFERENCE, FLOW, SOLVED

import ntk
from ntk import dynamics
from ntk.interop.neural_tangents import stax_kernel_fn

# As in test_squared_loss.py: rounding times the condition number of 20, and sums of 13 terms.
TIGHT = {"rtol": 0, "atol": 1e-11}
TIMES = np.array([0.0, 0.5, 4.0])


@pytest.fixture(scope="module")
def problem():
    """An MLP's kernels on training and test points, and targets."""
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(N, 5)), rng.normal(size=(M, 5))
    net = ntk.MLP(depth=2, activation="erf", w_std=1.3, b_std=0.3)
    kernels = [ntk.infinite_kernels(net, *pair) for pair in ((x,), (x_test, x), (x_test,))]
    return net, x, x_test, targets()[0], kernels


@pytest.mark.slow
@pytest.mark.implicit_promotion  # by neural-tangents, of ranks and dtypes
@pytest.mark.parametrize(("trained", "get"), [("all", "ntk"), ("readout", "nngp")])
def test_ensemble_agrees_with_neural_tangents(problem, trained, get):
    net, x, x_test, y, (train, across, test) = problem
    theirs = ntk.load_neural_tangents().predict.gradient_descent_mse_ensemble(stax_kernel_fn(net), x, y)
    ours = dynamics.squared_loss_ensemble(train, y, trained=trained)
    for t in (TIMES, None):
        t_theirs = None if t is None else t * N * OUT
        expected = theirs(t=t_theirs, x_test=x_test, get=get, compute_cov=True)
        found = ours(t, across, test.nngp)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=FLOW["float64"])
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=FLOW["float64"])
        np.testing.assert_allclose(ours(t, across), found.mean, rtol=0, atol=0)
    expected = theirs(t=TIMES * N * OUT, get=get, compute_cov=True)
    found = ours(TIMES)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=FLOW["float64"])
    # For the read-out alone, they give e^{−2Σt}Σ, which is the same.
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=FLOW["float64"])


@pytest.mark.slow
@pytest.mark.implicit_promotion  # by neural-tangents, of ranks and dtypes
def test_ensemble_with_a_ridge_agrees_with_neural_tangents(problem):
    """For fully trained networks. For the read-out alone, neural-tangents has the posterior with the ridge as noise."""
    net, x, x_test, y, (train, across, test) = problem
    options = {"learning_rate": 0.7, "diag_reg": 0.1}
    theirs = ntk.load_neural_tangents().predict.gradient_descent_mse_ensemble(stax_kernel_fn(net), x, y, **options)
    ours = dynamics.squared_loss_ensemble(train, y, learning_rate=0.7, ridge=0.1, relative_ridge=True)
    for t in (TIMES, None):
        t_theirs = None if t is None else t * N * OUT
        expected = theirs(t=t_theirs, x_test=x_test, get="ntk", compute_cov=True)
        found = ours(t, across, test.nngp)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=FLOW["float64"])
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=FLOW["float64"])
    expected = theirs(x_test=x_test, get="nngp", compute_cov=True)
    found = dynamics.gp_posterior(train.nngp, y, ridge=0.1, relative_ridge=True)(across.nngp, test.nngp)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=FLOW["float64"])
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=FLOW["float64"])


@pytest.mark.slow
@pytest.mark.implicit_promotion  # by neural-tangents, of ranks and dtypes
@pytest.mark.parametrize("relative", [0.0, 0.1])
def test_gp_posterior_agrees_with_neural_tangents(problem, relative):
    _, _, _, y, (train, across, test) = problem
    theirs = ntk.load_neural_tangents().predict.gp_inference(train, y, diag_reg=relative)
    for get, ntk_or_nngp in (("nngp", "nngp"), ("ntkgp", "ntk")):
        expected = theirs((get,), across, test)
        expected = getattr(expected, get, expected[0])
        k_train, k_across, k_test = (getattr(kernels, ntk_or_nngp) for kernels in (train, across, test))
        posterior = dynamics.gp_posterior(k_train, y, ridge=relative, relative_ridge=True)
        found = posterior(k_across, k_test)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=FLOW["float64"])
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=FLOW["float64"])
        np.testing.assert_allclose(posterior(k_across), found.mean, rtol=0, atol=0)


@pytest.fixture(scope="module")
def kernels():
    """Train-train, test-train and test-test, the NTK and the NNGP of each, of condition number about 20."""
    pairs = zip(split(joint_kernel()), split(joint_kernel(seed=7)), strict=True)
    return [SimpleNamespace(ntk=theta, nngp=sigma) for theta, sigma in pairs]


@pytest.mark.parametrize("trained", ["all", pytest.param("readout", marks=pytest.mark.slow)])
def test_ensemble_is_its_formula(kernels, trained):
    """Mean A_t y and covariance Σ_** − A_t Σ_*ᵀ − Σ_* A_tᵀ + A_t Σ A_tᵀ, A_t = Θ_* Θ⁻¹(1 − e^{−Θt}), by SciPy."""
    y = targets()[0]
    train, across, test = kernels
    theta, theta_across = (getattr(k, "ntk" if trained == "all" else "nngp") for k in (train, across))
    predict = dynamics.squared_loss_ensemble(train, y, trained=trained)
    found, on_train = predict(TIMES, across, test.nngp), predict(TIMES)
    for i, t in enumerate(TIMES):
        left = scipy.linalg.expm(-t * theta)
        response = theta_across @ np.linalg.solve(theta, np.eye(N) - left)
        crossed = response @ across.nngp.T
        covariance = test.nngp - crossed - crossed.T + response @ train.nngp @ response.T
        np.testing.assert_allclose(found.mean[i], response @ y, **TIGHT)
        np.testing.assert_allclose(found.covariance[i], covariance, **TIGHT)
        np.testing.assert_allclose(on_train.mean[i], y - left @ y, **TIGHT)
        np.testing.assert_allclose(on_train.covariance[i], left @ train.nngp @ left.T, **TIGHT)
    np.testing.assert_array_equal(predict(TIMES, across), found.mean)


def test_ensemble_is_what_trained_draws_do():
    """Draws of f_0 trained one by one: their mean and covariance within 5 standard errors."""
    k, sigma = joint_kernel(), joint_kernel(seed=7)
    y = targets()[0][:, 0]
    draws = 40_000
    start = np.random.default_rng(3).multivariate_normal(np.zeros(N + M), sigma, size=draws).T
    options = {"learning_rate": 0.4, "momentum": 0.5, "ridge": 0.1}
    predict = dynamics.squared_loss_descent(k[:N, :N], np.repeat(y[:, None], draws, axis=1), **options)
    trained = np.asarray(predict(6, start[:N], start[N:], k[N:, :N]).test)
    kernels = [SimpleNamespace(ntk=a, nngp=b) for a, b in zip(split(k), split(sigma), strict=True)]
    found = dynamics.squared_loss_ensemble(kernels[0], y, steps=True, **options)(6, kernels[1], kernels[2].nngp)
    variances = np.diag(found.covariance)
    assert np.all(np.abs(trained.mean(1) - found.mean) < 5 * np.sqrt(variances / draws))
    spread = np.sqrt((np.outer(variances, variances) + np.asarray(found.covariance) ** 2) / draws)
    assert np.all(np.abs(np.cov(trained) - found.covariance) < 5 * spread)
    # The test can tell this covariance from the one at the start.
    assert np.any(np.abs(kernels[2].nngp - found.covariance) > 20 * spread)


def test_ensemble_starts_as_the_nngp_and_ends_at_the_targets(kernels):
    y, (train, across, test) = targets()[0], kernels
    predict = dynamics.squared_loss_ensemble(train, y)
    begin = predict(0.0, across, test.nngp)
    np.testing.assert_array_equal(begin.mean, np.zeros((M, OUT)))
    np.testing.assert_allclose(begin.covariance, test.nngp, **TIGHT)
    end = predict(None)
    np.testing.assert_allclose(end.mean, y, **TIGHT)
    np.testing.assert_array_equal(end.covariance, np.zeros((N, N)))
    readout = dynamics.squared_loss_ensemble(train, y, trained="readout")(None, across, test.nngp)
    posterior = dynamics.gp_posterior(train.nngp, y)(across.nngp, test.nngp)
    for a, b in zip(readout, posterior, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=SOLVED["float64"])


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_variance_is_never_negative(dtype):
    """Test points that are training points, with and without duplicates: their variance is 0 up to rounding."""
    kernel = with_duplicates(joint_kernel()).astype(dtype)
    y = targets()[0].astype(dtype)
    k = SimpleNamespace(ntk=kernel[:N, :N], nngp=kernel[:N, :N])
    for found in (
        dynamics.gp_posterior(k.nngp, y)(k.nngp, k.nngp),
        dynamics.squared_loss_ensemble(k, y)(None, k, k.nngp),
        dynamics.gp_posterior(k.nngp, y)(),
    ):
        assert np.all(np.diag(found.covariance) >= 0)
        assert np.abs(found.covariance).max() < 200 * np.finfo(dtype).eps
        assert np.all(np.asarray(found.std) >= 0)
        # Of the two equal points the mean is learned.
        fitted = np.concatenate([np.repeat(y[:2].mean(0, keepdims=True), 2, axis=0), y[2:]])
        np.testing.assert_allclose(found.mean, fitted, rtol=0, atol=200 * np.finfo(dtype).eps)


def test_posterior_is_that_of_textbooks():
    k, k_test, prior = split(joint_kernel())
    y = targets()[0]
    for ridge in (0.2, 1e-6):
        posterior = dynamics.gp_posterior(k, y, ridge=ridge)
        regular = k + ridge * np.eye(N)
        mean, covariance = posterior(k_test, prior)
        np.testing.assert_allclose(mean, k_test @ np.linalg.solve(regular, y), **TIGHT)
        np.testing.assert_allclose(covariance, prior - k_test @ np.linalg.solve(regular, k_test.T), **TIGHT)
        np.testing.assert_array_equal(posterior(k_test), mean)
        mean, covariance = posterior()
        np.testing.assert_allclose(mean, k @ np.linalg.solve(regular, y), **TIGHT)
        np.testing.assert_allclose(covariance, k - k @ np.linalg.solve(regular, k), **TIGHT)


def test_marginal_likelihood_is_the_gaussian_density():
    k = split(joint_kernel())[0]
    y = targets()[0]
    expected = sum(scipy.stats.multivariate_normal(np.zeros(N), k + 0.3 * np.eye(N)).logpdf(column) for column in y.T)
    np.testing.assert_allclose(dynamics.log_marginal_likelihood(k, y, ridge=0.3), expected, rtol=CLOSED_FORM["float64"])
    single = dynamics.log_marginal_likelihood(k.astype(np.float32), y, ridge=0.3)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=CLOSED_FORM["float32"])
    relative = 0.3 / np.mean(np.diag(k))
    found = dynamics.log_marginal_likelihood(k, y, ridge=relative, relative_ridge=True)
    np.testing.assert_allclose(found, expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_marginal_likelihood_differentiates_through_the_kernel():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 4)), rng.normal(size=N)

    def evidence(w_std, ridge):
        k = ntk.infinite_kernels(ntk.MLP(depth=2, activation="erf", w_std=w_std), x).nngp
        return dynamics.log_marginal_likelihood(k, y, ridge=ridge)

    found = jax.grad(evidence, argnums=(0, 1))(1.2, 0.3)
    h = 1e-5
    expected = (
        (evidence(1.2 + h, 0.3) - evidence(1.2 - h, 0.3)) / (2 * h),
        (evidence(1.2, 0.3 + h) - evidence(1.2, 0.3 - h)) / (2 * h),
    )
    np.testing.assert_allclose(found, expected, rtol=DIFFERENCE["float64"])


@pytest.mark.slow
def test_float64_on_request_and_transformations(problem):
    _, _, _, y, (train, across, test) = problem
    single = [
        SimpleNamespace(ntk=np.asarray(k.ntk, np.float32), nngp=np.asarray(k.nngp, np.float32))
        for k in (train, across, test)
    ]
    expected = dynamics.squared_loss_ensemble(train, y)(TIMES, across, test.nngp)
    found = dynamics.squared_loss_ensemble(single[0], y, float64=True)(TIMES, single[1], single[2].nngp)
    assert found.covariance.dtype == jnp.float32
    # The kernels were rounded to float32, by 6e-8 of their size, and are well conditioned.
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=2e-5)
    posterior = dynamics.gp_posterior(train.nngp, y, ridge=0.1)
    wanted = posterior(across.nngp, test.nngp)
    double = dynamics.gp_posterior(single[0].nngp, y, ridge=0.1, float64=True)(single[1].nngp, single[2].nngp)
    jitted = jax.jit(lambda posterior, a, b: posterior(a, b))(posterior, across.nngp, test.nngp)
    for a, b, c in zip(wanted, double, jitted, strict=True):
        # The rounding of the kernels again.
        np.testing.assert_allclose(b, a, rtol=0, atol=2e-6)
        np.testing.assert_allclose(c, a, **TIGHT)
