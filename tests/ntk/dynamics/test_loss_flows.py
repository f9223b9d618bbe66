"""Gradient flow on any loss: against closed forms, expansions in time, weight space, and logistic regression."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from kernel_problems import OUT, M, N, joint_kernel, split, targets
from scipy.special import log_softmax, softmax
from tolerances import FLOW, SOLVED

import ntk
from ntk import dynamics

CLASSES = np.arange(N) % OUT
ONE_HOT = np.eye(OUT)[CLASSES]
# Asked of the solver at each step.
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def test_squared_loss_is_its_closed_form():
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()
    times = np.array([[3.0, 0.0], [0.5, 3.0]])  # in any order, and twice
    found = dynamics.loss_flow(k, y, optax.l2_loss, learning_rate=0.7, **TIGHT)(times, start, start_test, k_test)
    expected = dynamics.squared_loss_flow(k, y, learning_rate=0.7)(times, start, start_test, k_test)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=FLOW["float64"])


@pytest.mark.slow
def test_an_implicit_solver():
    k = split(joint_kernel())[0]
    y, start, _ = targets()
    found = dynamics.loss_flow(k, y, optax.l2_loss, solver=diffrax.Kvaerno5(), **TIGHT)(3.0, start)
    # Of a lower order, at the same tolerance a step.
    np.testing.assert_allclose(found, dynamics.squared_loss_flow(k, y)(3.0, start), rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.implicit_promotion  # by neural-tangents, of ranks and dtypes
def test_cross_entropy_agrees_with_neural_tangents():
    """neural-tangents takes the loss as given. With a sum over points its time is ours."""
    k, k_test, _ = split(joint_kernel())
    _, start, start_test = targets()
    times = np.array([0.5, 4.0])
    found = dynamics.loss_flow(k, ONE_HOT, optax.softmax_cross_entropy, **TIGHT)(times, start, start_test, k_test)

    def total(fx, y):
        return jnp.sum(optax.softmax_cross_entropy(fx, y))

    theirs = ntk.load_neural_tangents().predict.gradient_descent(total, jnp.asarray(k), jnp.asarray(ONE_HOT))
    expected = theirs(times, jnp.asarray(start), jnp.asarray(start_test), jnp.asarray(k_test))
    for a, b in zip(found, expected, strict=True):
        # Their solver has tolerances of 1.4e-8.
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6)
    integers = dynamics.loss_flow(k, CLASSES, optax.softmax_cross_entropy_with_integer_labels, **TIGHT)
    np.testing.assert_allclose(integers(times, start), found.train, rtol=0, atol=FLOW["float64"])


@pytest.mark.slow
def test_cross_entropy_at_small_times():
    """f_t = f_0 − tΘg + ½t² Θ H Θ g with gradient g and Hessian H of the loss, up to t³."""
    k = split(joint_kernel())[0]
    _, start, _ = targets()
    probabilities = softmax(start, axis=1)
    gradient = probabilities - ONE_HOT
    moved = k @ gradient
    curved = k @ (probabilities * (moved - np.sum(probabilities * moved, axis=1, keepdims=True)))
    times = np.array([1e-2, 2e-2])
    found = dynamics.loss_flow(k, ONE_HOT, optax.softmax_cross_entropy, **TIGHT)(times, start)
    rest = [
        np.abs(f - (start - t * moved + t**2 / 2 * curved)).max() for f, t in zip(np.asarray(found), times, strict=True)
    ]
    assert rest[0] < 2 * times[0] ** 3
    # At twice the time the remainder is eight times as large, so all terms of second order are there.
    assert rest[1] / rest[0] == pytest.approx(8, rel=0.1)


@pytest.mark.slow
def test_cross_entropy_ends_at_logistic_regression():
    """A linear kernel on data that no line separates: the flow ends at the maximum likelihood."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(30, 2)), np.ones(30)])
    labels = np.where(rng.random(30) < 0.25, -1.0, 1.0) * np.sign(x[:, 0])
    assert 3 < np.sum(labels != np.sign(x[:, 0])) < 15

    def loss(fx, y):
        return jax.nn.softplus(-y * fx)

    x_test = np.column_stack([rng.normal(size=(5, 2)), np.ones(5)])
    predict = dynamics.loss_flow(x @ x.T, labels, loss, rtol=1e-9, atol=1e-10)
    train, test = predict(50.0, 0.0, 0.0, x_test @ x.T)

    def total(w):
        return np.sum(np.logaddexp(0, -labels * (x @ w)))

    def slope(w):
        return x.T @ (-labels / (1 + np.exp(labels * (x @ w))))

    best = scipy.optimize.minimize(total, np.zeros(3), jac=slope, method="BFGS", options={"gtol": 1e-10}).x
    # The slowest direction decays with the smallest eigenvalue of Σ p(1−p) xxᵀ, above 1: e^{−50} is left.
    np.testing.assert_allclose(train, x @ best, rtol=0, atol=1e-6)
    np.testing.assert_allclose(test, x_test @ best, rtol=0, atol=1e-6)


