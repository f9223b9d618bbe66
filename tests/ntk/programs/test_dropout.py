"""Dropout in training: masks of their own for each input, position and call (theory.md 3.20)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, LAST_DIGITS, PEER

import ntk
from ntk.programs import corrected_kernels, tensor_program
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import unrolled

pytestmark = pytest.mark.slow

KEEP = 0.7
X = np.random.default_rng(0).normal(size=(3, 3, 2))
TWICE = X[[0, 1, 0]]


@tensor_program
def windows(net, x, *, keep=KEEP):
    """Dropout twice, between matrices, with all pairs of positions."""
    relu = net.phi("relu")
    z = net.dropout(relu(net.input_matrix("u") @ x + net.bias("b", 0.3)), keep)
    h = net.dropout(relu(net.convolution("w", (2,), 1.2) @ z), 0.5)
    return net.output("v") @ h.pooled()


@tensor_program
def perceptron(net, x):
    relu = net.phi("relu")
    z = net.dropout(relu(net.input_matrix("u") @ x + net.bias("b", 0.3)), KEEP)
    return net.output("v") @ net.dropout(relu(net.matrix("w", 1.2) @ z), 0.5)


@pytest.mark.implicit_promotion
def test_kernels_are_those_of_neural_tangents():
    stax = ntk.load_neural_tangents().stax
    convolution, dense = stax.Conv(1, (2,), padding="SAME", W_std=1.2), stax.Dense(1, 1.2)
    for program, x, x2, layer, end in (
        (windows, X[:2], None, convolution, [stax.GlobalAvgPool()]),
        (perceptron, X[:, 0], None, dense, []),
        (perceptron, X[:, 0], X[:2, 1], dense, []),
    ):
        first = stax.Dense(1, 1.0, 0.3)
        layers = [first, stax.Relu(), stax.Dropout(KEEP), layer, stax.Relu(), stax.Dropout(0.5), *end, stax.Dense(1)]
        found, expected = ntk.infinite_kernels(program, x, x2), stax.serial(*layers)[2](x, x2, ("nngp", "ntk"))
        assert found.samples == 0
        for name in ("nngp", "ntk"):
            one, other = getattr(found, name), getattr(expected, name)
            np.testing.assert_allclose(one, other, rtol=PEER["float64"], atol=PEER["float64"])


def test_an_input_that_stands_twice_has_two_masks():
    """One layer: E relu(u)² is q/2, over p for an input with itself, and not for its double."""

    @tensor_program
    def one_layer(net, x):
        return net.output("v") @ net.dropout(net.phi("relu")(net.input_matrix("u") @ x), KEEP)

    x = TWICE[:, 0]
    variance = np.sum(x[0] ** 2) / 2 / 2
    k = ntk.infinite_kernels(one_layer, x)
    np.testing.assert_allclose(k.nngp[0], [variance / KEEP, k.nngp[1, 0], variance], rtol=LAST_DIGITS["float64"])
    np.testing.assert_allclose(
        jnp.diag(ntk.infinite_kernels(one_layer, x, x).nngp)[0], variance, rtol=LAST_DIGITS["float64"]
    )
    nothing = ntk.infinite_kernels(windows(keep=1.0), TWICE)
    np.testing.assert_allclose(nothing.nngp[0, 1], nothing.nngp[1, 2], rtol=LAST_DIGITS["float64"])


def test_dropout_with_each_position_as_a_vector():
    """Doubles are known by their masks in both readings."""
    k = ntk.infinite_kernels(windows(keep=0.5), TWICE)
    masks = np.concatenate([TWICE.reshape(3, -1), [[n, 0, 0, 0] for n in range(3)]], axis=1)
    forms = forms_of(unrolled(windows.record((3, 2))))
    found = exact_limits(forms, True, 4, {"keep": jnp.asarray(0.5)}, jnp.asarray(masks), None)
    np.testing.assert_allclose(found.ntk, k.ntk, rtol=CLOSED_FORM["float64"])


def test_functions_after_dropout_are_sampled():
    """E of (m relu(u)/p)² relu'd once more: of ReLU, which is homogeneous, the same as before it."""

    @tensor_program
    def after(net, x):
        z = net.phi(lambda u: jnp.maximum(u, 0.0))(net.dropout(net.input_matrix("u") @ x, KEEP))
        return net.output("v") @ z

    @tensor_program
    def before(net, x):
        return net.output("v") @ net.dropout(net.phi("relu")(net.input_matrix("u") @ x), KEEP)

    x = TWICE[:, 0]
    expected = ntk.infinite_kernels(before, x)
    for tile_size in (None, 2):
        found = ntk.infinite_kernels(after, x, samples=2**12, tile_size=tile_size)
        assert found.samples == 2**12
        for name in ("nngp", "ntk"):
            error = np.abs(getattr(found, name) - getattr(expected, name))
            # Six standard errors of 16 replicates, and rounding where nothing is random.
            assert np.all(error <= 6 * getattr(found.standard_error, name) + 1e-9)


