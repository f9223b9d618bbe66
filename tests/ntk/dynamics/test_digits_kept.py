"""Digits that predictions keep: slow modes after many steps, and float64 on request where x64 is off."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_problems import N, joint_kernel, split, targets
from tolerances import DIFFERENCE, SOLVED

from ntk import dynamics


def error_left(rate, momentum, t):
    """The heavy ball by its loop in Python's floats: what is left of an error of 1, and the dual coefficient."""
    error, velocity, coefficient = 1.0, 0.0, 0.0
    for _ in range(t):
        velocity = momentum * velocity + error
        error, coefficient = error - rate * velocity, coefficient + rate * velocity
    return error, coefficient


@pytest.mark.parametrize(
    ("rate", "momentum", "t"), [(1e-7, 0.0, 10**7), (3e-7, 0.0, 2**24), (1e-5, 0.0, 10**5), (2e-6, 0.9, 10**5)]
)
def test_slow_modes_after_many_steps_in_float32(rate, momentum, t):
    predict = dynamics.squared_loss_descent(
        np.ones((1, 1), np.float32), np.ones(1, np.float32), learning_rate=np.float32(rate), momentum=momentum
    )
    rate, momentum = float(np.float32(rate)), float(np.float32(momentum))
    if momentum:
        left, coefficient = error_left(rate, momentum, t)
    else:
        left = math.exp(t * math.log1p(-rate))
        coefficient = 1 - left
    # Each of the 24 squarings rounds some three times, by 6e-8 each.
    np.testing.assert_allclose(1 - predict(t), left, rtol=0, atol=72 * 6e-8)
    np.testing.assert_allclose(predict.coefficients(t), coefficient, rtol=72 * 6e-8)


def test_steps_that_the_dtype_cannot_count_are_refused():
    single = dynamics.squared_loss_descent(np.eye(2, dtype=np.float32), np.ones(2, np.float32), learning_rate=0.1)
    with pytest.raises(ValueError, match=r"t is 16777217.* expected whole numbers of steps, up to 16777216 in float32"):
        single(2**24 + 1)
    double = dynamics.squared_loss_descent(np.eye(2), np.ones(2), learning_rate=2.0)  # (1 − 2)^t
    np.testing.assert_array_equal(double(np.array([2**24, 2**24 + 1])), [[0, 0], [2, 2]])


def steep_kernel():
    """Eigenvalues from 1 down to 1e-10, which float32 cannot hold."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))[0]
    k = (basis * np.logspace(-10, 0, N)) @ basis.T
    return (k + k.T) / 2


def test_float64_kernels_keep_their_digits_where_x64_is_off():
    """Targets K 1 have dual coefficients 1. In float32 all digits of these are lost."""
    k = steep_kernel()
    y = k @ np.ones(N)
    pair = SimpleNamespace(ntk=k, nngp=k)
    with jax.enable_x64(False):
        predict = dynamics.squared_loss_flow(k, y, float64=True)
        coefficients, at_test = predict.coefficients(), predict(None, 0.0, 0.0, np.eye(N)).test
        mean = dynamics.gp_posterior(k, y, float64=True)(np.eye(N))
        ensemble = dynamics.squared_loss_ensemble(pair, y, float64=True)
        of_ensemble = ensemble(None, SimpleNamespace(ntk=np.eye(N), nngp=k))
    for found in (coefficients, at_test, mean, of_ensemble):
        assert found.dtype == jnp.float32
        # Rounding of float64 times the condition number.
        np.testing.assert_allclose(found, 1, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ensemble(None).covariance, 0, rtol=0, atol=SOLVED["float64"])


def test_float32_kernels_solved_in_float64_may_be_as_indefinite_as_float32_makes_them():
    rng = np.random.default_rng(1)
    for x in rng.normal(size=(8, 3)).astype(np.float32):
        k = np.outer(x, x)  # of rank one, except for rounding
        found = dynamics.squared_loss_flow(k, x, float64=True)(None)
        np.testing.assert_allclose(found, x, rtol=0, atol=1e-5)


def test_second_derivatives_in_the_kernel_are_refused():
    k = split(joint_kernel())[0]
    y, start, _ = targets()

    def score(scale, t):
        return jnp.sum(dynamics.squared_loss_flow(scale * k, y)(t, start) ** 2)

    sentence = "a second derivative in the kernel is not available; expected a first"
    for twice in (jax.jacfwd(jax.grad(score)), jax.grad(jax.grad(score, argnums=1))):
        with pytest.raises(ValueError, match=sentence):
            jax.jit(twice)(1.0, 0.5)
    # Derivatives in time are allowed to any order: ∂²/∂t² Σ f² against a central difference of first derivatives.
    slope = jax.jit(jax.grad(score, argnums=1))
    expected = (slope(1.0, 0.5 + 1e-5) - slope(1.0, 0.5 - 1e-5)) / 2e-5
    np.testing.assert_allclose(
        jax.jit(jax.grad(jax.grad(score, argnums=1), argnums=1))(1.0, 0.5), expected, rtol=DIFFERENCE["float64"]
    )


def test_empty_times_and_test_sets():
    k = split(joint_kernel())[0]
    y = targets()[0]
    for make in (dynamics.squared_loss_flow, dynamics.gp_posterior):
        with pytest.raises(ValueError, match=r"y_train has shape \(9, 0\); expected at least one point and one output"):
            make(k, y[:, :0])
    predict = dynamics.squared_loss_flow(k, y)
    assert predict(np.zeros((2, 0)), k_test_train=k[:4]).test.shape == (2, 0, 4, 3)
    assert predict(1.0, k_test_train=k[:0]).test.shape == (0, 3)
