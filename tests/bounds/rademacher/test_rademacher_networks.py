"""Networks of bounded norms: ascents and Golowich's bound, against suprema that are known by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, SAME_FORMULA

from bounds.rademacher import LinearBall, NetworkBall, empirical_rademacher, exact_rademacher, rademacher_upper_bound

X = np.random.default_rng(0).normal(size=(12, 2))
SIGNS = np.random.default_rng(1).choice([-1, 1], size=(40, 12))
# Radii whose product is not 1.
RADII = np.array([1.5, 0.4, 3.0])


@pytest.fixture(scope="module")
def suprema():
    """Of networks with one, two and three matrices, for each of the 40 sign vectors."""
    found = {}
    for depth in (1, 2, 3):
        ball = NetworkBall(X, RADII[:depth], jax.random.key(0)).checked()
        found[depth] = np.asarray(jax.jit(jax.vmap(ball.supremum))(SIGNS))
    return found


@pytest.fixture(scope="module")
def neurons():
    """M_1 M_2 max_w |Σ σ_i relu(w·x_i)|/m over 20,000 directions: Σ_k v_k ‖w_k‖ h(w_k) is largest with one neuron."""
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    hidden = np.maximum(X @ np.array([np.cos(angles), np.sin(angles)]), 0)
    return RADII[0] * RADII[1] * np.abs(SIGNS @ hidden).max(axis=1) / len(X)


def test_one_matrix_is_a_linear_ball(suprema):
    expected = RADII[0] * np.linalg.norm(SIGNS @ X, axis=1) / len(X)
    # The last steps are a hundredth of the radius: an angle of 0.01 costs 5e-5.
    np.testing.assert_allclose(suprema[1], expected, rtol=1e-4)
    assert np.all(suprema[1] <= expected * (1 + CLOSED_FORM["float64"]))


def test_two_matrices_attain_the_best_neuron_and_no_more(suprema, neurons):
    # The grid of directions misses the best by at most π/20,000, at a cost of the largest slope times that.
    slope = RADII[0] * RADII[1] * np.linalg.norm(X, axis=1).mean()
    assert np.all(suprema[2] <= neurons + slope * np.pi / 20_000)
    # A lower estimate: an ascent may end in another maximum, so the test asks for most of them only.
    assert np.median(suprema[2] / neurons) > 0.999
    assert np.mean(suprema[2] / neurons) > 0.97


def test_three_matrices_can_do_what_two_can(suprema, neurons):
    """ReLU passes its own output on: W_2 = 1 keeps a neuron's value, so the supremum grows by the radius at least."""
    assert np.mean(suprema[3] / (RADII[2] * neurons)) > 0.97


def test_the_upper_bound_by_hand_and_above_the_estimate(suprema):
    for depth, found in suprema.items():
        ball = NetworkBall(X, RADII[:depth], jax.random.key(0))
        expected = np.prod(RADII[:depth]) * (np.sqrt(2 * np.log(2) * depth) + 1) * np.sqrt((X**2).sum()) / 12
        np.testing.assert_allclose(rademacher_upper_bound(ball), expected, rtol=SAME_FORMULA["float64"])
        assert found.mean() < expected


def test_gradients_are_those_of_the_network_found():
    """With one matrix, those of the linear ball."""

    def estimate(make):
        return lambda x, radius: exact_rademacher(make(x, radius))

    networks = estimate(lambda x, radius: NetworkBall(x, radius[None], jax.random.key(0), num_restarts=1))
    linear = estimate(LinearBall)
    arguments = (jnp.asarray(X[:5]), jnp.asarray(1.5))
    expected = jax.grad(linear, argnums=(0, 1))(*arguments)
    for found, exact in zip(jax.grad(networks, argnums=(0, 1))(*arguments), expected, strict=True):
        # The direction found is off by 0.01 at most.
        np.testing.assert_allclose(found, exact, rtol=0, atol=0.01 * np.abs(exact).max())


def test_a_dead_sample_in_float32():
    ball = NetworkBall(jnp.zeros((3, 2), jnp.float32), np.ones(2), jax.random.key(0), num_steps=2)
    found = empirical_rademacher(ball, jax.random.key(1), num_draws=2)
    assert found.estimate.dtype == jnp.float32
    assert found == (0, 0)
