"""Loops of which no rule gives the kernels, told from the recorded program: they are read position by position."""

import numpy as np
import pytest

import ntk
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.evaluation import forms_of
from ntk.programs.limit.loops.kernels import samples_loops


def state_and_gaussian(net, x, s, z):
    """A function of a state and of a Gaussian vector together is not one of a Gaussian vector."""
    return net.phi("erf")(s + z)


def two_readings(net, x, s, z):
    """A matrix that reads a state and another vector: the Gaussian vectors of unequal steps meet."""
    W, tanh, sigmoid = net.matrix("w"), net.phi("tanh"), net.phi("sigmoid")
    return sigmoid(W @ s) * tanh(W @ tanh(z))


def outer_product(net, x, s, z):
    """A product of a matrix outside of the loop, and the same matrix within."""
    W, tanh, sigmoid = net.matrix("w"), net.phi("tanh"), net.phi("sigmoid")
    outside = W @ tanh(net.input_matrix("q") @ x[0])
    return sigmoid(W @ s + z) * tanh(outside)


def outer_function(net, x, s, z):
    """A function of a Gaussian vector outside of the loop, which is no Gaussian vector of the step."""
    return net.phi("sigmoid")(net.matrix("w") @ s + z) * net.phi("tanh")(net.input_matrix("q") @ x[0])


def outer_sum(net, x, s, z):
    """A sum outside of the loop, which a product reads."""
    return net.phi("sigmoid")(net.matrix("w") @ s + z) * (net.input_matrix("q") @ x[0] + net.bias("b"))


def one_reading(net, x, s, z):
    """The same of states alone, which has rules."""
    W, tanh, sigmoid = net.matrix("w"), net.phi("tanh"), net.phi("sigmoid")
    return sigmoid(W @ s) * tanh(W @ s + z)


UNEQUAL, OUTSIDE = [two_readings], [outer_product, outer_function, outer_sum]


def forms(after):
    @ntk.tensor_program
    def program(net, x):
        def step(s, z):
            s = after(net, x, s, z)
            return s, s

        return net.output("v") @ net.scan(step, net.zero(), net.input_matrix("u") @ x)[0]

    return forms_of(program.record((3, 2)))


@pytest.mark.parametrize("after", [state_and_gaussian, *UNEQUAL, *OUTSIDE, one_reading])
def test_what_is_sampled_has_no_closed_form(after):
    assert len(forms(after).sampled_loops) == 1
    assert not is_on_arrays(forms(after))


@pytest.mark.parametrize("after", [*UNEQUAL, *OUTSIDE])
def test_what_has_no_units_of_its_own_is_not_sampled_step_by_step(after):
    assert not samples_loops(forms(after))
    assert samples_loops(forms(one_reading))


def test_a_product_with_a_function_outside_is_not_zero():
    """One step h = σ(0) tanh(q ξ): a quarter of the second moment of tanh, by quadrature."""

    @ntk.tensor_program
    def program(net, x):
        outside, sigmoid = net.phi("tanh")(net.input_matrix("q") @ x[0]), net.phi("sigmoid")

        def step(s, entries):
            s = sigmoid(net.matrix("w") @ s) * outside
            return s, s

        return net.output("v") @ net.scan(step, net.zero(), x)[0]

    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    expected = weights @ np.tanh(1.5 * nodes) ** 2 / np.sqrt(2 * np.pi) / 4
    found = ntk.infinite_kernels(program, np.array([[[1.5]]]), samples=2**10)
    assert abs(found.nngp[0, 0] - expected) < 4 * found.standard_error.nngp[0, 0]
    assert found.standard_error.nngp[0, 0] < 0.01 * expected
