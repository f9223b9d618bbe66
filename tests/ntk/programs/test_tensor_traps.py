"""Programs in which something small goes wrong easily: jumps, loops, vanishing scalars, float32, options of parts."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, DIFFERENCE, QUADRATURE

import ntk
from ntk.programs import infinite, tensor_program

X = np.array([[1.0, 2.0]])  # ξ·ξ/d = 2.5
Q = 2.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sign", Q + 2 * math.sqrt(2 * Q / math.pi) + 1), ("step", Q + math.sqrt(2 * Q / math.pi) + 0.5)],
)
def test_a_residual_around_a_jump(name, expected):
    """E (u + φ(u))² with E u sign(u) = √(2q/π): the derivative of φ, which is 0, has no part in it."""

    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        return net.output("v") @ (u + net.phi(name)(u))

    k = infinite(program, X)
    assert k.samples == 0
    np.testing.assert_allclose(k.nngp, [[expected]], rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(k.ntk, [[expected + Q]], rtol=1e-12)  # as at finite width, φ' = 0 there


@pytest.mark.slow
def test_functions_made_in_a_loop_keep_its_variable():
    """E (u + u³)² = q + 6q² + 15q³, by the moments 1, 3, 15."""

    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        z = net.zero()
        for k in (1, 3):
            z = z + net.phi(lambda t: t**k)(u)  # noqa: B023
        return net.output("v") @ z

    np.testing.assert_allclose(infinite(program, X).nngp, [[Q + 6 * Q**2 + 15 * Q**3]], rtol=QUADRATURE["float64"])


def test_functions_made_in_a_loop_are_one_function_where_they_are_equal():
    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        return net.output("v") @ sum((net.phi(lambda t: jnp.maximum(t, 0.0))(u) for _ in range(2)), net.zero())

    one = [node for node in program.record((2,)).nodes if type(node).__name__ == "Nonlin"]
    assert len(one) == 1


def test_a_ratio_of_two_vanishing_scalars_is_not_zero():
    """It has no limit: what is found is not a number, and is refused."""

    @tensor_program
    def program(net, x):
        u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
        return net.output("v") @ net.phi("relu")(u + u.mean() / w.mean())

    with pytest.raises(ValueError, match="expected"):
        infinite(program, X, samples=256)


def gated(net, x):
    return net.output("v") @ (net.phi("erf")(net.input_matrix("u") @ x) * (net.input_matrix("w") @ x))


@pytest.mark.parametrize("case", ["one large", "many"])
def test_float32_sampling_keeps_small_and_many_variances(case):
    """E erf(u)² w² = q·(2/π) asin(2q/(1 + 2q)) on the diagonal."""
    x = np.random.default_rng(0).normal(size=(8, 20) if case == "one large" else (600, 1200)).astype("float32")
    x[0] *= 400 if case == "one large" else 1
    k = infinite(tensor_program(gated), x, samples=1024 if case == "one large" else 256)
    q = np.mean(x.astype(float) ** 2, axis=1)
    ratio = np.diagonal(k.nngp) / (q * 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)))
    error = np.diagonal(k.standard_error.nngp) / np.diagonal(k.nngp)
    # Of Student's t with 15 degrees of freedom, beyond 6 once in 40,000.
    assert np.all(np.abs(ratio - 1) < 6 * error + 1e-5)
    assert abs(np.mean(ratio) - 1) < 0.05


def test_kernels_of_one_matrix_are_semi_definite_however_it_is_fed():
    """W a − W b with a = b in two forms is 0, and so is its NTK, but for sampling."""

    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        a = net.phi("relu")(u)
        b = net.phi(lambda t, s: jnp.maximum(t, 0.0) * s)(u, net.one())
        W = net.matrix("w")
        return net.output("v") @ (W @ a - W @ b)

    k = infinite(program, np.random.default_rng(0).normal(size=(4, 3)), samples=256)
    assert np.linalg.eigvalsh(k.ntk).min() > -CLOSED_FORM["float64"]


def test_an_option_called_weight_in_a_mixture():
    @tensor_program
    def part(net, x, *, weight=4.0):
        return weight * (net.output("v") @ (net.input_matrix("u") @ x))

    linear = ntk.architectures.mlp(depth=1, activation="identity")
    found = infinite(ntk.architectures.mixture(part, linear, weights=(0.0, 1.0)), X)
    np.testing.assert_allclose(found.ntk, infinite(linear, X).ntk, rtol=CLOSED_FORM["float64"])


def test_measured_kernels_under_transformations_and_compiled_once():
    @tensor_program
    def program(net, x, *, w_std=1.0):
        return net.output("v") @ net.phi("tanh")(net.watch("h", net.input_matrix("u", w_std) @ x))

    x = np.random.default_rng(0).normal(size=(3, 2))
    params = ntk.finite(program, 5).init(jax.random.key(0), x)

    def theta(std):
        return ntk.empirical_kernels(program(w_std=std), params, x).ntk

    stds = np.array([0.5, 2.0])
    expected = np.stack([theta(std) for std in stds])
    np.testing.assert_allclose(jax.vmap(theta)(stds), expected, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(jax.jit(theta)(0.5), expected[0], rtol=CLOSED_FORM["float64"])
    difference = (theta(1 + 1e-5).sum() - theta(1 - 1e-5).sum()) / 2e-5
    np.testing.assert_allclose(jax.grad(lambda std: theta(std).sum())(1.0), difference, rtol=DIFFERENCE["float64"])
    traced = itertools.count()  # a list would be another content of the function at every call

    @tensor_program
    def counted(net, x, *, w_std=1.0):
        def phi(t):
            next(traced)
            return jnp.tanh(t)

        return net.output("v") @ net.phi(phi)(net.input_matrix("u", w_std) @ x)

    ntk.empirical_kernels(counted(w_std=0.3), params, x)
    count = next(traced)
    ntk.empirical_kernels(counted(w_std=0.4), params, x)
    assert next(traced) == count + 1
