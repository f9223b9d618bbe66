"""Tokens that are looked up: every reading is that of an input matrix applied to one-hot vectors (theory.md 3.18)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, LAST_DIGITS, REORDERED

import ntk
from ntk.programs import corrected_kernels, tensor_program
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import unrolled

TOKENS, STD = 4, 0.8
X1 = np.array([[0, 1, 1], [2, 1, 0], [0, 1, 1], [3, 3, 3]])  # one input twice, and one token alone
X2 = np.array([[3, 0, 1], [2, 1, 0]])


def one_hot(x):
    return np.eye(TOKENS)[np.asarray(x)]


def looked_up(net, x):
    return net.embedding("e", TOKENS, STD) @ x


def multiplied(net, x):
    return net.input_matrix("e", STD * TOKENS**0.5) @ x


def attending(net, z):
    """A function at each position, windows, attention and a read-out of each position."""
    z = net.watch("z", z)
    h = net.convolution("c", (2,)) @ net.phi("relu")(z)
    return net.output("v") @ (h + net.softmax((h[:, None] * h[None]).mean()) @ (net.matrix("w") @ h))


def recurrent(net, z):
    W, phi = net.matrix("w"), net.phi("relu")

    def step(h, entries):
        h = phi(W @ h + entries)
        return h, h

    return net.output("v") @ net.scan(step, net.zero(), z)[1].pooled()


def gated(net, z):
    W, G, phi, gate = net.matrix("w"), net.matrix("g"), net.phi("tanh"), net.phi("sigmoid")

    def step(h, entries):
        h = gate(G @ h + entries) * phi(W @ h + entries)
        return h, h

    return net.output("v") @ net.scan(step, net.zero(), z)[0]


def both(network):
    """The network on tokens, and the same on one-hot vectors."""
    return (tensor_program(lambda net, x, read=read: network(net, read(net, x))) for read in (looked_up, multiplied))


def assert_same_kernels(found, expected, rtol):
    for name in ("ntk", "nngp", "C", "D"):
        for one, other in zip(*map(jax.tree.leaves, (getattr(found, name), getattr(expected, name))), strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


@pytest.mark.slow
@pytest.mark.parametrize("network", [attending, pytest.param(recurrent, marks=pytest.mark.slow)])
def test_limits_are_those_of_one_hot_vectors(network):
    program, expected = both(network)
    assert_same_kernels(
        ntk.infinite_kernels(program, X1, X2),
        ntk.infinite_kernels(expected, one_hot(X1), one_hot(X2)),
        CLOSED_FORM["float64"],
    )


@pytest.mark.slow
def test_standard_parameterization_is_that_of_one_hot_vectors():
    """The input matrix has σ√V and the fan-in V, and the embedding σ and 1."""
    program, expected = both(recurrent)
    standard = ntk.StandardParameterization(width=64)
    found = ntk.infinite_ntk(program, X1, trained=standard)
    other = ntk.infinite_ntk(expected, one_hot(X1), trained=standard)
    np.testing.assert_allclose(found, other, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("network", [recurrent, pytest.param(attending, marks=pytest.mark.slow)])
def test_limits_with_each_position_as_a_vector(network):
    """A function of one token twice is at correlation 1 by its marks in the one, and by K in the other reading."""
    program, _ = both(network)
    found = ntk.infinite_kernels(program, X1)
    positions = exact_limits(forms_of(unrolled(program.record((3,)))), True, 4, {}, jnp.asarray(X1, float), None)
    assert found.samples == 0
    np.testing.assert_allclose(found.ntk, positions.ntk, rtol=CLOSED_FORM["float64"])


def test_a_token_has_the_correlation_one_with_itself():
    """f = v·mean_p relu(E x_p): Σ is the mean of σ²/2 over equal tokens and of σ²/(2π) over different ones."""

    @tensor_program
    def averaged(net, x):
        return net.output("v") @ net.phi("relu")(net.embedding("e", TOKENS, STD) @ x).pooled()

    equal = (X1[:, None, :, None] == X2[None, :, None, :]).mean(axis=(2, 3))
    expected = STD**2 * (equal / 2 + (1 - equal) / (2 * np.pi))
    k = ntk.infinite_kernels(averaged, X1, X2)
    np.testing.assert_allclose(k.nngp, expected, rtol=LAST_DIGITS["float64"])
    np.testing.assert_allclose(k.ntk - k.nngp, STD**2 * equal / 2, rtol=CLOSED_FORM["float64"])
    assert ntk.infinite_kernels(averaged, X1[:1]).ntk.dtype == jnp.result_type(float)


@pytest.mark.slow
def test_sampled_loops_over_tokens():
    """The same points, and the same covariances of what is drawn."""
    program, expected = both(gated)
    found = ntk.infinite_kernels(program, X1[:2], samples=256)
    assert found.samples == 256
    assert_same_kernels(found, ntk.infinite_kernels(expected, one_hot(X1[:2]), samples=256), CLOSED_FORM["float64"])


@pytest.mark.slow
def test_corrected_kernels_of_tokens():
    """An average over coordinates, which the check refuses."""

    def average(net, z):
        h = net.matrix("w") @ net.watch("z", z[0] + 0.5 * z[1])
        return (h * h).mean()

    program, expected = both(average)
    found = corrected_kernels(program, X1[:2, :2], samples=256)
    other = corrected_kernels(expected, one_hot(X1[:2, :2]), samples=256)
    assert_same_kernels(found, other, CLOSED_FORM["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("network", [recurrent, pytest.param(attending, marks=pytest.mark.slow)])
def test_networks_look_rows_up(network):
    """The same outputs and kernels as products with one-hot vectors."""
    program, expected = both(network)
    model, other = ntk.finite(program, 8), ntk.finite(expected, 8)
    params = model.init(jax.random.key(0), X1)
    assert params["e"].shape == (TOKENS, 8)
    np.testing.assert_allclose(
        jax.jit(model.apply)(params, X1), other.apply(params, one_hot(X1)), rtol=REORDERED["float64"]
    )
    assert_same_kernels(
        ntk.empirical_kernels(program, params, X1, X2),
        ntk.empirical_kernels(expected, params, one_hot(X1), one_hot(X2)),
        CLOSED_FORM["float64"],
    )


def test_the_empirical_kernel_of_a_large_vocabulary_is_that_of_lookups():
    """Nothing of the size of the embedding is made for an input: it has 5000 · 32 entries of 8 bytes."""

    @tensor_program
    def averaged(net, x):
        return net.output("v") @ net.phi("relu")(net.embedding("e", 5000) @ x).pooled()

    model = ntk.finite(averaged, 32)
    params = model.init(jax.random.key(0), X1)
    explained = ntk.explain_empirical(model.apply, params, X1)
    (row,) = (row for row in explained.rows if row.parameters == ("e",))
    assert (row.uses, row.rule) == (("lookup",), "gram")
    assert explained.bytes_per_input < 5000 * 32 * 8 / 10


@pytest.mark.slow
def test_tokens_beyond_a_length_are_not_read():
    program, _ = both(recurrent)
    padded, lengths = np.array([[1, 2, -1], [3, 0, 1]]), np.array([2, 3])
    found = ntk.infinite_kernels(program, padded, lengths1=lengths)
    alone = ntk.infinite_kernels(program, padded[:1, :2], padded[1:])
    np.testing.assert_allclose(found.ntk[0, 1], alone.ntk[0, 0], rtol=REORDERED["float64"])
    model = ntk.finite(program, 4)
    params = model.init(jax.random.key(0), padded[1:])
    np.testing.assert_allclose(
        model.apply(params, padded, lengths)[:1], model.apply(params, padded[:1, :2]), rtol=REORDERED["float64"]
    )


def test_what_is_no_token_is_refused():
    program, _ = both(recurrent)
    for reading in (ntk.infinite_kernels, corrected_kernels, lambda p, x: ntk.finite(p, 4).init(jax.random.key(0), x)):
        with pytest.raises(TypeError, match="expected integers: the program looks them up at"):
            reading(program, X1 * 1.0)
        for token in (-1, TOKENS):
            with pytest.raises(ValueError, match=f"has the token {token}; expected 0 to {TOKENS - 1}"):
                reading(program, np.where(X1 == 3, token, X1))
    with pytest.raises(TypeError, match="x1 has dtype int64; expected a real floating-point array"):
        ntk.infinite_kernels(ntk.architectures.mlp, X1)
    for vocabulary in (0, 2**24 + 1):
        with pytest.raises(ValueError, match="vocabulary of 'e' is"):
            tensor_program(lambda net, x, v=vocabulary: net.output("v") @ (net.embedding("e", v) @ x)).record((3,))


def test_an_embedding_is_used_in_one_way():
    """Neither beside a reader of numbers, nor as an output weight."""

    @tensor_program
    def mixed(net, x):
        return net.output("v") @ (net.embedding("e", 3) @ x[0] + net.input_matrix("u") @ x)

    with pytest.raises(ValueError, match=r"looks its input up at .* and reads it as numbers at"):
        mixed.record((3,))

    @tensor_program
    def tied(net, x):
        return net.output("e") @ (net.matrix("w") @ (net.embedding("e", 3) @ x[0]))

    with pytest.raises(ValueError, match="parameter 'e' is asked for as a different one"):
        ntk.check_gia(tied, (3,))
    program, _ = both(recurrent)
    assert ntk.check_gia(program, X1)
