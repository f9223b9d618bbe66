"""Positions that read equal entries have the correlation 1 exactly; positions beside padding do not.

A rounded correlation would move Ċ of ReLU by √ε. So the last bit counts here, and programs compile as users' do.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM

import ntk

DTYPES = ["float64", pytest.param("float32", marks=pytest.mark.slow)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_images_are_equal_at_all_positions(dtype):
    """The kernel of the pooled network is that of a perceptron."""

    @ntk.tensor_program
    def circular(net, x):
        z, phi = x, net.phi("relu")
        for layer in (1, 2):
            z = phi(net.convolution(f"w{layer}", (3, 3), padding="circular") @ z + net.bias(f"b{layer}"))
        return net.output("v") @ z.pooled()

    x = np.broadcast_to(np.random.default_rng(3).normal(size=(4, 1, 1, 3)), (4, 5, 5, 3)).astype(dtype)
    expected = ntk.infinite_ntk(ntk.MLP(depth=2), x[:, 0, 0])
    np.testing.assert_allclose(ntk.infinite_ntk(circular, x), expected, rtol=CLOSED_FORM[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_to_equal_positions_gives_equal_positions(dtype):
    """Where all positions are equal, attention averages one vector with itself."""

    @ntk.tensor_program
    def attention(net, x):
        z = net.phi("relu")(net.input_matrix("u") @ x)
        z = net.phi("relu")(net.matrix("w") @ (net.softmax((z[:, None] * z[None]).mean()) @ z))
        return net.output("v") @ z.pooled()

    x = np.broadcast_to(np.random.default_rng(4).normal(size=(3, 1, 3)), (3, 4, 3)).astype(dtype)
    expected = ntk.infinite_ntk(ntk.MLP(depth=2, b_std=0.0), x[:, 0])
    np.testing.assert_allclose(ntk.infinite_ntk(attention, x), expected, rtol=CLOSED_FORM[dtype])


@pytest.mark.parametrize("what", ["bias", "places", "weights"])
def test_equal_entries_with_different_parameters_differ(what):
    """A bias beside zeros, an embedding of positions, weights of positions: equal inputs, and unequal vectors."""

    @ntk.tensor_program
    def padded(net, x):
        z = 0.0 * (net.input_matrix("u") @ x) + net.bias("b")
        field = {
            "bias": lambda: z.padded((0, 1)),
            "places": lambda: net.bias("p", axes=(2,)) + z[0],
            "weights": lambda: net.table([1.0, 3.0]) * z[0],
        }[what]()
        return net.output("v") @ net.phi("relu")(net.matrix("w") @ field).pooled()

    def relu_dual(q11, q12, q22):
        rho = q12 / np.sqrt(q11 * q22)
        angle = np.arccos(np.clip(rho, -1.0, 1.0))
        return np.sqrt(q11 * q22) * (np.sqrt(1 - rho**2) + (np.pi - angle) * rho) / (2 * np.pi)

    moments = {
        "bias": [[1.0, 0.0], [0.0, 0.0]],
        "places": [[2.0, 1.0], [1.0, 2.0]],
        "weights": [[1.0, 3.0], [3.0, 9.0]],
    }[what]
    with np.errstate(invalid="ignore"):
        dual = [[relu_dual(moments[i][i], moments[i][j], moments[j][j]) for j in range(2)] for i in range(2)]
    found = ntk.infinite_kernels(padded, jnp.ones((1, 1, 1)))
    np.testing.assert_allclose(found.nngp, np.mean(np.nan_to_num(dual)), rtol=CLOSED_FORM["float64"])
