"""Monte Carlo and exact complexities against enumeration in NumPy, closed forms and each other."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounds.rademacher import (
    FiniteClass,
    KernelBall,
    LinearBall,
    empirical_rademacher,
    estimates,
    exact_rademacher,
    rademacher_complexity,
    rademacher_upper_bound,
)

M, D = 6, 3
X = np.random.default_rng(0).normal(size=(M, D)) * [1.0, 2.0, 0.3]
GRAM = X @ X.T + 0.1 * np.eye(M)
PREDICTIONS = np.random.default_rng(1).uniform(size=(5, M))
SIGNS = np.array(list(itertools.product([-1, 1], repeat=M)))

CLASSES = {
    "L1": LinearBall(X, radius=1.7, norm=1),
    "L2": LinearBall(X, radius=1.7, norm=2),
    "Linf": LinearBall(X, radius=1.7, norm=math.inf),
    "kernel": KernelBall(GRAM, radius=1.7),
    "finite": FiniteClass(PREDICTIONS),
}
# The suprema over all signs, (2^m,), each written out.
SUPREMA = {
    "L1": 1.7 / M * np.abs(SIGNS @ X).max(axis=1),
    "L2": 1.7 / M * np.sqrt(((SIGNS @ X) ** 2).sum(axis=1)),
    "Linf": 1.7 / M * np.abs(SIGNS @ X).sum(axis=1),
    "kernel": 1.7 / M * np.sqrt(np.einsum("si,ij,sj->s", SIGNS, GRAM, SIGNS)),
    "finite": (SIGNS @ PREDICTIONS.T).max(axis=1) / M,
}


def in_dtype(function_class, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), function_class)


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float64") for name in CLASSES), ("kernel", "float32")])
def test_exact_is_the_mean_over_all_signs(name, dtype):
    found = exact_rademacher(in_dtype(CLASSES[name], dtype))
    assert found.dtype == dtype
    # A mean of 64 numbers, each known to a few ε.
    np.testing.assert_allclose(found, SUPREMA[name].mean(), rtol=20 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_linear_suprema_are_attained_within_the_ball(norm):
    """By the vertices or the best direction of the ball itself, without dual norms."""
    signs = SIGNS[11]
    vertices = {
        1: np.vstack([np.eye(D), -np.eye(D)]),
        2: np.random.default_rng(2).normal(size=(20_000, D)),
        math.inf: np.array(list(itertools.product([-1, 1], repeat=D))),
    }[norm]
    vertices = vertices / np.linalg.norm(vertices, ord=norm, axis=1, keepdims=True)
    best = (vertices @ X.T @ signs).max() / M
    found = LinearBall(X, norm=norm).checked().supremum(jnp.asarray(signs))
    assert best <= found * (1 + 1e-12)
    # Of 20,000 directions in three dimensions some lies within 0.03 of any: the cosine is within 5e-4 of 1.
    np.testing.assert_allclose(best, found, rtol=5e-4 if norm == 2 else 1e-13)


@pytest.mark.parametrize("name", CLASSES)
def test_upper_bounds(name):
    columns = np.linalg.norm(X, axis=0)
    expected = {
        "L1": 1.7 / M * columns.max() * np.sqrt(2 * np.log(2 * D)),
        "L2": 1.7 / M * np.sqrt((X**2).sum()),
        "Linf": 1.7 / M * columns.sum(),
        "kernel": 1.7 / M * np.sqrt(np.trace(GRAM)),
        "finite": np.linalg.norm(PREDICTIONS, axis=1).max() * np.sqrt(2 * np.log(5)) / M,
    }[name]
    np.testing.assert_allclose(rademacher_upper_bound(CLASSES[name]), expected, rtol=1e-14)
    assert SUPREMA[name].mean() <= expected


@pytest.mark.parametrize("name", ["L2", "kernel", "finite"])
def test_monte_carlo_is_unbiased_and_its_error_is_calibrated(name):
    """300 estimates of 100 draws: their mean is exact, their z-scores have variance one."""
    repeats, draws = 300, 100
    keys = jax.random.split(jax.random.key(3), repeats)
    found = jax.jit(jax.vmap(lambda key: empirical_rademacher(CLASSES[name], key, num_draws=draws)))(keys)
    exact, deviation = SUPREMA[name].mean(), SUPREMA[name].std()
    # Four standard errors: of the mean of 30,000 draws, ...
    assert abs(np.mean(found.estimate) - exact) < 4 * deviation / np.sqrt(repeats * draws)
    # ... and of a mean of 300 squared scores, of variance near 2 (a little more for heavy tails).
    scores = (found.estimate - exact) / found.standard_error
    assert abs(np.mean(scores**2) - 1) < 4 * np.sqrt(2.5 / repeats)


def test_batches_of_draws_do_not_change_the_result(monkeypatch):
    ball = LinearBall(X)
    expected = estimates._suprema(ball, jax.random.key(0), 17)
    monkeypatch.setattr(estimates, "_ENTRIES_PER_BATCH", 7 * ball.entries_per_draw)
    np.testing.assert_allclose(estimates._suprema(ball, jax.random.key(0), 17), expected, rtol=1e-13)


def test_a_stack_of_kernels_is_vmapped():
    stack = KernelBall(jnp.stack([GRAM, 4 * GRAM]), radius=jnp.array([1.0, 0.25]))
    single, half = jax.vmap(exact_rademacher)(stack)
    np.testing.assert_allclose([single, half], SUPREMA["kernel"].mean() / 1.7 * np.array([1, 0.5]), rtol=1e-13)


@pytest.mark.parametrize("name", ["L1", "L2", "kernel"])
def test_gradients_in_the_data_are_those_of_finite_differences(name):
    leaves, structure = jax.tree.flatten(in_dtype(CLASSES[name], "float64"))
    direction = [np.random.default_rng(4).normal(size=leaf.shape) for leaf in leaves]
    if name == "kernel":
        direction[0] = direction[0] + direction[0].T

    def along(t):
        moved = [leaf + t * step for leaf, step in zip(leaves, direction, strict=True)]
        return empirical_rademacher(structure.unflatten(moved), jax.random.key(0), num_draws=64).estimate

    # Central differences: an error of 1e-8 times a third derivative of order one, and rounding of 1e-16/1e-4.
    step = 1e-4
    np.testing.assert_allclose(jax.grad(along)(0.0), (along(step) - along(-step)) / (2 * step), rtol=1e-5)


def test_gradients_are_finite_where_the_norm_is_zero():
    zero = jnp.zeros((4, 2))
    for ball in (LinearBall(zero), KernelBall(jnp.zeros((4, 4)))):
        gradient = jax.grad(lambda ball: sum(empirical_rademacher(ball, jax.random.key(0), num_draws=2)))(ball)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_stay_within_float32(scale):
    ball = LinearBall(jnp.asarray(X * scale, jnp.float32))
    np.testing.assert_allclose(exact_rademacher(ball), scale * SUPREMA["L2"].mean() / 1.7, rtol=3e-6)


def test_resampling_gives_the_expectation_over_samples():
    """Gaussian x in one dimension: E|Σσ_i x_i|/m = √(2/(πm))."""

    def draw_class(key):
        return LinearBall(jax.random.normal(key, (5, 1)))

    complexity = functools.partial(rademacher_complexity, draw_class, num_resamples=400, num_draws=2)
    found = jax.vmap(complexity)(jax.random.split(jax.random.key(1), 100))
    scores = (found.estimate - math.sqrt(2 / (math.pi * 5))) / found.standard_error
    # Four standard errors of a mean of 100 scores and of their squares.
    assert abs(np.mean(scores)) < 0.4
    assert abs(np.mean(scores**2) - 1) < 4 * np.sqrt(2 / 100)
