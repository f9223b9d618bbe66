"""Monte Carlo and exact complexities against enumeration in NumPy, closed forms and each other."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, REORDERED, SAME_FORMULA

from bounds import batches
from bounds.rademacher import (
    FiniteClass,
    KernelBall,
    LinearBall,
    NetworkBall,
    empirical_rademacher,
    exact_rademacher,
    rademacher_complexity,
    rademacher_upper_bound,
)

pytestmark = pytest.mark.slow

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
    assert best <= found * (1 + CLOSED_FORM["float64"])
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
    np.testing.assert_allclose(rademacher_upper_bound(CLASSES[name]), expected, rtol=SAME_FORMULA["float64"])
    assert SUPREMA[name].mean() <= expected


def assert_calibrated(found, exact, variance, kurtosis, draws):
    """Many estimates and standard errors against the mean, variance and kurtosis of one of `draws` draws.

    The square of a standard error is unbiased, E s² = σ²/n, with Var s² = σ⁴ (κ − (n−3)/(n−1))/n for s² of n draws.
    """
    repeats = len(found.estimate)
    # Four standard errors, of the mean of all draws and of the mean of all s².
    assert abs(np.mean(found.estimate) - exact) < 4 * math.sqrt(variance / (repeats * draws))
    spread = math.sqrt((kurtosis - (draws - 3) / (draws - 1)) / (draws * repeats))
    assert abs(np.mean(found.standard_error**2) * draws / variance - 1) < 4 * spread


@pytest.mark.parametrize(
    "name",
    ["L2", "kernel", "finite", *(pytest.param(name, marks=pytest.mark.slow) for name in ("L1", "Linf", "networks"))],
)
def test_monte_carlo_is_unbiased_and_its_error_is_calibrated(name):
    """3,000 estimates of 30 draws each, which tell a standard error that is wrong by 2 %."""
    repeats, draws = 3000, 30
    networks = NetworkBall(X, np.ones(2), jax.random.key(5), width=2, num_steps=2, num_restarts=1)
    function_class = networks.checked() if name == "networks" else CLASSES[name]
    suprema = SUPREMA.get(name)
    if suprema is None:  # two steps of ascent find some value, the same for the same signs
        suprema = np.asarray(jax.jit(jax.vmap(function_class.supremum))(SIGNS))
    keys = jax.random.split(jax.random.key(3), repeats)
    found = jax.jit(jax.vmap(lambda key: empirical_rademacher(function_class, key, num_draws=draws)))(keys)
    kurtosis = np.mean((suprema - suprema.mean()) ** 4) / suprema.var() ** 2
    assert_calibrated(found, suprema.mean(), suprema.var(), kurtosis, draws)


@pytest.mark.slow
def test_batches_of_draws_do_not_change_the_result(monkeypatch):
    ball = LinearBall(X)
    expected = empirical_rademacher(ball, jax.random.key(0), 17)
    monkeypatch.setattr(batches, "NUMBERS_AT_ONCE", 7 * ball.entries_per_draw)
    jax.clear_caches()
    np.testing.assert_allclose(empirical_rademacher(ball, jax.random.key(0), 17), expected, rtol=REORDERED["float64"])


def test_a_stack_of_kernels_is_vmapped():
    stack = KernelBall(jnp.stack([GRAM, 4 * GRAM]), radius=jnp.array([1.0, 0.25]))
    single, half = jax.vmap(exact_rademacher)(stack)
    np.testing.assert_allclose(
        [single, half], SUPREMA["kernel"].mean() / 1.7 * np.array([1, 0.5]), rtol=REORDERED["float64"]
    )


@pytest.mark.parametrize("name", [pytest.param("L1", marks=pytest.mark.slow), "L2", "kernel"])
def test_gradients_in_the_data_are_those_of_finite_differences(name):
    leaves, structure = jax.tree.flatten(in_dtype(CLASSES[name], "float64"))
    direction = [np.random.default_rng(4).normal(size=leaf.shape) for leaf in leaves]
    if name == "kernel":
        direction[0] = direction[0] + direction[0].T

    def along(t):
        moved = [leaf + t * step for leaf, step in zip(leaves, direction, strict=True)]
        return empirical_rademacher(structure.unflatten(moved), jax.random.key(0), num_draws=64).estimate

    step, both = 1e-4, jax.jit(jax.value_and_grad(along))
    (higher, _), (lower, _), (_, slope) = both(step), both(-step), both(0.0)
    # Central differences: an error of 1e-8 times a third derivative of order one, and rounding of 1e-16/1e-4.
    np.testing.assert_allclose(slope, (higher - lower) / (2 * step), rtol=1e-5)


def test_gradients_are_finite_where_the_norm_is_zero():
    zero = jnp.zeros((4, 2))
    for ball in (LinearBall(zero), KernelBall(jnp.zeros((4, 4)))):
        gradient = jax.grad(lambda ball: sum(empirical_rademacher(ball, jax.random.key(0), num_draws=2)))(ball)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_stay_within_float32(scale):
    ball = LinearBall(jnp.asarray(X * scale, jnp.float32))
    np.testing.assert_allclose(exact_rademacher(ball), scale * SUPREMA["L2"].mean() / 1.7, rtol=REORDERED["float32"])


def test_resampling_gives_the_expectation_over_samples():
    """Gaussian x in one dimension: E|Σσ_i x_i|/m = √(2/(πm))."""

    def draw_class(key):
        return LinearBall(jax.random.normal(key, (5, 1)))

    complexity = functools.partial(rademacher_complexity, draw_class, num_resamples=400, num_draws=2)
    found = jax.vmap(complexity)(jax.random.split(jax.random.key(1), 100))
    scores = (found.estimate - math.sqrt(2 / (math.pi * 5))) / found.standard_error
    assert abs(np.mean(scores)) < 0.4  # four standard errors of a mean of 100 scores


@pytest.mark.slow
def test_signs_on_one_sample_are_not_taken_for_independent_ones():
    """All 5 points are r, which is 1 or 9: the means of 8 draws on a sample vary as r does, not by an eighth of it."""

    def draw_class(key):
        return LinearBall(jnp.full((5, 1), 1.0 + 8.0 * jax.random.bernoulli(key)))

    repeats, samples, draws = 1000, 30, 8
    sums = np.abs(np.array(list(itertools.product([-1, 1], repeat=5))).sum(axis=1)) / 5
    rng = np.random.default_rng(6)
    # The kurtosis alone is simulated: of r times the mean of 8 of these sums.
    simulated = rng.choice([1.0, 9.0], size=200_000) * rng.choice(sums, size=(200_000, draws)).mean(axis=1)
    variance = 41 * (sums.var() / draws + sums.mean() ** 2) - (5 * sums.mean()) ** 2
    # Six standard errors √(2/200000), the kurtosis being below 3.
    np.testing.assert_allclose(simulated.var(), variance, rtol=0.02)
    kurtosis = np.mean((simulated - simulated.mean()) ** 4) / simulated.var() ** 2
    estimate = functools.partial(rademacher_complexity, draw_class, num_resamples=samples, num_draws=draws)
    found = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(2), repeats))
    assert_calibrated(found, 5 * sums.mean(), variance, kurtosis, samples)
