"""Spectra on the sphere against integrals at high precision, Monte Carlo, and traces."""

import math

import mpmath
import numpy as np
import pytest
from refusals import assert_refused, rows
from tolerances import PEER, SAME_FORMULA

import ntk
from ntk.learning_curves.gegenbauer import angles, degeneracy, polynomials
from ntk.learning_curves.taylor import taylor_coefficients

RELU = ntk.MLP(depth=1, activation="relu", w_std=2**0.5, b_std=0.0)
DEEP = ntk.MLP(depth=2, activation="relu", w_std=2**0.5, b_std=0.1)


def arc_cosine_ntk(theta):
    """Θ of one hidden layer of ReLU with σ_w² = 2 (Cho & Saul 2009): κ₁(t) + t κ₀(t)."""
    t = mpmath.cos(theta)
    k0 = (mpmath.pi - theta) / mpmath.pi
    k1 = (mpmath.sin(theta) + t * (mpmath.pi - theta)) / mpmath.pi
    return k1 + t * k0


def eigenvalue_at_30_digits(kernel, dim, degree):
    """∫ K P_k sin^{d−2} θ dθ over ∫ sin^{d−2} θ dθ, with mpmath's own Gegenbauer polynomials."""
    with mpmath.workdps(30):
        alpha = mpmath.mpf(dim - 2) / 2

        def polynomial(t):
            return mpmath.gegenbauer(degree, alpha, t) / mpmath.gegenbauer(degree, alpha, 1)

        def weighted(theta):
            return kernel(theta) * polynomial(mpmath.cos(theta)) * mpmath.sin(theta) ** (dim - 2)

        total = mpmath.quad(lambda theta: mpmath.sin(theta) ** (dim - 2), [0, mpmath.pi])
        return float(mpmath.quad(weighted, [0, mpmath.pi / 2, mpmath.pi]) / total)


@pytest.mark.parametrize(("dim", "degrees"), [(3, (0, 1, 2, 3, 8)), (10, (0, 1, 2, 4, 6)), (50, (1, 2, 6, 10))])
def test_relu_at_high_precision(dim, degrees):
    spectrum = ntk.zonal_spectrum(RELU, dim, 10)
    for degree in degrees:
        exact = eigenvalue_at_30_digits(arc_cosine_ntk, dim, degree)
        found, error = spectrum.eigenvalues[degree], spectrum.error[degree]
        assert abs(found - exact) <= error
        # Odd degrees above 1 have the eigenvalue 0.
        assert error <= PEER["float64"] * max(exact, spectrum.trace / float(spectrum.degeneracies[degree]) ** 0.5 / 1e3)


def test_both_ways_agree():
    """The quadrature and the Taylor series have nothing in common but the network."""
    dim = 20
    theta, weights = angles(dim, 400)
    x = 2**0.5 * np.stack([np.cos(theta), np.sin(theta)], axis=1)
    for kernel, a in zip(("nngp", "ntk"), taylor_coefficients(DEEP, 200), strict=True):
        values = getattr(ntk.infinite_kernels(DEEP, np.array([[2**0.5, 0.0]]), x), kernel)[0]
        series = np.polynomial.polynomial.polyval(np.cos(theta), a)
        # Weighted by the density of the angle, for the series does not converge at θ = 0.
        assert weights @ np.abs(series - values) < PEER["float64"] * values.max()
        spectrum = ntk.zonal_spectrum(DEEP, dim, 6, kernel=kernel)
        integrals = [weights @ (P * values) for P in polynomials(dim, 6, np.cos(theta))]
        np.testing.assert_allclose(spectrum.eigenvalues, integrals, rtol=PEER["float64"])


@pytest.mark.slow
def test_power_tends_to_the_taylor_coefficients():
    """N(d, k) λ_k → a_k with an error of order k²/d (theory.md 7.4)."""
    a = taylor_coefficients(DEEP, 40)[1][:5]
    gaps = [np.abs(ntk.zonal_spectrum(DEEP, dim, 4).power / a - 1).max() for dim in (500, 2000)]
    assert gaps[0] < 16 / 500
    assert 3.9 < gaps[0] / gaps[1] < 4.1


