"""The NTK complexity against NumPy, and kernels for which its linear system is ill-conditioned."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, LAST_DIGITS, REORDERED, SAME_FORMULA

import ntk
from bounds.kernels.ntk_measures import ntk_complexity

RNG = np.random.default_rng(0)
H = (lambda a: a @ a.T / 9 + 0.1 * np.eye(7))(RNG.normal(size=(7, 9)))
Y = RNG.normal(size=(7, 2))


def with_condition(condition):
    q, _ = np.linalg.qr(RNG.normal(size=(7, 7)))
    matrix = q * np.geomspace(1, 1 / condition, 7) @ q.T
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("y", [Y, Y[:, 0]], ids=["outputs", "one output"])
def test_is_the_quadratic_form(y, ridge):
    expected = np.sqrt(2 / 7 * np.sum(y * (np.linalg.inv(H + ridge * np.eye(7)) @ y)))
    np.testing.assert_allclose(ntk_complexity(H, y, ridge), expected, rtol=REORDERED["float64"])


def test_gradients_even_where_eigenvalues_are_equal():
    """At H = c·I the measure is √(2‖y‖²/(cn)), and its derivative in H is −yyᵀ/(c² n) divided by it."""
    y = Y[:, 0]
    found = jax.grad(ntk_complexity)(2.0 * jnp.eye(7), y)
    value = np.sqrt(2 * y @ y / (2 * 7))
    np.testing.assert_allclose(
        found, -np.outer(y, y) / (4 * 7) / value, rtol=CLOSED_FORM["float64"], atol=LAST_DIGITS["float64"]
    )


def test_a_singular_kernel_is_infinite_with_a_warning():
    duplicated = H[np.ix_([0, 0, 1, 2], [0, 0, 1, 2])]
    with pytest.warns(UserWarning, match="is singular in float64, so ntk_complexity is inf: take float64 or a ridge"):
        assert ntk_complexity(duplicated, Y[:4]) == np.inf
    assert np.isfinite(ntk_complexity(duplicated, Y[:4], ridge=1e-3))
    # Under a transformation the value is the same, nothing warns, and derivatives are finite.
    value, gradient = jax.jit(jax.value_and_grad(ntk_complexity, argnums=1))(duplicated, Y[:4])
    assert value == np.inf
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(("dtype", "condition"), [("float32", 2e4), ("float64", 1e13)])
def test_an_ill_conditioned_kernel_gives_a_warning(dtype, condition):
    """Three digits are left at the condition number 1e-3/ε, 8e3 in float32 and 5e12 in float64, up to half a digit."""
    matrix = with_condition(condition)
    with pytest.warns(UserWarning, match=f"condition number .*, so fewer than 3 digits .* are right in {dtype}: take"):
        ntk_complexity(matrix.astype(dtype), Y.astype(dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = with_condition(condition / 10).astype(dtype)
        found = ntk_complexity(matrix, Y.astype(dtype))
    exact = np.sqrt(2 * np.trace(Y.T @ np.linalg.solve(matrix.astype(float), Y)) / 7)
    # The promised digits are right.
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_random_labels_are_harder_than_true_ones():
    """Arora et al. 2019, figure 1, on a linear target. Their H is our Θ without the part of the read-out."""
    x = RNG.normal(size=(60, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    expected = cosines * (np.pi - np.arccos(np.clip(cosines, -1, 1))) / (2 * np.pi)
    kernels = ntk.infinite_kernels(ntk.MLP(depth=1, b_std=0.0), 2.0 * x)  # ξ = √d x
    np.testing.assert_allclose(kernels.ntk - kernels.nngp, expected, atol=1e-7)
    true, noise = np.sign(x[:, 0]), RNG.choice([-1.0, 1.0], size=60)
    assert ntk_complexity(expected, noise) > 1.5 * ntk_complexity(expected, true)


def test_squares_stay_within_float32():
    found = ntk_complexity(np.eye(2, dtype="float32"), np.float32([1e20, 1.0]))
    np.testing.assert_allclose(found, 1e20, rtol=SAME_FORMULA["float32"])
    with pytest.raises(ValueError, match=r"ntk_complexity exceeds 3\.4e\+38, the range of float32"):
        ntk_complexity(1e-4 * np.eye(2, dtype="float32"), np.float32([3e38, 1.0]))
