"""Exact limits against formulas written out in NumPy: layer norm, residuals, two functions, outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from scipy.special import erf

from ntk.programs import infinite, tensor_program


def inputs(*shape, seed=0):
    """Random inputs; the second of them is the first again, and the third its opposite."""
    x = np.random.default_rng(seed).normal(size=shape)
    x[1], x[2] = x[0], -x[0]
    return jnp.asarray(x)


def assert_close(found, expected, tolerance):
    """To within `tolerance` of the largest entry."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# Sums in another order: some hundred roundings.
ROUNDING = 1e-13


def relu_maps(q11, q12, q22):
    """Cho & Saul 2009."""
    rho = np.clip(q12 / np.sqrt(q11 * q22), -1, 1)
    angle = np.arccos(rho)
    return np.sqrt(q11 * q22) * (np.sin(angle) + (np.pi - angle) * rho) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def erf_maps(q11, q12, q22):
    """Williams 1997."""
    product = (1 + 2 * q11) * (1 + 2 * q22)
    return 2 / np.pi * np.arcsin(2 * q12 / np.sqrt(product)), 4 / np.pi / np.sqrt(product - 4 * q12**2)


def of_pairs(maps, K):
    """The maps of all pairs of variables with covariance K."""
    own = np.diagonal(K)
    return maps(own[:, None], K, own)


# arccos at ρ = ±1 loses half of the digits in the reference's relu maps.
HALF_THE_DIGITS = 3e-7


def test_layer_norm():
    """Layer norm divides by a deviation; that of x after ReLU subtracts the mean √(q/2π) of each input."""
    x = np.asarray(inputs(5, 4))
    K = 1.2**2 * x @ x.T / 4 + 0.4**2
    tau = K.copy()

    def normed(C, tau, mean):
        centred = C - np.outer(mean, mean)
        scale = 1 / np.sqrt(np.diagonal(centred) + 1e-3)
        return centred * np.outer(scale, scale), tau * np.outer(scale, scale)

    K, tau = normed(K, tau, np.zeros(5))
    C, slope = of_pairs(relu_maps, K)
    C, tau = normed(C, slope * tau, np.sqrt(np.diagonal(K) / (2 * np.pi)))
    K, tau = 0.9**2 * C, 0.9**2 * (C + tau)
    C, slope = of_pairs(relu_maps, K)
    found = infinite(zoo.layer_norm_mlp, x)
    assert found.samples == 0
    assert_close(found.nngp, 1.1**2 * C, HALF_THE_DIGITS)
    assert_close(found.ntk, 1.1**2 * (C + slope * tau), HALF_THE_DIGITS)


def test_residual():
    """z + φ(z) of the last, Gaussian z: E zφ(z̄) = E zz̄ E φ'(z̄), and erf' has mean (2/√π)/√(1+2q)."""
    x = np.asarray(inputs(5, 4))
    K = tau = x @ x.T / 4
    for _ in range(2):
        C, slope = of_pairs(erf_maps, K)
        K, tau = K + 0.8**2 * C, tau + 0.8**2 * (C + slope * tau)
    C, slope = of_pairs(erf_maps, K)
    mean = 2 / np.sqrt(np.pi) / np.sqrt(1 + 2 * np.diagonal(K))
    sums = 1 + mean[:, None] + mean
    found = infinite(zoo.residual, x)
    # What the quadrature of the mean is off by.
    assert_close(found.nngp, 1.1**2 * (sums * K + C), 1e-11)
    assert_close(found.ntk, 1.1**2 * (sums * (K + tau) + C + slope * tau), 1e-11)


def test_two_functions():
    """Of cos and exp(−x²): E e^{iu − ū²} = e^{−q11/2} E e^{−(ū + i q12)²}.

    And E e^{−(ū + a)²} = e^{−a²/s}/√s with s = 1 + 2 q22.
    """

    @tensor_program
    def program(net, x):
        u = net.input_matrix("U") @ x
        return net.output("v") @ (net.phi("cos")(u) + net.phi("gaussian")(u))

    x = np.asarray(inputs(4, 3))
    K = x @ x.T / 3
    q1, q2 = np.diagonal(K)[:, None], np.diagonal(K)
    cosines = np.exp(-(q1 + q2) / 2) * np.cosh(K)
    mixed = np.exp(-q1 / 2 + K**2 / (1 + 2 * q2)) / np.sqrt(1 + 2 * q2)
    gaussians = 1 / np.sqrt((1 + 2 * q1) * (1 + 2 * q2) - 4 * K**2)
    assert_close(infinite(program, x).nngp, cosines + mixed + mixed.T + gaussians, 1e-10)


@pytest.mark.slow
def test_two_functions_and_a_shift():
    """E of products of erf(u), erf(u + c) and cos(u): exact by adding noise of the outer variable's own.

    E cos(u) erf(ū + c) for Gaussian (u, ū) follows from E e^{iu} F(ū) = e^{-q11/2} E F(ū + i q12), and
    E erf(ū + a) = erf(a / √(1 + 2 q22)), an entire function of a.
    """

    @tensor_program
    def program(net, x):
        u = net.input_matrix("U") @ x
        return net.output("v") @ (net.phi("cos")(u) + net.phi("erf")(u + 0.7))

    x = np.asarray(inputs(4, 3))
    K = x @ x.T / 3
    q1, q2 = np.diagonal(K)[:, None], np.diagonal(K)
    cosines = np.exp(-(q1 + q2) / 2) * np.cosh(K)
    mixed = np.exp(-q1 / 2) * np.real(erf((0.7 + 1j * K) / np.sqrt(1 + 2 * q2)))
    # Of erf(u + c) with itself: Gauss and Hermite with 120 nodes each way; 100 give the same digits.
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    rho = np.clip(K / np.sqrt(q1 * q2), -1, 1)[..., None, None]
    u, w = np.sqrt(q1)[..., None, None] * nodes[:, None], rho * nodes[:, None] + np.sqrt(1 - rho**2) * nodes
    erfs = np.sum(weights[:, None] * weights * erf(u + 0.7) * erf(np.sqrt(q2)[:, None, None] * w + 0.7), axis=(-1, -2))
    expected = cosines + mixed + mixed.T + erfs
    assert_close(jax.jit(lambda x: infinite(program, x).nngp)(x), expected, 1e-6)


def test_outputs_add_up():
    """Two output weights, one of which reads the mean of two vectors, and factors on outputs."""

    @tensor_program
    def program(net, x):
        a, b = (net.phi("relu")(net.input_matrix(name) @ x) for name in "ab")
        v, w = net.output("v"), net.output("w", 0.5)
        return (v @ a + v @ b) / 2.0 - 3.0 * (w @ a)

    x = np.asarray(inputs(4, 3))
    K = x @ x.T / 3
    C, slope = of_pairs(relu_maps, K)
    mean = np.sqrt(np.diagonal(K) / (2 * np.pi))
    nngp = (C + np.outer(mean, mean)) / 2 + (3 * 0.5) ** 2 * C
    found = infinite(program, x)
    assert_close(found.nngp, nngp, HALF_THE_DIGITS)
    assert_close(found.ntk, nngp + slope * K / 2 + (3 * 0.5) ** 2 * slope * K, HALF_THE_DIGITS)
