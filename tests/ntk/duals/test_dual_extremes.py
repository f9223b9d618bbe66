"""Zero variance, the largest variances, and covariances that rounding has pushed past ρ = 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_quadrature import QUADRATURES
from dual_reference import CLOSED_FORMS, FUNCTIONS, KINKED, exact
from mpmath import mpf

from ntk.duals import activation

# E φ'(ū) of a symmetric ū: the mean of the slopes left and right of 0.
MEAN_SLOPES = {"relu": 0.5, "leaky_relu": 0.55, "abs": 0.0, "sign": 0.0, "step": 0.0}


def at_zero_variance(name, variance):
    """φ(0)·E φ(ū) and φ'(0)·E φ'(ū); the kinked φ all vanish at 0 and have the slope there that JAX gives them."""
    if name in KINKED:
        slope = float(jax.grad(activation(name).fn)(0.0))
        return 0.0, slope * (MEAN_SLOPES[name] if variance > 0 else slope)
    dual = CLOSED_FORMS.get(name) or QUADRATURES[name]
    return tuple(float(value) for value in dual(mpf(0), mpf(0), mpf(variance)))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_zero_variance_is_exact(name, dtype, tolerance):
    """On either side or both; the promise for the logistic family is 1e-8."""
    act = activation(name)
    variances = jnp.asarray([0.0, 1e-8, 0.3, 1.0, 10.0], dtype)
    zeros = jnp.zeros_like(variances)
    expected = np.transpose([at_zero_variance(name, float(variance)) for variance in variances])
    allowed = max(tolerance, 1e-8) if name in QUADRATURES else tolerance
    for f, values in zip((act.dual, act.dual_derivative), expected, strict=True):
        for got in (f(zeros, zeros, variances), f(variances, zeros, zeros)):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, values, rtol=allowed, atol=0)


@pytest.mark.parametrize("name", KINKED)
def test_zero_variance_does_not_affect_its_neighbours(name):
    """One array with zero and positive variances: every entry is what it is alone."""
    act = activation(name)
    covariances = [(0.0, 0.0, 1.0), (1.0, 0.5, 1.0), (0.0, 0.0, 0.0), (2.0, -4.0, 8.0), (1.0, 0.0, 0.0)]
    columns = [jnp.array(column) for column in zip(*covariances, strict=True)]
    for f in (act.dual, act.dual_derivative):
        np.testing.assert_array_equal(f(*columns), [f(*q) for q in covariances])


@pytest.mark.parametrize("name", ["sign", "step"])
def test_derivative_map_of_a_jump_is_zero(name):
    q = jnp.array([0.0, 1e-8, 1.0, 1e8])
    np.testing.assert_array_equal(activation(name).dual_derivative(q, q, q), np.zeros(4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_covariance_past_one_by_rounding(name, dtype):
    """σ_w²·C + σ_b² of two equal inputs may differ in the last place between the entries."""
    act = activation(name)
    eps = float(jnp.finfo(dtype).eps)
    ones, signs = jnp.ones(5, dtype), jnp.asarray([1, -1, 1, -1, 1], dtype)
    q12 = signs * jnp.asarray([1 + eps, 1 + eps, 1 + 4 * eps, 1 + 4 * eps, 1], dtype)
    for f in (act.dual, act.dual_derivative):
        # The maps are smooth there, except for a square root of the excess.
        np.testing.assert_allclose(f(ones, q12, ones), f(ones, signs, ones), rtol=0, atol=4 * np.sqrt(4 * eps))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_of_a_huge_variance_is_a_sign(dtype):
    """2/π·arcsin ρ, from arguments whose product overflows float32."""
    q = jnp.asarray(1e30, dtype)
    for rho in (-1.0, -0.5, 0.0, 0.25, 1.0):
        got = activation("erf").dual(q, rho * q, q)
        # One rounding of ρ: at most √(2·eps) of an angle at |ρ| = 1, where ρ·q is exact.
        assert got == pytest.approx(2 / np.pi * np.arcsin(rho), abs=8 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("name", ["erf", "tanh", "relu", "gelu", "softplus", "sigmoid"])
def test_overflow_is_never_a_finite_number(name):
    """An infinite variance, which is refused except under a transformation, gives inf or NaN."""
    inf = jnp.inf
    act = activation(name)
    for f in (act.dual, act.dual_derivative):
        assert not np.isfinite(jax.jit(f)(inf, inf, inf))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("sigmoid", "silu", "softplus") else name
        for name in sorted(FUNCTIONS.keys() - {"sign", "step"})
    ],
)
def test_derivative_map_keeps_its_digits_as_the_variables_part(name):
    """1 - ρ from 2^-2 to 2^-52 at variance 1."""
    dual = CLOSED_FORMS.get(name) or QUADRATURES[name]
    gaps = 2.0 ** -np.array([2, 10, 30, 40, 52])
    got = activation(name).dual_derivative(jnp.ones(5), jnp.asarray(1 - gaps), jnp.ones(5))
    expected = [float(dual(*exact(1.0, 1 - gap, 1.0))[1]) for gap in gaps]
    # 1 - ρ is exact here; 1e-8 is the promise for the logistic family.
    np.testing.assert_allclose(got, expected, rtol=1e-8 if name in QUADRATURES else 1e-12)
