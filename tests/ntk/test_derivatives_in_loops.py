"""Derivative rules hold inside loops, where some of a function's arguments change from step to step and others do not.

f(a, b) = b Σ_s g(a, s) over the steps s of a loop: in ∂²f/∂b∂a = Σ ∂g/∂a the inner derivative leaves g as it is, and
the loop is taken apart around it before the outer derivative reaches it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from tolerances import SOLVED

import ntk
from ntk import dynamics
from ntk.duals.quadrature import Rule
from ntk.programs.limit.draws.conditioning import root_of
from ntk.programs.limit.expectations import gaussian_mean

STEPS = np.array([0.5, 1.0])
K, CHANGE = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.5]]), np.diag([1.0, 0.5, 0.7])
Y = np.array([1.0, -1.0, 0.5])


def mean_of(function):
    """E f(u) of a standard normal u, by SciPy's quadrature to 1e-13."""
    found = scipy.integrate.quad(lambda u: function(u) * np.exp(-(u**2) / 2), -12, 12, epsabs=1e-13, epsrel=1e-13)
    return found[0] / np.sqrt(2 * np.pi)


def tanh_kernel(a, s):
    """E φ(u)φ(ū) where the variances change and the covariance is that of an input with itself."""
    same = jnp.ones_like(s)
    return ntk.activation(jnp.tanh).dual_map(same, a, same)


def slopes_of_tanh_kernel(a):
    """2 E φ'(u)² at variance 1."""
    return 2 * mean_of(lambda u: np.cosh(u) ** -4)


def mean_of_squares(a, s):
    """E u² = a s, whose derivative at a = 0 is defined as 0."""
    return gaussian_mean(jnp.square, Rule((0.0,), np.inf, 1.0), a * s)


def flow(a, s):
    return jnp.sum(dynamics.squared_loss_flow(K + a * CHANGE, Y)(s) ** 2)


def slopes_of_flow(a):
    """Central differences of |1 − e^{−Kt} y|² by SciPy: h² and ε/h, both some 1e-10."""

    def total(a):
        return sum(np.sum((Y - scipy.linalg.expm(-s * (K + a * CHANGE)) @ Y) ** 2) for s in STEPS)

    return (total(a + 1e-5) - total(a - 1e-5)) / 2e-5


def roots(a, s):
    """Σ_ij (√(sA))_ij for inputs that are orthogonal at a = 0, whose covariance has equal eigenvalues."""
    return jnp.sum(root_of(s * (jnp.eye(3) + a * (1.0 - jnp.eye(3))), s * jnp.ones(3))[0])


LOOPS = {
    "scan": lambda g: jax.lax.scan(lambda total, s: (total + g(s), None), jnp.zeros(()), jnp.asarray(STEPS))[0],
    "map": lambda g: jnp.sum(jax.lax.map(g, jnp.asarray(STEPS))),
}


def looped(g, loop, a, b):
    return LOOPS[loop](lambda s: b * g(a, s))


@pytest.mark.parametrize("loop", ["scan", pytest.param("map", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("g", "a", "expected", "rtol"),
    [
        (tanh_kernel, 1.0, slopes_of_tanh_kernel, 1e-10),
        (mean_of_squares, 0.0, lambda a: 0.0, 0.0),
        pytest.param(mean_of_squares, 0.7, lambda a: np.sum(STEPS), 1e-10, marks=pytest.mark.slow),
        (flow, 0.3, slopes_of_flow, 1e-8),
        (roots, 0.0, lambda a: 3.0 * np.sum(np.sqrt(STEPS)), 1e-12),  # √(I + aB) = I + aB/2 + …
    ],
    ids=["dual", "mean-at-0", "mean", "filter", "roots"],
)
def test_mixed_derivatives(g, a, expected, rtol, loop):
    f = functools.partial(looped, g, loop)
    np.testing.assert_allclose(jax.jit(jax.grad(jax.grad(f, argnums=1)))(a, 1.0), expected(a), rtol=rtol)


@pytest.mark.slow
def test_second_derivatives_of_a_dual_map():
    """∂²/∂q12² E φφ̄ = E φ''² at variance 1, φ'' = −2 tanh/cosh², by forward and reverse mode."""
    expected = 2 * mean_of(lambda u: 4 * np.tanh(u) ** 2 * np.cosh(u) ** -4)
    f = functools.partial(looped, tanh_kernel, "scan")
    for second in (jax.grad(jax.grad(f)), jax.jacfwd(jax.grad(f)), jax.jacfwd(jax.jacfwd(f))):
        np.testing.assert_allclose(jax.jit(second)(1.0, 1.0), expected, rtol=SOLVED["float64"])


def test_second_derivatives_in_a_kernel_that_changes_in_a_loop_are_refused():
    def f(a):
        return LOOPS["scan"](lambda s: jnp.sum(dynamics.squared_loss_flow(K + a * s * CHANGE, Y)(s) ** 2))

    for twice in (jax.grad(jax.grad(f)), jax.jacfwd(jax.grad(f))):
        with pytest.raises(ValueError, match="a second derivative in the kernel is not available; expected a first"):
            jax.jit(twice)(0.3)
