"""Loops whose states keep a part of their old values: kernels are those of the same steps one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from tolerances import CLOSED_FORM, DIFFERENCE

import ntk
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import unrolled
from ntk.programs.options import numbers_as


@ntk.tensor_program
def leaky(net, x, *, activation="erf", pooling="last", kept=0.7, w_std=1.2):
    """s ↦ a s + φ(W s + U ξ), which begins with U ξ of the first step."""
    W, U, phi = net.matrix("w", w_std), net.input_matrix("u", 0.9), net.phi(activation)

    def step(s, entries):
        s = kept * s + phi(W @ s + U @ entries)
        return s, s

    final, states = net.scan(step, U @ x[0], x[1:])
    return net.output("v") @ (final if pooling == "last" else states.pooled())


def steps_of(net):
    """Steps by name: each a function of a state and of the entries of the input."""
    W, V, U, b = net.matrix("w", 1.2), net.matrix("m", 0.8), net.input_matrix("u", 0.9), net.bias("b", 0.3)
    phi = net.phi("erf")
    return {
        "identity path": lambda s, e: s + phi(W @ s + U @ e),
        "leaky": lambda s, e: 0.7 * s + 0.5 * phi(W @ s + U @ e + b),
        "input": lambda s, e: s + U @ e + phi(W @ s),
        "block": lambda s, e: 0.8 * s + V @ phi(W @ s + U @ e + b) + b,
        "ones": lambda s, e: 0.8 * s + phi(W @ s + U @ e + b) + 0.3,
        "relu": lambda s, e: 0.6 * s + net.phi("relu")(W @ s + U @ e),
    }


def both_ways(name, begins):
    @ntk.tensor_program
    def program(net, x):
        def step(s, entries):
            s = steps_of(net)[name](s, entries)
            return s, s

        first = net.input_matrix("u", 0.9) @ x[0] if begins else net.zero()
        forward, backward = (net.scan(step, first, x, reverse=way)[1] for way in (False, True))
        return net.output("v") @ (forward + backward).pooled() + net.output("q") @ forward[-1]

    return program


@ntk.tensor_program
def two_states(net, x):
    """Two states of which one reads the other, below a loop that reads them."""
    W, V, R, U, phi = *map(net.matrix, ("w", "m", "r")), net.input_matrix("u"), net.phi("erf")

    def step(states, entries):
        s, r = states
        s, r = s + phi(W @ r + U @ entries), 0.5 * s + phi(V @ s)
        return (s, r), s - r

    def above(s, below):
        s = 0.5 * s + phi(R @ below)
        return s, s

    below = net.scan(step, (net.zero(), net.bias("h")), x)[1]
    return net.output("v") @ net.scan(above, net.zero(), below)[1].pooled()


def inputs(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    x[-1] = x[0]  # a duplicate
    x[0, -1] = x[0, 0]  # and, in one input, equal steps
    return x


def one_by_one(program, x1, x2):
    flat = [jnp.asarray(x).reshape(len(x), -1) for x in (x1, x2)]
    forms = forms_of(unrolled(program.record(*dict.fromkeys((x1.shape[1:], x2.shape[1:])))))
    return exact_limits(forms, True, 4, numbers_as(program, jnp.dtype("float64")), *flat)


@pytest.mark.slow
def test_a_linear_state_is_a_filter_of_the_input():
    """Without W the last state is U Σₜ aᵀ⁻ᵗ ξᵗ, whose C and τ are σ² ξ·ξ̄/d."""
    x1, x2 = inputs((2, 4, 3)), inputs((1, 4, 3), seed=1)
    program = leaky(activation="identity", w_std=0.0)
    assert is_on_arrays(forms_of(program.record(x1.shape[1:])))
    filtered = [np.einsum("t,ntd->nd", 0.7 ** np.arange(3, -1, -1), x) for x in (x1, x2)]
    found = ntk.infinite_kernels(program, x1, x2)
    expected = 0.81 * filtered[0] @ filtered[1].T / 3
    np.testing.assert_allclose(found.nngp, expected, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.ntk, 2 * expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_the_traced_program_does_not_grow_with_the_number_of_steps():
    def count(jaxpr):
        return len(jaxpr.eqns) + sum(count(part) for each in jaxpr.eqns for part in jaxprs_in_params(each.params))

    def equations(steps):
        x = jnp.ones((1, steps, 1))
        return count(jax.make_jaxpr(lambda x: ntk.infinite_ntk(leaky(activation="identity"), x))(x).jaxpr)

    assert equations(16) == equations(64)


@pytest.mark.slow
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("name", ["identity path", "leaky", "input", "block", "ones", "relu"])
def test_a_loop_has_the_kernels_of_its_steps(name, begins):
    check(both_ways(name, begins), inputs((2, 3, 2)), inputs((1, 3, 2), seed=1))


def test_the_last_state_of_a_short_loop():
    """Squares have the cheapest dual map that depends on the variances of states."""
    check(leaky(activation="square"), inputs((1, 4, 1)), inputs((1, 4, 1), seed=1))


@pytest.mark.slow
def test_several_states_and_a_loop_above():
    check(two_states, inputs((2, 2, 2)), inputs((1, 2, 2), seed=1))


@pytest.mark.slow
def test_inputs_of_two_lengths():
    check(leaky(pooling="mean"), inputs((2, 4, 2)), inputs((1, 3, 2), seed=1))


def check(program, x1, x2):
    assert is_on_arrays(forms_of(program.record(x1.shape[1:])))
    expected, found = one_by_one(program, x1, x2), ntk.infinite_kernels(program, x1, x2)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_derivatives():
    """In the data, in the factor of the old state and in a standard deviation."""
    x = jnp.asarray(inputs((1, 3, 2)))

    def kernel(at):
        return ntk.infinite_ntk(leaky(kept=at[0], w_std=at[1]), x * at[2])[0, 0]

    step, at = 1e-5, jnp.array([0.7, 1.2, 1.0])
    differences = [(kernel(at + e) - kernel(at - e)) / (2 * step) for e in step * jnp.eye(3)]
    np.testing.assert_allclose(jax.grad(kernel)(at), differences, rtol=DIFFERENCE["float64"])
