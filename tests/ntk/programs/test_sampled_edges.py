"""Sampled limits at the edges: half precision, duplicates, bad inputs under jit, many variables."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from tolerances import CLOSED_FORM, DIFFERENCE

import ntk
from ntk.programs import infinite, tensor_program

X = np.array([[1.0, 2.0], [0.5, -1.0]])


def test_exponents_and_partial_functions_are_allowed():
    """E (|u|^p)² for p = 1.5 is E |u|³ = 2√(2/π) q^(3/2)."""

    @tensor_program
    def program(net, x, *, p=1.5):
        power = net.scalar(functools.partial(jnp.multiply, 1.0))(p)
        return net.output("v") @ (net.phi("abs")(net.input_matrix("u") @ x) ** power)

    found = infinite(program, X[:1])
    assert abs(found.nngp[0, 0] - 2 * np.sqrt(2 / np.pi) * 2.5**1.5) < 6 * found.standard_error.nngp[0, 0]


def test_programs_that_draw_nothing():
    @tensor_program
    def program(net, x):
        return net.output("v", 1.5) @ (net.one() * net.one())

    found = infinite(program, X)
    np.testing.assert_allclose(found.ntk, np.full((2, 2), 2.25))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sampling_in_half_precision(dtype):
    x = jnp.asarray(X, dtype)
    found = infinite(zoo.gated, x, samples=256)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    single = infinite(zoo.gated, x.astype("float32"), samples=256)
    np.testing.assert_allclose(found.ntk.astype("float32"), single.ntk, rtol=float(jnp.finfo(dtype).eps))


@pytest.mark.slow
def test_derivatives_of_sampled_limits_where_eigenvalues_coincide():
    """One-hot inputs: Σ = C(s)·s²K of gates, and s² d/ds² by differences of the same samples."""
    x = jnp.eye(4) * 2.0

    def total(std):
        return infinite(zoo.gated(std=std), x, samples=256).ntk.sum()

    difference = (total(1 + 1e-5) - total(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(1.0), difference, rtol=DIFFERENCE["float64"])


def test_derivatives_of_sampled_limits_with_duplicates():
    x = jnp.asarray(X)[jnp.array([0, 1, 0])]

    def total(std):
        return infinite(zoo.gated(std=std), x, samples=256).ntk.sum()

    difference = (total(1 + 1e-5) - total(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(1.0), difference, rtol=DIFFERENCE["float64"])


def test_not_a_number_stays_where_it_is():
    """As in `ntk.MLP`, under jit a bad input spoils its own row and column alone."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2))).at[0, 0].set(jnp.nan)
    found = jax.jit(lambda x: ntk.infinite_ntk(zoo.mlp(depth=1, activation="tanh"), x))(x)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(
        found[1:, 1:], ntk.infinite_ntk(zoo.mlp(depth=1, activation="tanh"), x[1:]), rtol=CLOSED_FORM["float64"]
    )


def test_beyond_so_many_variables_pairs_are_sampled(monkeypatch):
    """At the border of two vectors and four inputs; the numbers agree within the errors of both."""
    monkeypatch.setattr(sys.modules[infinite.__module__], "JOINT_VARIABLES", 8)
    x = np.random.default_rng(0).normal(size=(5, 3))
    together, apart = infinite(zoo.gated, x[:4]), infinite(zoo.gated, x)
    assert together.joint
    assert not apart.joint
    error = np.hypot(together.standard_error.ntk, apart.standard_error.ntk[:4, :4])
    assert np.abs((together.ntk - apart.ntk[:4, :4]) / error).max() < 6


def test_moments_of_a_vector_and_a_function_that_jumps():
    """E u sign(u) = √(2q/π), by regression and not by the derivative of the sign."""

    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        return net.output("v") @ ((u * net.phi("sign")(u)).mean() * u)

    q = 2.5
    np.testing.assert_allclose(infinite(program, X[:1]).nngp, [[2 * q / np.pi * q]], rtol=CLOSED_FORM["float64"])
