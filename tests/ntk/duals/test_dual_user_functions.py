"""`activation(function)`: quadrature of any scalar function, and whether its error estimate can be believed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_reference import CLOSED_FORMS, exact, natural_scales, stored, trapezoid
from scipy.special import ndtr
from tolerances import CLOSED_FORM, QUADRATURE

from ntk.duals import activation

pytestmark = pytest.mark.slow


def shifted_sigmoid(x):
    return jax.nn.sigmoid(x - 1.0)


def squared_times_tanh(x):
    return x**2 * jnp.tanh(x)


def hard_tanh(x):
    return jnp.clip(x, -1.0, 1.0)


MODERATE = [
    (q11, rho * np.sqrt(q11 * q22), q22)
    for q11, q22 in ((1e-8, 0.3), (0.3, 0.3), (1.0, 10.0), (10.0, 10.0), (10.0, 1e-8))
    for rho in (0.0, 1e-6, 0.5, -0.9, 0.999999)
] + [(1.0, 1.0, 1.0), (10.0, -10.0, 10.0), (2.0, 4.0, 8.0)]
# The estimate is the difference of two orders. Where the rules converge it is the error of the lower one; where neither
# does, as for a function that oscillates faster than their nodes, only its order of magnitude is right.
HONESTY = 10.0


def assert_honest(act, covariances, references, accuracy):
    """|error| ≤ HONESTY · estimate + 1e-12 · scale for both maps, and ≤ accuracy · scale for variances up to 10.

    `references` holds (values, scales) for each covariance, both of them pairs (dual, dual_derivative).
    """
    columns = [jnp.asarray(column) for column in zip(*covariances, strict=True)]
    outputs, estimates = (act.dual(*columns), act.dual_derivative(*columns)), act.error_estimate(*columns)
    accuracy = np.where(np.maximum(columns[0], columns[2]) <= 10, accuracy, np.inf)
    for which in (0, 1):
        values, scales = (np.array([float(r[part][which]) for r in references]) for part in (0, 1))
        error, estimate = abs(np.asarray(outputs[which]) - values), np.asarray(estimates[which])
        assert (estimate >= 0).all()
        for allowed in (HONESTY * estimate + 1e-12 * scales, accuracy * scales):
            worst = np.argmax(error / allowed)
            assert (error <= allowed).all(), (
                f"{act.name}, map {which}, at {covariances[worst]}: error {error[worst]:.2g}, "
                f"estimate {estimate[worst]:.2g}, scale {scales[worst]:.2g}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("fn", [shifted_sigmoid, squared_times_tanh])
def test_smooth_functions_at_moderate_variance(fn):
    functions = fn, jax.jit(jnp.vectorize(jax.grad(fn)))
    references = []
    for q11, q12, q22 in MODERATE:
        values = [trapezoid(f, f, q11, q12, q22) for f in functions]
        scales = [np.sqrt(trapezoid(f, f, q11, q11, q11) * trapezoid(f, f, q22, q22, q22)) for f in functions]
        references.append((values, scales))
    assert_honest(activation(fn), MODERATE, references, 1e-8)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_tanh_at_every_variance(every):
    rows = {key[2:]: row for key, row in stored().items() if key[0] == "tanh"}
    covariances, references = list(rows)[::every], []
    for q11, q12, q22 in covariances:
        scales = [np.sqrt(float(rows[q11, q11, q11][i] * rows[q22, q22, q22][i])) for i in (0, 1)]
        references.append((rows[q11, q12, q22][:2], scales))
    assert_honest(activation(jnp.tanh), covariances, references, 1e-8)


@pytest.mark.parametrize(
    ("name", "fn", "accuracy"),
    # relu' jumps, and at ρ = 0.999999 its conditional mean is a step of width 0.001; sin has nine periods in reach.
    [("relu", jax.nn.relu, 1e-6), pytest.param("sin", jnp.sin, 1e-7, marks=pytest.mark.slow)],
)
def test_functions_with_a_closed_form(name, fn, accuracy):
    """At variance 1e4 and more sin oscillates too fast for any rule, and the error estimate must say so."""
    covariances = [*MODERATE, (1e4, 5e3, 1e4), (1e4, 1e4, 1e4), (1e4, 100.0, 10.0), (1e8, -9e7, 1e8)]
    dual, references = CLOSED_FORMS[name], []
    for covariance in covariances:
        arguments = exact(*covariance)
        references.append((dual(*arguments), natural_scales(dual, arguments[0], arguments[2])))
    assert_honest(activation(fn), covariances, references, accuracy)


def hard_tanh_reference(q11, q12, q22):
    """Gauss-Legendre in u on panels cut where clip(u) and its conditional mean bend; the latter is exact."""
    slope, spread = q12 / q11, np.sqrt(max(q22 - q12**2 / q11, 0.0))
    offsets = spread * np.array([-8, -4, -2, -1, 0, 1, 2, 4, 8])
    bends = [] if slope == 0 else np.concatenate([-1 + offsets, 1 + offsets]) / slope
    deviation = np.sqrt(q11)
    edges = np.concatenate([[-1.0, 1.0], bends, deviation * np.arange(-9.0, 10.0)])
    edges = np.unique(np.clip(edges, -9 * deviation, 9 * deviation))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    half = np.diff(edges)[:, None] / 2
    u = (edges[:-1, None] + half * (1 + nodes)).ravel()
    density = (half * weights).ravel() * np.exp(-(u**2) / (2 * q11)) / np.sqrt(2 * np.pi * q11)
    mean = slope * u
    if spread > 0:
        low, high = (-1 - mean) / spread, (1 - mean) / spread
        inside = ndtr(high) - ndtr(low)
        bump = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / np.sqrt(2 * np.pi)
        value = mean * inside + spread * bump + ndtr(-high) - ndtr(low)
    else:
        inside, value = (abs(mean) < 1).astype(float), np.clip(mean, -1, 1)
    return density @ (np.clip(u, -1, 1) * value), density @ ((abs(u) < 1) * inside)


@pytest.mark.slow
def test_functions_with_several_kinks():
    covariances = [q for q in MODERATE if min(q[0], q[2]) > 1e-3] + [(1e4, 5e3, 1e4), (1e4, 1e4, 1e4)]
    references = []
    for q11, q12, q22 in covariances:
        variances = np.multiply(hard_tanh_reference(q11, q11, q11), hard_tanh_reference(q22, q22, q22))
        references.append((hard_tanh_reference(q11, q12, q22), np.sqrt(variances)))
    assert_honest(activation(hard_tanh, breakpoints=(-1.0, 1.0)), covariances, references, 1e-8)
    with pytest.warns(UserWarning, match="breakpoints"):
        unaware = activation(hard_tanh)
    assert_honest(unaware, covariances, references, np.inf)


@pytest.mark.parametrize("fn", [jnp.tanh, pytest.param(squared_times_tanh, marks=pytest.mark.slow)])
def test_derivatives_follow_price(fn):
    f, slope, curvature = (jnp.vectorize(g) for g in (fn, jax.grad(fn), jax.grad(jax.grad(fn))))
    act = activation(fn)
    for q11, q12, q22 in [(1.0, 0.5, 1.0), (0.3, -0.9, 3.0), (2.5, -2.49, 2.5)]:
        got = jax.jit(jax.grad(act.dual, argnums=(0, 1, 2)))(q11, q12, q22)
        expected = (
            trapezoid(curvature, f, q11, q12, q22) / 2,
            trapezoid(slope, slope, q11, q12, q22),
            trapezoid(f, curvature, q11, q12, q22) / 2,
        )
        # The accuracy asked of the maps of smooth functions.
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fn", [pytest.param(jnp.tanh, marks=pytest.mark.slow), jax.nn.relu])
def test_transformations_and_edges(fn, dtype):
    """Values and derivatives are finite at ρ = ±1 and at zero variance, and the same under jit and vmap."""
    act = activation(fn)
    singular, constant = [(1, 1, 1), (2, -4, 8)], [(0, 0, 1), (1, 0, 0), (0, 0, 0)]
    columns = [jnp.asarray(column, dtype) for column in np.transpose([*singular, *constant, (1, 0.5, 1)])]
    for f in (act.dual, act.dual_derivative):
        direct, compiled = f(*columns), jax.jit(jax.vmap(f))(*columns)
        assert direct.dtype == compiled.dtype == dtype
        np.testing.assert_allclose(direct, compiled, rtol=0, atol=100 * float(jnp.finfo(dtype).eps))
        assert np.isfinite(direct).all()
    for gradient in jax.jit(jax.vmap(jax.grad(act.dual, argnums=(0, 1, 2))))(*columns):
        assert np.isfinite(gradient).all()


def test_zero_variance_is_exact():
    """u is the constant 0: E φ(0)φ(ū) and φ'(0)·E φ'(ū)."""
    act = activation(shifted_sigmoid)
    slope = jnp.vectorize(jax.grad(shifted_sigmoid))
    one = trapezoid(shifted_sigmoid, jnp.ones_like, 3.0, 0.0, 3.0)
    mean_slope = trapezoid(slope, jnp.ones_like, 3.0, 0.0, 3.0)
    for q in ((0.0, 0.0, 3.0), (3.0, 0.0, 0.0)):
        assert act.dual(*q) == pytest.approx(float(shifted_sigmoid(0.0)) * one, rel=QUADRATURE["float64"])
        assert act.dual_derivative(*q) == pytest.approx(float(slope(0.0)) * mean_slope, rel=QUADRATURE["float64"])
    assert act.dual(0.0, 0.0, 0.0) == pytest.approx(float(shifted_sigmoid(0.0)) ** 2, rel=CLOSED_FORM["float64"])


@pytest.mark.parametrize(
    "fn", [jax.nn.relu, *(pytest.param(fn, marks=pytest.mark.slow) for fn in (jnp.tanh, shifted_sigmoid))]
)
def test_float32_is_as_accurate_as_float32_can_be(fn):
    act = activation(fn)
    covariances = [(0.25, 0.125, 1.0), (1.0, -0.5, 0.5), (8.0, 7.5, 8.0), (2.0, 0.0, 4.0), (1.0, 1.0, 1.0)]
    q = [jnp.asarray(column) for column in np.transpose(covariances)]
    single = [column.astype("float32") for column in q]
    for f in (act.dual, act.dual_derivative):
        # Two thousand nodes with positive weights: their rounding averages, and 20 units in the last place remain.
        error = abs(np.asarray(f(*single), float) - f(*q))
        assert (error <= 20 * 1.2e-7 * np.sqrt(f(q[0], q[0], q[0]) * f(q[2], q[2], q[2]))).all()
