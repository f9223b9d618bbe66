"""Loops whose first state is not zero: kernels are those of the same steps one by one, at all lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, DIFFERENCE

import ntk
from ntk.programs.language.loops import Scanned
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.arrays.marks import Marks
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import unrolled
from ntk.programs.options import numbers_as

STDS = {"w_std": 1.2, "u_std": 0.9, "b_std": 0.3}


def cell(net, name="", w_std=1.2, activation="erf"):
    """A step s ↦ φ(W s + U ξ + b), and φ(U ξ + b)."""
    W, U, b = net.matrix(f"w{name}", w_std), net.input_matrix(f"u{name}", 0.9), net.bias(f"b{name}", 0.3)
    phi = net.phi(activation)

    def step(s, entries):
        s = phi(W @ s + U @ entries + b)
        return s, s

    return step, lambda entries: phi(U @ entries + b)


@ntk.tensor_program
def begun_later(net, x, *, activation="erf", w_std=1.2):
    """The mean of all states of a recurrent network, the first of which is written before the loop."""
    step, first = cell(net, w_std=w_std, activation=activation)
    others = net.scan(step, first(x[0]), x[1:])[1]
    return net.output("v") @ ((first(x[0]) + (len(x) - 1) * others.pooled()) / len(x))


FIRST = {
    "bias": lambda net, x: net.bias("h"),
    "bias of the step": lambda net, x: net.bias("b", 0.3),
    "one": lambda net, x: 0.5 * net.one(),
    "input": lambda net, x: net.input_matrix("u", 0.9) @ x[0],
    "field": lambda net, x: (net.input_matrix("u", 0.9) @ x)[-1],
    "function": lambda net, x: net.phi("relu")(net.input_matrix("u", 0.9) @ x[0] + 0.3) - 0.2,
    "sum": lambda net, x: 0.5 * net.phi("erf")(net.input_matrix("m") @ x[0]) + 0.3 * net.one() + net.bias("h"),
    "product": lambda net, x: net.matrix("w", 1.2) @ net.phi("erf")(net.input_matrix("u", 0.9) @ x[0]),
    "encoder": lambda net, x: net.scan(cell(net, "2")[0], net.zero(), x)[0],
    "the same loop": lambda net, x: net.scan(cell(net)[0], net.zero(), x)[0],
}


def both_ways(name):
    """Two loops over the steps that begin alike, and what they begin with."""

    @ntk.tensor_program
    def program(net, x):
        first = FIRST[name](net, x)
        forward, backward = (net.scan(cell(net)[0], first, x, reverse=way)[1] for way in (False, True))
        return net.output("v") @ (forward + 0.5 * backward).pooled() + net.output("q") @ (forward[-1] + first)

    return program


def inputs(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    x[-1] = x[0]  # a duplicate
    x[0, -1] = x[0, 0]  # and, in one input, equal steps
    return x


def one_by_one(program, x1, x2):
    flat = [jnp.asarray(x).reshape(len(x), -1) for x in (x1, x2)]
    forms = forms_of(unrolled(program.record(x1.shape[1:])))
    return exact_limits(forms, True, 4, numbers_as(program, jnp.dtype("float64")), *flat)


@pytest.mark.parametrize("activation", ["identity", pytest.param("erf", marks=pytest.mark.slow)])
def test_a_loop_that_begins_at_the_second_step_is_the_recursion(activation):
    """The recursion is that of `ntk.RNN`, which does not use programs."""
    x1, x2 = inputs((3, 4, 2)), inputs((1, 4, 2), seed=1)
    program, net = begun_later(activation=activation), ntk.RNN(activation=activation, pooling="mean", **STDS)
    assert is_on_arrays(forms_of(program.record(x1.shape[1:])))
    expected = ntk.infinite_ntk(net, x1, x2)
    np.testing.assert_allclose(ntk.infinite_ntk(program, x1, x2), expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_a_loop_has_the_kernels_of_its_steps(name):
    program, x1, x2 = both_ways(name), inputs((2, 3, 2)), inputs((1, 3, 2), seed=1)
    assert is_on_arrays(forms_of(program.record(x1.shape[1:])))
    expected, found = one_by_one(program, x1, x2), ntk.infinite_kernels(program, x1, x2)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=CLOSED_FORM["float64"])


def marks_of(program, x):
    """The words of the state before each step, and after each, (2, T, N); and of what the loop begins with, (2, N)."""
    (loop,) = {node.loop for node in program.record((3, 1)).nodes if isinstance(node, Scanned)}
    marks = Marks(x)
    found = marks.of_loop(loop)
    return np.array(found.states[0]), np.array(found.outs[0]), np.array(marks.of(loop.initial[0]))


@pytest.mark.parametrize("begins", [True, False])
def test_marks_of_states_are_those_of_what_has_been_read(begins):
    """The second input is the first one. The third differs from it at x[0] alone, and the fourth at the last step."""

    @ntk.tensor_program
    def program(net, x):
        step, first = cell(net)
        return net.output("v") @ net.scan(step, first(x[0]) if begins else net.zero(), x[1:])[1].pooled()

    x = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.5, 2.0, 3.0], [1.0, 2.0, 3.5]])
    before, after, first = marks_of(program, x)
    np.testing.assert_array_equal(before[:, 0], first)
    np.testing.assert_array_equal(before[:, 1], after[:, 0])
    same = [[word == word[:, :1] for word in words] for words in (before, after)]
    assert np.all(same[0] == np.array([True, True, not begins, True]))
    assert np.all(same[1] == np.array([[True, True, not begins, True], [True, True, not begins, False]]))


@pytest.mark.slow
def test_inputs_of_several_lengths():
    x, lengths = inputs((3, 4, 2)), np.array([4, 2, 3])
    found = ntk.infinite_ntk(begun_later, x, lengths1=lengths)
    expected = ntk.infinite_ntk(ntk.RNN(activation="erf", pooling="mean", **STDS), x, lengths1=lengths)
    np.testing.assert_allclose(found, expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_derivatives():
    """In the data and in an option, of a kernel of one input."""
    x = jnp.asarray(inputs((1, 3, 2)))

    def kernel(both):
        return ntk.infinite_ntk(begun_later(w_std=both[0]), x * both[1])[0, 0]

    step, at = 1e-5, jnp.array([1.2, 1.0])
    differences = [(kernel(at + e) - kernel(at - e)) / (2 * step) for e in step * jnp.eye(2)]
    np.testing.assert_allclose(jax.grad(kernel)(at), differences, rtol=DIFFERENCE["float64"])
