"""What a program records: equal things once, zero left out; options, and the input as an array."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from tolerances import SAME_FORMULA

import ntk
from ntk.programs import architectures, finite, infinite, tensor_program
from ntk.programs.language.atoms import MatMul, Nonlin


def recorded(fn, shape=(3,)):
    return tensor_program(fn).record(shape)


def test_equal_vectors_are_one_node():
    def program(net, x):
        U, W, phi = net.input_matrix("U"), net.matrix("W"), net.phi("tanh")
        first = W @ phi(U @ x + 2.0 * (U @ x))
        second = net.matrix("W") @ net.phi("tanh")(3.0 * (net.input_matrix("U") @ x))
        assert first is second
        assert first - second is net.zero()
        assert first * second is second * first
        assert first * net.zero() is net.zero()
        assert W @ net.zero() is net.zero()
        assert 0.0 + first is first
        assert first.T is first if hasattr(first, "T") else W.T.T == W
        return net.output("v") @ first

    nodes = recorded(program).nodes
    assert sum(isinstance(node, MatMul) for node in nodes) == 1
    assert sum(isinstance(node, Nonlin) for node in nodes) == 1


def test_a_program_is_recorded_once_for_a_shape():
    calls = itertools.count()  # a list would be another content of the function at every call

    @tensor_program
    def program(net, x, *, std=1.0):
        next(calls)
        return net.output("v", std) @ (net.input_matrix("U") @ x)

    assert program.record((3,)) is program(std=2.0).record((3,))
    assert next(calls) == 1
    assert program.record((4,)) is not program.record((3,))
    assert next(calls) == 3


def test_the_input_is_indexed_as_an_array():
    def program(net, x):
        assert x.shape == (4, 5, 2)
        patch = x[1:3, -2:].reshape(-1)
        places = np.arange(40).reshape(4, 5, 2)
        np.testing.assert_array_equal(patch.places, places[1:3, -2:].ravel())
        assert [row.shape for row in x] == [(5, 2)] * 4
        return net.output("v") @ (net.input_matrix("U") @ patch)

    recorded(program, (4, 5, 2))


def test_options_are_numbers_or_choices():
    program = zoo.mlp(depth=2, w_std=0.5)
    assert program.choices["depth"] == 2
    leaves = jax.tree.leaves(program)
    assert sorted(leaves) == [0.3, 0.5, 0.7]
    assert jax.tree.map(lambda leaf: 2 * leaf, program).numbers["w_std"] == 1.0
    with pytest.raises(TypeError, match="program mlp is given option 'width'; expected one of: w_std"):
        zoo.mlp(width=3)
    with pytest.raises(ValueError, match=r"option w_std has shape \(2,\); expected one real number"):
        zoo.mlp(w_std=np.ones(2))


def test_options_may_be_computed_with():
    """std = s² in the program is std given as s²."""

    @tensor_program
    def program(net, x, *, s=1.5):
        return net.output("v", (s * s + s**2) / 2.0) @ net.phi("relu")(
            (0.0 - (-s)) * (net.input_matrix("U", s - 0.5) @ x)
        )

    @tensor_program
    def plain(net, x, *, s=1.0):
        return net.output("v", 2.25) @ net.phi("relu")(1.5 * (net.input_matrix("U", 1.0) @ x))

    x = np.random.default_rng(0).normal(size=(3, 2))
    np.testing.assert_allclose(infinite(program, x).ntk, infinite(plain, x).ntk, rtol=SAME_FORMULA["float64"])


def test_parameters_do_not_depend_on_the_length():
    """Not even where a first state of zeros leaves a matrix nothing to do."""
    sequences = np.random.default_rng(0).normal(size=(2, 2, 2))
    model = finite(architectures.rnn, 4)
    short = model.init(jax.random.key(0), sequences[:, :1])
    assert jax.tree.map(jnp.shape, short) == jax.tree.map(jnp.shape, model.init(jax.random.key(0), sequences))
    assert jax.jit(model.apply)(short, sequences).shape == (2,)
    assert ntk.empirical_kernels(architectures.rnn, short, sequences[:, :1]).ntk.shape == (2, 2)