def test_cross_entropy_on_separable_data_has_the_loss_of_theory():
    """One point of two classes: ∂_t z = 2k/(1 + e^z) for the margin z, hence z + e^z = 1 + 2kt from z = 0."""
    times = np.array([1.0, 100.0])
    predict = dynamics.loss_flow(np.full((1, 1), 0.8), np.array([0]), optax.softmax_cross_entropy_with_integer_labels)
    found = np.asarray(predict(times, np.zeros((1, 2))))
    margin = found[:, 0, 0] - found[:, 0, 1]
    # The default tolerance of 1e-6 a step, over some hundred steps.
    np.testing.assert_allclose(margin + np.exp(margin), 1 + 1.6 * times, rtol=1e-4)
    np.testing.assert_allclose(-log_softmax(found, axis=2)[:, 0, 0], np.log1p(np.exp(-margin)), rtol=SOLVED["float64"])


@pytest.mark.slow
def test_transformations_and_dtypes():
    k, k_test, _ = split(joint_kernel())
    _, start, start_test = targets()
    predict = dynamics.loss_flow(k.astype("float32"), ONE_HOT, optax.softmax_cross_entropy)
    single = predict(2.0, start, start_test, k_test)
    assert single.train.dtype == single.test.dtype == jnp.float32
    double = dynamics.loss_flow(k, ONE_HOT, optax.softmax_cross_entropy, **TIGHT)

    def after(k, t):
        return dynamics.loss_flow(k, ONE_HOT, optax.softmax_cross_entropy, **TIGHT)(t, start)

    expected = double(2.0, start)
    # The default tolerance of 1e-6 a step, over some ten steps.
    np.testing.assert_allclose(single.train, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(jax.jit(after)(k, 2.0), expected, rtol=0, atol=SOLVED["float64"])
    np.testing.assert_allclose(
        jax.vmap(after, (None, 0))(k, jnp.array([1.0, 2.0]))[1], expected, rtol=0, atol=FLOW["float64"]
    )
    slope = jax.grad(lambda t: jnp.sum(after(k, t) * start))(2.0)
    central = (jnp.sum(after(k, 2.001) * start) - jnp.sum(after(k, 1.999) * start)) / 0.002
    # Off by h², and by 1e-9 of either value over h, which is 1e-3.
    np.testing.assert_allclose(slope, central, rtol=1e-5)


@pytest.mark.slow
def test_a_solver_that_gives_up_says_so():
    k = split(joint_kernel())[0]
    predict = dynamics.loss_flow(k, ONE_HOT, optax.softmax_cross_entropy, max_steps=3)
    with pytest.raises(RuntimeError, match=r"stopped before t = 1e.06; expected shorter times, max_steps above 3"):
        predict(1e6)
    assert np.isnan(jax.jit(predict)(1e6)).all()


@pytest.mark.slow
def test_kernel_with_output_axes():
    k, k_test, _ = split(joint_kernel())
    _, start, start_test = targets()
    blocks, blocks_test = (np.einsum("nm,op->nmop", part, np.eye(OUT)) for part in (k, k_test))
    shared = dynamics.loss_flow(k, ONE_HOT, optax.softmax_cross_entropy)(2.0, start, start_test, k_test)
    found = dynamics.loss_flow(blocks, ONE_HOT, optax.softmax_cross_entropy)(2.0, start, start_test, blocks_test)
    assert found.test.shape == (M, OUT)
    for a, b in zip(found, shared, strict=True):
        # The default tolerance of 1e-6 a step, over some ten steps.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