@pytest.mark.slow
def test_a_matrix_of_random_inputs_has_these_eigenvalues():
    """N(3, 1) = 3 and N(3, 2) = 5 eigenvalues of Θ/N near λ_1 and λ_2."""
    x = np.random.default_rng(0).normal(size=(1000, 3))
    x *= 3**0.5 / np.linalg.norm(x, axis=1, keepdims=True)
    found = np.sort(np.linalg.eigvalsh(np.asarray(ntk.infinite_ntk(DEEP, x)) / 1000))[::-1]
    spectrum = ntk.zonal_spectrum(DEEP, 3, 2)
    # 1/√N = 3 %, and 10 % for the smallest, which gather what larger ones push apart.
    for part, degree, error in ((slice(1), 0, 0.03), (slice(1, 4), 1, 0.06), (slice(4, 9), 2, 0.1)):
        np.testing.assert_allclose(found[part].mean(), spectrum.eigenvalues[degree], rtol=error)


@pytest.mark.parametrize("activation", ["erf", pytest.param("gelu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_smooth_kernels_have_their_whole_trace_in_few_degrees(activation, kernel):
    net = ntk.MLP(depth=1, activation=activation)
    spectrum = ntk.zonal_spectrum(net, 5, 16, kernel=kernel)
    one = np.array([[1.0, 1.0]])
    np.testing.assert_allclose(
        spectrum.trace, getattr(ntk.infinite_kernels(net, one), kernel)[0, 0], rtol=PEER["float64"]
    )
    assert spectrum.tail < 1e-3 * spectrum.trace  # erf has the slowest decay, a power of the degree
    assert (spectrum.eigenvalues >= 0).all()


def test_the_linear_model():
    """K(t) = σ_v² t is degree 1 alone, with λ_1 = σ_v²/d."""
    spectrum = ntk.zonal_spectrum(ntk.MLP(depth=0, v_std=2.0), 7, 3)
    np.testing.assert_allclose(spectrum.eigenvalues, [0, 4 / 7, 0, 0], atol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(spectrum.tail, 0, atol=SAME_FORMULA["float64"] * 4)


@pytest.mark.parametrize(("dim", "degree"), [(2, 0), (2, 5), (3, 4), (4, 3), (10, 6), (100, 30)])
def test_degeneracies_are_those_of_homogeneous_polynomials(dim, degree):
    """Harmonics of degree k: monomials of degree k less those of degree k − 2."""
    monomials = [math.comb(d + dim - 1, dim - 1) if d >= 0 else 0 for d in (degree, degree - 2)]
    assert degeneracy(dim, degree) == monomials[0] - monomials[1]


@pytest.mark.slow
def test_programs():
    net, program = ntk.MLP(depth=1, activation="relu", b_std=0.0), ntk.architectures.mlp(depth=1, b_std=0.0)
    of_mlp, of_program = (ntk.zonal_spectrum(each, 4, 3).eigenvalues for each in (net, program))
    np.testing.assert_allclose(of_program, of_mlp, atol=PEER["float64"])


def of_one_coordinate(net, x):
    return net.output("v") @ net.phi("erf")(net.input_matrix("u") @ x[:1])


@rows(
    [
        ("an RNN", lambda ntk: ntk.zonal_spectrum(ntk.RNN(), 3, 2), TypeError, "net is"),
        ("one dimension", lambda ntk: ntk.zonal_spectrum(ntk.MLP(depth=1), 1, 2), ValueError, "dim is 1"),
        ("a negative degree", lambda ntk: ntk.zonal_spectrum(ntk.MLP(depth=1), 3, -1), ValueError, "max_degree is -1"),
        ("a kernel", lambda ntk: ntk.zonal_spectrum(ntk.MLP(depth=1), 3, 2, kernel="C"), ValueError, "kernel is 'C'"),
        (
            "not zonal",
            lambda ntk: ntk.zonal_spectrum(ntk.tensor_program(of_one_coordinate), 3, 2),
            ValueError,
            "depends on more",
        ),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
