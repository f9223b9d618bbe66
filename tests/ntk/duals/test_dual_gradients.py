"""Derivatives of the dual maps in the three entries of the covariance, inside and at the edge of its range."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_quadrature import QUADRATURES
from dual_reference import CLOSED_FORMS, FUNCTIONS, exact, trapezoid
from mpmath import mp, mpf
from tolerances import PEER

from ntk.duals import activation

# Where φ jumps, Price's theorem has a delta function and φ' is stated as 0.
CONTINUOUS = sorted(FUNCTIONS.keys() - {"sign", "step"})
INTERIOR = ((1.0, 0.5, 1.0), (0.3125, -0.875, 3.0), (3.0, 2.0**-20, 3.0), (2.0, 1.5, 1.25), (2.5, -2.4921875, 2.5))
SINGULAR = ((1.0, 1.0, 1.0), (0.5, -0.5, 0.5), (8.0, 8.0, 8.0), (2.0, 4.0, 8.0), (2.0, -4.0, 8.0))
CONSTANT = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0))
LARGE = ((1e8, 1e8, 1e8), (1e8, -1e8, 1e8), (1e8, 1e6, 1e4))
DIAGONAL = tuple((q, q, q) for q in (1e-8, 0.3, 1.0, 3.0))
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


@cache
def gradients(name, dtype="float64"):
    """Gradients in (q11, q12, q22) of both maps, (2, 3), at all of the covariances above, under jit and vmap."""
    act = activation(name)

    def of_one(*q):
        return jnp.stack([jnp.stack(jax.grad(f, (0, 1, 2))(*q)) for f in (act.dual, act.dual_derivative)])

    # The covariances are exact in float32 too, except on the diagonal, which is tested in float64 only.
    covariances = INTERIOR + SINGULAR + CONSTANT + LARGE + DIAGONAL
    result = jax.jit(jax.vmap(of_one))(*(jnp.asarray(q, dtype) for q in zip(*covariances, strict=True)))
    assert result.dtype == dtype
    return dict(zip(covariances, np.asarray(result, float), strict=True))


def by_price(functions, covariance):
    """∂E f(u)f(ū)/∂q12 = E f'f̄', ∂/∂q11 = E f''f̄/2, ∂/∂q22 = E ff̄''/2 (Price 1958)."""
    f, slope, curvature = functions
    q11, q12, q22 = covariance
    return (
        trapezoid(curvature, f, q11, q12, q22) / 2,
        trapezoid(slope, slope, q11, q12, q22),
        trapezoid(f, curvature, q11, q12, q22) / 2,
    )


def assert_gradient(got, expected, covariance, scale, tolerance):
    """Each ∂F/∂q times its natural unit √(q·q) is compared relative to the scale of F and of the gradient."""
    q11, _, q22 = covariance
    units = np.array([q11, np.sqrt(q11 * q22), q22])
    got, expected = got * units, np.array(expected, dtype=float) * units
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * (scale + np.abs(expected).max()))


@pytest.mark.parametrize(
    "name", [name if name in ("tanh", "gelu") else pytest.param(name, marks=pytest.mark.slow) for name in QUADRATURES]
)
def test_maps_without_a_closed_form_follow_price(name):
    derivatives = [FUNCTIONS[name]]
    for _ in range(3):
        derivatives.append(jax.grad(derivatives[-1]))
    functions = [jax.jit(jnp.vectorize(f)) for f in derivatives]
    for covariance in INTERIOR[1::2] + INTERIOR[-1:]:
        for order, gradient in enumerate(gradients(name)[covariance]):
            f = functions[order]
            q11, _, q22 = covariance
            scale = np.sqrt(trapezoid(f, f, q11, q11, q11) * trapezoid(f, f, q22, q22, q22))
            # The gradients are held to what is promised of the maps of the logistic family.
            assert_gradient(gradient, by_price(functions[order : order + 3], covariance), covariance, scale, 1e-8)


@cache
def differences(name, covariance):
    """Of both maps, the natural scale and the derivatives in (q11, q12, q22), from 50 digits."""
    dual, arguments = CLOSED_FORMS[name], exact(*covariance)
    variances = [dual(*[arguments[place]] * 3) for place in (0, 2)]
    scales = [mp.sqrt(first * second) for first, second in zip(*variances, strict=True)]
    # Central differences with step 1e-16: their error, 1e-32 relative, and 50 - 16 digits of rounding.
    ends = [[list(arguments), list(arguments)] for _ in range(3)]
    for place, (up, down) in enumerate(ends):
        up[place], down[place] = up[place] + mpf("1e-16"), down[place] - mpf("1e-16")
    slopes = [[(u - d) / mpf("2e-16") for u, d in zip(dual(*up), dual(*down), strict=True)] for up, down in ends]
    return [(float(scale), derivatives) for scale, *derivatives in zip(scales, *slopes, strict=True)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_against_differences_in_50_digits(name, dtype):
    for covariance in INTERIOR:
        expected = differences(name, covariance)
        for gradient, (scale, derivatives) in zip(gradients(name, dtype)[covariance], expected, strict=True):
            # Δ = q11·q22 - q12² is exact, so even at ρ = -0.996 (Δ/q² = 0.008) a few hundred roundings suffice.
            assert_gradient(gradient, derivatives, covariance, scale, TOLERANCE[dtype])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivative_in_the_covariance_is_the_derivative_map(name):
    """∂E φφ̄/∂q12 = E φ'φ̄' holds wherever φ has no jumps, at ρ = ±1 too."""
    covariances = INTERIOR + SINGULAR
    q11, q12, q22 = np.transpose(covariances)
    derivative_map = activation(name).dual_derivative
    scale = np.sqrt(derivative_map(q11, q11, q11) * derivative_map(q22, q22, q22))
    slopes = np.array([gradients(name)[covariance][0, 1] for covariance in covariances])
    # Both sides are the implementation's, each within 1e-8 where it has no closed form and 1e-12 where it has one.
    tolerance = 1e-8 if name in QUADRATURES else 1e-11
    assert (abs(slopes - derivative_map(q11, q12, q22)) <= tolerance * scale).all()


@pytest.mark.parametrize("name", CONTINUOUS)
def test_total_derivative_along_the_diagonal(name):
    """d/dq E φ(√q·z)², the recursion of a variance through the layers."""
    dual = CLOSED_FORMS.get(name) or QUADRATURES[name]
    for covariance in DIAGONAL:
        got, q = gradients(name)[covariance][0].sum(), mpf(covariance[0])
        h = q * mpf("1e-10")
        value, up, down = (dual(x, x, x)[0] for x in (q, q + h, q - h))
        # Relative to the derivative and to the map divided by q; the difference has an error of 1e-20.
        expected = float((up - down) / (2 * h))
        tolerance = 1e-8 if name in QUADRATURES else 1e-10
        assert got == pytest.approx(expected, abs=tolerance * (abs(expected) + float(value / q)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_at_the_edge(name, dtype):
    """ρ = ±1, where E relu'relu' has slope infinity, and variances of zero."""
    # The last three grow beyond float32 at variance 1e8.
    edge = SINGULAR + CONSTANT + (() if name in ("exp", "square", "cube") else LARGE)
    for covariance in edge:
        assert np.isfinite(gradients(name, dtype)[covariance]).all(), covariance


@pytest.mark.parametrize("name", ["erf", "sin", "cos", "gaussian", "exp", "square", "cube", "identity"])
def test_smooth_maps_have_the_one_sided_derivative_at_perfect_correlation(name):
    dual = CLOSED_FORMS[name]
    for covariance in SINGULAR:
        q11, q12, q22 = exact(*covariance)
        inward = mpf("1e-20") * mp.sign(q12)
        inside, edge = dual(q11, q12 - inward, q22), dual(q11, q12, q22)
        for order, gradient in enumerate(gradients(name)[covariance]):
            # The one-sided difference has an error of 1e-20 and 30 digits; 1e-10 as inside.
            expected = float((edge[order] - inside[order]) / inward)
            assert gradient[1] == pytest.approx(expected, rel=PEER["float64"], abs=PEER["float64"])
