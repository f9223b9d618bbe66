"""Shapes, and the properties that hold for every activation or a family of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from dual_reference import FUNCTIONS, LOGISTIC
from hypothesis import given, settings
from hypothesis import strategies as st

from ntk.duals import activation

EPS = 2.3e-16
VARIANCES = st.floats(1e-6, 10.0)
CORRELATIONS = st.floats(-1.0, 1.0)


def both_maps(name):
    act = activation(name)
    return act.dual, act.dual_derivative


def scale(f, q11, q22):
    return jnp.sqrt(f(q11, q11, q11) * f(q22, q22, q22))


@pytest.mark.parametrize("name", ["identity", "relu", "sign", "square", "gelu", "tanh"])
def test_arguments_broadcast(name):
    for f in both_maps(name):
        q11, q22 = jnp.array([0.5, 1.0, 2.0])[:, None], jnp.array([1.0, 3.0])
        full = f(q11, 0.25, q22)
        assert full.shape == (3, 2)
        # The same operations in another shape.
        np.testing.assert_allclose(full, f(*jnp.broadcast_arrays(q11, 0.25, q22)), rtol=1e-13)


def test_empty_arrays():
    for f in both_maps("relu") + both_maps("tanh"):
        assert f(jnp.ones((2, 0)), 0.0, 1.0).shape == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(q11=VARIANCES, q22=VARIANCES, rho=CORRELATIONS)
def test_cauchy_schwarz(name, q11, q22, rho):
    """|E φφ̄| ≤ sqrt(E φ²·E φ̄²)."""
    q11, q22 = jnp.array([q11]), jnp.array([q22])
    q12 = rho * jnp.sqrt(q11) * jnp.sqrt(q22) * (1 - 2**-50)
    for f in both_maps(name):
        bound = scale(f, q11, q22)
        # 1e-12 is the accuracy of the maps themselves, 1e-8 that promised for the logistic family.
        assert abs(f(q11, q12, q22)) <= bound * (1 + (1e-8 if name in LOGISTIC else 1e-12))


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs", "identity"])
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    q11=VARIANCES,
    q22=VARIANCES,
    rho=CORRELATIONS,
    first=st.floats(1e-4, 1e4),
    second=st.floats(1e-4, 1e4),
)
def test_positively_homogeneous(name, q11, q22, rho, first, second):
    """u → λu and ū → λ̄ū multiply E φφ̄ by λλ̄ and leave E φ'φ̄' as it is."""
    q12 = 0.999 * rho * np.sqrt(q11 * q22)
    scaled = (first**2 * q11, first * second * q12, second**2 * q22)
    act = activation(name)
    # Scaling rounds its three results; at |ρ| ≤ 0.999 an angle moves by at most eps/sqrt(1 - ρ²) = 22 eps for each.
    expected = first * second * act.dual(q11, q12, q22)
    assert act.dual(*scaled) == pytest.approx(float(expected), abs=200 * EPS * first * second * np.sqrt(q11 * q22))
    expected = act.dual_derivative(q11, q12, q22)
    assert act.dual_derivative(*scaled) == pytest.approx(float(expected), abs=200 * EPS)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("relu", "erf", "sign", "gelu", "tanh", "sin") else pytest.param(name, marks=pytest.mark.slow)
        for name in FUNCTIONS
    ],
)
@settings(deadline=None, max_examples=10, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 8))
def test_gram_matrices_are_symmetric_and_positive_semidefinite(name, seed, dim):
    """E φ(u_i)φ(u_j) is a Gram matrix for any Gaussian u, of rank below its size here."""
    x = np.random.default_rng(seed).standard_normal((12, dim))
    covariance = jnp.asarray(x @ x.T / dim)
    diagonal = jnp.diag(covariance)
    # Rounding of the product may push a covariance past its variances by a few units in the last place.
    bound = jnp.sqrt(diagonal[:, None]) * jnp.sqrt(diagonal[None])
    for f in both_maps(name):
        gram = f(diagonal[:, None], jnp.clip(covariance, -bound, bound), diagonal)
        sizes = np.sqrt(np.diag(gram))
        # Which of the two is u makes no difference up to rounding, but √eps of an angle where |ρ| = 1 for dim = 1.
        tolerance = 1e-12 if dim > 1 else 1e-7
        np.testing.assert_array_less(abs(gram - gram.T), tolerance * np.outer(sizes, sizes) + 1e-300)
        eigenvalues = np.linalg.eigvalsh(gram)
        # 1e-8 is the accuracy promised for the logistic family; a jump or kink turns 1e-16 at |ρ| = 1 into 1e-8 too.
        assert eigenvalues[0] >= -1e-8 * max(np.trace(gram), 1e-300)
