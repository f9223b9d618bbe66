"""What training and Gaussian processes must do for every kernel and all targets."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ntk import dynamics

N, M, OUT = 5, 3, 2
# Kernels below have λ_max ≤ 1 before they are scaled, and t λ_max ≤ 100. Rounding is then at most about
# N ε (t λ_max)² = 1e-11 of the targets.
LONGEST, TOLERANCE = 100.0, 1e-9

few = settings(max_examples=15, deadline=None)
scales = st.floats(-3, 3).map(lambda power: 10.0**power)
numbers = st.floats(-3, 3)


@st.composite
def problems(draw):
    """A kernel on N training and M test points, targets, outputs at the start, and times; with repeated points."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    features = draw(st.integers(1, 8))
    x = rng.normal(size=(N + M, features))[draw(st.lists(st.integers(0, N + M - 1), min_size=N + M, max_size=N + M))]
    x /= np.linalg.norm(x)
    kernel, times = x @ x.T, rng.uniform(0, LONGEST, size=3)
    y, start, start_test = (rng.normal(size=(size, OUT)) for size in (N, N, M))
    return kernel, y, start, start_test, times


@jax.jit
def flow(kernel, y, start, start_test, times):
    """One compiled program: outputs on the training and on the test points, (T, N + M, OUT)."""
    predict = dynamics.squared_loss_flow(kernel[:N, :N], y)
    return predict(times, start, start_test, kernel[N:, :N])


def outputs(*problem):
    return np.concatenate(flow(*problem), axis=1)


@few
@given(problems(), numbers, numbers, st.integers(0, 2**32 - 1))
def test_outputs_are_linear_in_targets_and_start(problem, a, b, seed):
    kernel, *first, times = problem
    second = [np.random.default_rng(seed).normal(size=part.shape) for part in first]
    mixed = outputs(kernel, *(a * one + b * other for one, other in zip(first, second, strict=True)), times)
    apart = a * outputs(kernel, *first, times) + b * outputs(kernel, *second, times)
    np.testing.assert_allclose(mixed, apart, rtol=0, atol=10 * TOLERANCE)


@few
@given(problems(), st.permutations(range(N)))
def test_the_order_of_training_points_does_not_matter(problem, order):
    kernel, y, start, start_test, times = problem
    rows = [*order, *range(N, N + M)]
    permuted = outputs(kernel[np.ix_(rows, rows)], y[order], start[order], start_test, times)
    np.testing.assert_allclose(permuted, outputs(*problem)[:, rows], rtol=0, atol=TOLERANCE)


@few
@given(problems(), scales)
def test_a_larger_kernel_is_a_faster_clock(problem, scale):
    *problem, times = problem
    kernel, *rest = problem
    scaled = outputs(scale * kernel, *rest, times / scale)
    np.testing.assert_allclose(scaled, outputs(*problem, times), rtol=0, atol=TOLERANCE)


@few
@given(problems())
def test_training_starts_at_the_start(problem):
    kernel, y, start, start_test, times = problem
    begun = outputs(kernel, y, start, start_test, 0 * times)
    expected = np.concatenate([start, start_test])
    np.testing.assert_allclose(begun, np.broadcast_to(expected, begun.shape), rtol=0, atol=TOLERANCE)


@jax.jit
def posterior(kernel, y, ridge):
    """The posterior on the test points, given noisy training points."""
    process = dynamics.gp_posterior(kernel[:N, :N], y, ridge=ridge)
    return process(kernel[N:, :N], kernel[N:, N:])


@few
@given(problems(), scales, st.floats(-4, 0))
def test_data_lower_the_variance_and_keep_it_positive(problem, scale, power):
    """In the order of matrices: 0 ≤ K_** − K_* (K + ρ)⁻¹ K_*ᵀ ≤ K_**. The condition number is at most 1e4."""
    kernel, y = scale * problem[0], problem[1]
    _, covariance = posterior(kernel, y, scale * 10.0**power)
    prior, covariance = kernel[N:, N:], np.asarray(covariance)
    assert (np.diag(covariance) >= 0).all()
    for matrix in (covariance, prior - covariance):
        assert np.linalg.eigvalsh(matrix).min() >= -TOLERANCE * scale