def test_networks_draw_masks_of_a_key():
    """Squares of outputs over many keys and networks have the mean Σ, within five standard errors and O(1/n)."""
    model = ntk.finite(perceptron, 16)
    x = jnp.asarray(TWICE[:, 0])
    params = model.init(jax.random.key(0), x)
    plain = model.apply(params, x)
    np.testing.assert_array_equal(plain[0], plain[2])
    dropped = model.apply(params, x, key=jax.random.key(1))
    assert float(dropped[0]) != float(dropped[2])
    np.testing.assert_array_equal(dropped, model.apply(params, x, key=jax.random.key(1)))

    @jax.jit
    @jax.vmap
    def products(key):
        of_params, of_masks = jax.random.split(key)
        f = model.apply(model.init(of_params, x), x, key=of_masks)
        return f[:, None] * f[None]

    draws = products(jax.random.split(jax.random.key(2), 2000))
    error = jnp.std(draws, axis=0) / 2000**0.5
    expected = ntk.infinite_kernels(perceptron, x).nngp
    assert np.all(np.abs(draws.mean(axis=0) - expected) < 5 * error)
    assert expected[0, 2] < 0.8 * expected[0, 0]  # far more than the errors, of some 3 %


@pytest.mark.slow
def test_the_tangent_kernel_of_networks_with_masks():
    model = ntk.finite(perceptron, 256)
    x = jnp.asarray(TWICE[:, 0])

    @jax.jit
    def kernel(key):
        of_params, of_masks = jax.random.split(key)
        jacobian = jax.jacobian(model.apply)(model.init(of_params, x), x, key=of_masks)
        return sum(leaf.reshape(3, -1) @ leaf.reshape(3, -1).T for leaf in jax.tree.leaves(jacobian))

    draws = jnp.stack([kernel(key) for key in jax.random.split(jax.random.key(2), 300)])
    error = jnp.std(draws, axis=0) / 300**0.5
    expected = ntk.infinite_kernels(perceptron, x).ntk
    # Five standard errors, and a bias of order 1/n.
    assert np.all(np.abs(draws.mean(axis=0) - expected) < 5 * error + 4 / 256 * expected)


@pytest.mark.slow
def test_dropout_in_loops_has_masks_for_each_step():
    """The same as the loop written out in Python, in the limit and in its variance over keys."""

    def step(net, h, entries):
        return net.phi("relu")(net.matrix("w") @ net.dropout(h, KEEP) + entries)

    @tensor_program
    def loop(net, x):
        u = net.input_matrix("u") @ x
        return net.output("v") @ net.scan(lambda h, e: (step(net, h, e),) * 2, u[0], u[1:])[0]

    @tensor_program
    def written_out(net, x):
        u = net.input_matrix("u") @ x
        h = u[0]
        for place in range(1, len(x)):
            h = step(net, h, u[place])
        return net.output("v") @ h

    found, expected = (ntk.infinite_kernels(program, TWICE) for program in (loop, written_out))
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    x = jnp.asarray(TWICE)
    for program in (loop, written_out):
        model = ntk.finite(program, 32)

        def product(key, model=model):
            of_params, of_masks = jax.random.split(key)
            f = model.apply(model.init(of_params, x), x, key=of_masks)
            return f[:, None] * f[None]

        draws = jax.jit(jax.vmap(product))(jax.random.split(jax.random.key(2), 4000))
        assert np.all(np.abs(draws.mean(axis=0) - found.nngp) < 5 * jnp.std(draws, axis=0) / 4000**0.5)


def test_refusals():
    for keep in (0.0, 1.5, -1.0):
        with pytest.raises(ValueError, match="keep of dropout is"):
            tensor_program(
                lambda net, x, *, keep=(keep,): net.output("v") @ net.dropout(net.input_matrix("u") @ x, keep[0])
            ).record((3,))
    with pytest.raises(ValueError, match="1 - keep of dropout"):
        ntk.infinite_kernels(windows(keep=1.5), X)
    with pytest.raises(ValueError, match="the program has dropout at"):
        corrected_kernels(perceptron, X[:, 0])
    model = ntk.finite(perceptron, 4)
    with pytest.raises(TypeError, match="key is"):
        model.apply(model.init(jax.random.key(0), X[:, 0]), X[:, 0], key=jnp.ones(3))
