"""Penalties against solutions found otherwise: scikit-learn, closed forms, the SVD, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from tolerances import CLOSED_FORM, SAME_FORMULA, SOLVED

from experiments.regularization.optimizers import Strengths, regularized_optimizer
from experiments.regularization.proximal import singular_value_shrinkage, soft_threshold

RNG = np.random.default_rng(0)
N, D = 60, 12
X = RNG.normal(size=(N, D)) @ (np.eye(D) + 0.3 * RNG.normal(size=(D, D)) / D**0.5)
Y = X @ np.where(np.arange(D) < 4, RNG.normal(size=D), 0) + 0.3 * RNG.normal(size=N)


def linear_solution(strengths, steps=4000, **options):
    """Weights of least squares (1/2N)‖y − Xw‖² with penalties, trained by the sweep's optimizer at rate 1/L."""
    optimizer = regularized_optimizer(strengths, 1 / np.linalg.norm(X.T @ X / N, 2), **options)

    def step(state, _):
        w, moments = state
        updates, moments = optimizer.update(jnp.asarray(X.T) @ (X @ w - Y[:, None]) / N, moments, w)
        return (optax.apply_updates(w, updates), moments), None

    w = jnp.zeros((D, 1))
    (w, _), _ = jax.jit(lambda w: jax.lax.scan(step, (w, optimizer.init(w)), length=steps))(w)
    return np.asarray(w[:, 0])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l1_finds_the_lasso_with_exact_zeros(momentum):
    expected = Lasso(alpha=0.2, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(X, Y).coef_
    found = linear_solution(Strengths(l1=0.2), momentum=momentum)
    np.testing.assert_allclose(found, expected, atol=SOLVED["float64"])
    assert 0 < np.sum(expected == 0) < D
    np.testing.assert_array_equal(found == 0, expected == 0)


def test_elastic_net_and_ridge():
    # scikit-learn: α ρ Σ|w| + α (1 − ρ)/2 Σw², and for ridge N times the loss with α Σw²/2 … here λ = α/(2N).
    net = ElasticNet(alpha=0.3, l1_ratio=0.5, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(X, Y).coef_
    np.testing.assert_allclose(linear_solution(Strengths(l1=0.15, l2=0.075)), net, atol=SOLVED["float64"])
    ridge = Ridge(alpha=2 * 0.4 * N, fit_intercept=False).fit(X, Y).coef_
    np.testing.assert_allclose(linear_solution(Strengths(l2=0.4)), ridge, atol=SOLVED["float64"])
    closed_form = np.linalg.solve(X.T @ X / N + 0.8 * np.eye(D), X.T @ Y / N)
    np.testing.assert_allclose(ridge, closed_form, atol=SOLVED["float64"])


@pytest.mark.implicit_promotion  # Optax, in Adam
def test_weight_decay_is_l2_under_plain_descent_and_not_under_adam():
    decay, penalty = Strengths(weight_decay=0.2), Strengths(l2=0.1)
    plain = [linear_solution(strengths, steps=50, momentum=0.0) for strengths in (decay, penalty)]
    np.testing.assert_allclose(*plain, rtol=CLOSED_FORM["float64"])
    adam = [linear_solution(strengths, steps=50, kind="adam") for strengths in (decay, penalty)]
    assert np.abs(adam[0] - adam[1]).max() > 1e-3


def test_zeros_stay_zeros_in_float32_and_biases_are_free():
    params = {"kernel": jnp.full((3, 2), 0.3, jnp.float32), "bias": jnp.full(2, 0.3, jnp.float32)}
    strengths = Strengths(l1=jnp.float32(1.0), l2=1.0, weight_decay=1.0, spectral=1.0)
    optimizer = regularized_optimizer(strengths, 0.1, singular_values=True)
    state = optimizer.init(params)
    for _ in range(5):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params["kernel"], 0.0)
    np.testing.assert_array_equal(params["bias"], np.float32(0.3))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("transform", [soft_threshold(0.1), singular_value_shrinkage(spectral=0.1)])
def test_penalties_need_the_parameters(transform):
    w = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="params is None; expected the parameters"):
        transform.update(w, transform.init(w), None)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: regularized_optimizer(Strengths(), 0.1, kind="lion"), "optimizer is 'lion'; expected one of 'sgd'"),
        (lambda: regularized_optimizer(Strengths(l2=-0.1), 0.1), "l2 is -0.1; expected a finite number"),
        (lambda: regularized_optimizer(Strengths(), -0.1), "learning_rate is -0.1; expected a finite number"),
        (lambda: regularized_optimizer(Strengths(nuclear=0.2), 0.1), "singular_values is False, with a nuclear streng"),
        (lambda: regularized_optimizer(Strengths(spectral=3), 0.1), "with a spectral strength of 3; expected True"),
        (lambda: soft_threshold(float("nan")), "threshold is nan; expected a finite number that is not negative"),
        (lambda: singular_value_shrinkage(nuclear=-1.0), "nuclear is -1.0; expected a finite number that is not neg"),
        (lambda: singular_value_shrinkage(spectral=-1.0), "spectral is -1.0; expected a finite number that is not n"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_proximal_steps_follow_a_schedule_of_rates():
    # Two steps without a gradient at the rates 0.5 and 0.25: |w| falls by λ times their sum.
    schedule = optax.exponential_decay(0.5, 1, 0.5)
    injected = optax.inject_hyperparams(soft_threshold)(lambda count: 0.2 * schedule(count))
    optimizer, w = optax.chain(optax.sgd(schedule), injected), jnp.array([1.0, -0.12])
    state = optimizer.init(w)
    for _ in range(2):
        updates, state = optimizer.update(jnp.zeros(2), state, w)
        w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(w, [1 - 0.2 * 0.75, 0], rtol=SAME_FORMULA["float32"])
