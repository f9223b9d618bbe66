"""The layers of neural-tangents' `stax`, each as lines of a program, have equal kernels (docs/tensor_programs.md)."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import PEER, QUADRATURE

import ntk

pytestmark = pytest.mark.implicit_promotion  # of neural-tangents

SHAPES = {"images": (4, 3, 2), "sequences": (5, 2), "vectors": (3,)}
ADJACENCY = np.random.default_rng(2).random((5, 5))
SIGMOID = 2.4020563531719796  # the constant of stax.Sigmoid_like


def inputs(number, kind):
    """No two are equal, nor two positions, as the kernels of stax lose digits there."""
    scale = 0.5 if kind == "vectors" else 1.0  # variances up to 2, at which quadratures keep 11 digits
    return scale * np.random.default_rng(number).normal(size=(number, *SHAPES[kind]))


class Row(NamedTuple):
    """A layer between an affine map of each position and what an output weight reads.

    Attributes:
        layer: One of `stax`, or several, given the module.
        line: The same of a field, given `net` too.
        of: What the inputs are.
        relu: Whether it is applied to the ReLU of the affine map, so that C and τ differ.
        pool: Whether the output weight reads the mean over positions of what the layer gives, and not this itself.
        rtol: To how much of the largest entry the kernels are equal.
    """

    layer: Callable[[Any], Any]
    line: Callable[[Any, Any], Any]
    of: str = "images"
    relu: bool = True
    pool: bool = True
    rtol: float = PEER["float64"]


def of_numbers(layer, line, rtol=PEER["float64"]):
    """A function of each coordinate."""
    return Row(layer, line, "vectors", relu=False, rtol=rtol)


def dense(net, z):
    return net.matrix("w", 1.2) @ z + net.bias("b", 0.3)


def stax_dense(s):
    return s.Dense(1, 1.2, 0.3)


def convolution(*window, **options):
    return lambda net, z: net.convolution("w", window, 1.2, **options) @ z + net.bias("b", 0.3)


def stax_conv(window, strides, padding, kind="Conv"):
    return lambda s: getattr(s, kind)(1, window, strides, padding, 1.2, 0.3)


def local_convolution(net, z):
    return net.convolution("w", (3, 2), 1.2, strides=(2, 1), shared=False) @ z


def residual_block(net, z):
    """That of a wide residual network where the resolution halves."""
    phi = net.phi("relu")
    y = net.convolution("w1", (3, 3), 1.2, strides=(2, 2)) @ phi(z) + net.bias("b1", 0.3)
    y = net.convolution("w2", (3, 3), 1.2) @ phi(y) + net.bias("b2", 0.3)
    return y + (net.convolution("skip", (3, 3), 1.1, strides=(2, 2)) @ z + net.bias("b3", 0.2))


def stax_residual_block(s):
    conv = {"padding": "SAME", "W_std": 1.2, "b_std": 0.3}
    main = s.serial(s.Relu(), s.Conv(1, (3, 3), (2, 2), **conv), s.Relu(), s.Conv(1, (3, 3), **conv))
    skip = s.Conv(1, (3, 3), (2, 2), padding="SAME", W_std=1.1, b_std=0.2)
    return s.serial(s.FanOut(2), s.parallel(main, skip), s.FanInSum())


def concatenated_channels(net, z):
    """A matrix that reads 2n coordinates is two matrices that read n each, at half of the variance."""
    y = net.matrix("w1", 1.2) @ net.phi("relu")(z) + net.matrix("w2", 1.2) @ net.phi("erf")(z)
    return y / 2**0.5 + net.bias("b", 0.3)


def stax_concatenated_channels(s):
    return s.serial(s.FanOut(2), s.parallel(s.Relu(), s.Erf()), s.FanInConcat(-1), s.Dense(1, 1.2, 0.3))


def concatenated_positions(net, z):
    first, second = net.matrix("w1", 1.2) @ z, net.matrix("w2", 0.8) @ z[:, :2]
    return first.padded((0, 0), (0, 2)) + second.padded((0, 0), (3, 0))


def stax_concatenated_positions(s):
    second = s.serial(s.Index(s.Slice[:, :, :2]), s.Dense(1, 0.8))
    return s.serial(s.FanOut(2), s.parallel(s.Dense(1, 1.2), second), s.FanInConcat(2))


def resized(net, z):
    """Each axis by itself; sums are over the last one."""
    for size, new in ((3, 5), (4, 6)):
        z = (net.table(jax.image.resize(jnp.eye(size), (new, size), "linear")) @ z).transposed()
    return z


def attention(mechanism=None, places=False, places_of_values=False):
    """Keys are queries, and the mean over coordinates is the scaling of scores by 1/n, `linear_scaling` of stax."""

    def line(net, z):
        embedded = z + net.bias("places", 0.7, axes=(len(z),)) if places else z
        keys = net.matrix("k", 1.3) @ embedded
        scores = (keys[:, None] * keys[None]).mean()
        weights = net.scalar(mechanism)(scores) if mechanism else net.softmax(scores)
        values = net.matrix("values", 0.9) @ (embedded if places_of_values else z)
        return net.matrix("o", 1.1) @ (weights @ values) + net.bias("b", 0.3)

    return line


def stax_attention(**options):
    stds = {"W_key_std": 1.3, "W_query_std": 1.3, "W_value_std": 0.9, "W_out_std": 1.1, "b_std": 0.3}
    return lambda s: s.GlobalSelfAttention(1, 1, 1, 1, linear_scaling=True, **stds, **options)


def phi(function):
    return lambda net, z: net.phi(function)(z)


def exp_map(q11, q12, q22):
    return jnp.exp((q11 + q22) / 2 + q12)


def wave(x):
    return jnp.sin(x) + 0.1 * x**2


ROWS = {
    "Dense": Row(stax_dense, dense, "vectors"),
    "Dense of positions": Row(stax_dense, dense),
    "Identity": Row(lambda s: s.Identity(), lambda net, z: z),
    "Dropout in test mode": Row(lambda s: s.Dropout(0.5, "test"), lambda net, z: z),
    "Conv, valid": Row(stax_conv((3, 2), None, "VALID"), convolution(3, 2, padding="valid")),
    "Conv, same": Row(stax_conv((3, 2), (2, 2), "SAME"), convolution(3, 2, strides=(2, 2))),
    "Conv, same, wide": Row(stax_conv((3, 5), None, "SAME"), convolution(3, 5)),
    "Conv, circular": Row(stax_conv((3, 2), (2, 1), "CIRCULAR"), convolution(3, 2, strides=(2, 1), padding="circular")),
    "Conv of sequences": Row(
        stax_conv((3,), (2,), "VALID"), convolution(3, strides=(2,), padding="valid"), "sequences"
    ),
    "ConvLocal": Row(
        stax_conv((3, 2), (2, 1), "SAME", "ConvLocal"),
        lambda net, z: local_convolution(net, z) + net.bias("b", 0.3, axes=(2, 3)),
    ),
    "ConvTranspose, same": Row(
        stax_conv((3, 2), (2, 3), "SAME", "ConvTranspose"),
        lambda net, z: convolution(3, 2, padding="valid")(net, z.padded((2, 1, 1), (1, 2, 2))),
    ),
    "ConvTranspose, valid": Row(
        stax_conv((3, 2), (2, 1), "VALID", "ConvTranspose"),
        lambda net, z: convolution(3, 2, padding="valid")(net, z.padded((2, 2, 1), (1, 1))),
    ),
    "AvgPool": Row(lambda s: s.AvgPool((2, 2), (2, 1)), lambda net, z: z.pooled(2, 2, strides=(2, 1))),
    "AvgPool, same": Row(
        lambda s: s.AvgPool((2, 2), (2, 1), "SAME"),
        lambda net, z: z.padded((0, 0), (0, 1)).pooled(2, 2, strides=(2, 1)),
    ),
    "SumPool": Row(lambda s: s.SumPool((2, 2)), lambda net, z: 4 * z.pooled(2, 2, strides=(1, 1))),
    "GlobalAvgPool": Row(lambda s: s.GlobalAvgPool(), lambda net, z: z.pooled(), pool=False),
    "GlobalSumPool": Row(lambda s: s.GlobalSumPool(), lambda net, z: 12 * z.pooled(), pool=False),
    "Flatten": Row(lambda s: s.Flatten(), lambda net, z: z, pool=False),
    "Index": Row(lambda s: s.Index(s.Slice[:, 1, ::-1]), lambda net, z: z[1, ::-1]),
    "DotGeneral": Row(
        lambda s: s.DotGeneral(rhs=ADJACENCY[0], dimension_numbers=(((1,), (0,)), ((), ()))),
        lambda net, z: net.table(ADJACENCY[:1]) @ z,
        "sequences",
        pool=False,
    ),
    "ImageResize": Row(lambda s: s.ImageResize((-1, 6, 5, -1), "linear"), resized),
    "FanInSum": Row(stax_residual_block, residual_block, relu=False),
    "FanInConcat of channels": Row(stax_concatenated_channels, concatenated_channels, relu=False),
    "FanInConcat of positions": Row(stax_concatenated_positions, concatenated_positions),
    "LayerNorm": Row(
        lambda s: s.LayerNorm(-1, 1e-3), lambda net, z: ntk.architectures.layer_norm(net, z, 1e-3), relu=False
    ),
    "LayerNorm over positions": Row(
        lambda s: s.LayerNorm((1, 2, 3), 1e-3), lambda net, z: ntk.architectures.group_norm(net, z, 1e-3), relu=False
    ),
    "Aggregate": Row(lambda s: s.Aggregate(1), lambda net, z: net.table(ADJACENCY.T) @ z, "sequences"),
    "Aggregate of the rows of images": Row(
        lambda s: s.Aggregate(1),
        lambda net, z: (net.table(ADJACENCY[:4, :4].T) @ z.transposed()).transposed(),
    ),
    "GlobalSelfAttention": Row(stax_attention(), attention(), "sequences"),
    "GlobalSelfAttention, ReLU": Row(stax_attention(attention_mechanism="RELU"), attention(jax.nn.relu), "sequences"),
    "GlobalSelfAttention, absolute values": Row(
        stax_attention(attention_mechanism="ABS"), attention(jnp.abs), "sequences"
    ),
    "GlobalSelfAttention, linear": Row(
        stax_attention(attention_mechanism="IDENTITY"), attention(lambda scores: scores), "sequences"
    ),
    "GlobalSelfAttention, places": Row(
        stax_attention(pos_emb_type="SUM", W_pos_emb_std=0.7), attention(places=True), "sequences"
    ),
    "GlobalSelfAttention, places of values": Row(
        stax_attention(pos_emb_type="SUM", W_pos_emb_std=0.7, val_pos_emb=True),
        attention(None, True, True),
        "sequences",
    ),
    "Relu": of_numbers(lambda s: s.Relu(), phi("relu")),
    "LeakyRelu": of_numbers(lambda s: s.LeakyRelu(0.1), phi("leaky_relu")),
    "ABRelu": of_numbers(lambda s: s.ABRelu(-0.3, 1.2), lambda net, z: 0.45 * z + 0.75 * net.phi("abs")(z)),
    "Abs": of_numbers(lambda s: s.Abs(), phi("abs")),
    "Sign": of_numbers(lambda s: s.Sign(), phi("sign")),
    "Erf": of_numbers(lambda s: s.Erf(0.8, 1.5, 0.4), lambda net, z: 0.8 * net.phi("erf")(1.5 * z) + 0.4),
    "Sigmoid_like": of_numbers(lambda s: s.Sigmoid_like(), lambda net, z: 0.5 * net.phi("erf")(z / SIGMOID) + 0.5),
    "Gelu": of_numbers(lambda s: s.Gelu(), phi("gelu")),
    "Sin": of_numbers(lambda s: s.Sin(0.8, 1.5, 0.4), lambda net, z: 0.8 * net.phi("sin")(1.5 * z + 0.4)),
    "Cos": of_numbers(lambda s: s.Cos(0.8, 1.5), lambda net, z: 0.8 * net.phi("cos")(1.5 * z)),
    "Rbf": of_numbers(lambda s: s.Rbf(0.6), lambda net, z: 2**0.5 * net.phi("sin")(1.2**0.5 * z + np.pi / 4)),
    "Gaussian": of_numbers(lambda s: s.Gaussian(0.8, -0.6), lambda net, z: 0.8 * net.phi("gaussian")(0.6**0.5 * z)),
    "Exp": of_numbers(lambda s: s.Exp(0.8, 0.6), lambda net, z: 0.8 * net.phi("exp")(0.6 * z)),
    "Gabor": of_numbers(lambda s: s.Gabor(), phi(lambda x: jnp.exp(-(x**2)) * jnp.sin(x))),
    "Hermite": of_numbers(
        lambda s: s.serial(s.LayerNorm(), s.Hermite(3)),
        lambda net, z: net.phi(lambda x: (x**3 - 3 * x) / 6**0.5)(ntk.architectures.layer_norm(net, z)),
    ),
    "Monomial": of_numbers(lambda s: s.Monomial(4), lambda net, z: z**4),
    "RectifiedMonomial": of_numbers(lambda s: s.RectifiedMonomial(2), phi(lambda x: jax.nn.relu(x) ** 2)),
    "Polynomial": of_numbers(
        lambda s: s.Polynomial((0.3, 0.5, 0.2)), lambda net, z: 0.3 + 0.5 * z + 0.2 * net.phi("square")(z)
    ),
    "Elementwise": of_numbers(
        lambda s: s.Elementwise(jnp.exp, lambda q12, q11, q22: exp_map(q11, q12, q22)),
        phi(ntk.Activation("own", jnp.exp, exp_map, exp_map)),
    ),
    "ElementwiseNumerical": of_numbers(
        lambda s: s.ElementwiseNumerical(wave, 40), phi(wave), rtol=QUADRATURE["float64"]
    ),
}
FAST = (
    "Conv, circular",
    "AvgPool, same",
    "Flatten",
    "Aggregate of the rows of images",
    "Erf",
)


def stax_network(s, row):
    layers = [s.Dense(1, 1.3, 0.2), s.Relu(), row.layer(s), s.GlobalAvgPool(), s.Dense(1, 1.1)]
    kept = (True, row.relu, True, row.pool and row.of != "vectors", True)
    return s.serial(*(layer for layer, keep in zip(layers, kept, strict=True) if keep))[2]


def network(row):
    @ntk.tensor_program
    def same(net, x):
        z = net.input_matrix("u", 1.3) @ x + net.bias("b0", 0.2)
        z = row.line(net, net.phi("relu")(z) if row.relu else z)
        return net.output("v", 1.1) @ (z.pooled() if row.pool else z)

    return same


def kernels_of_stax(row, x1, x2, **graphs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what stax has to say of its quadratures and of tied queries and keys
        return stax_network(ntk.load_neural_tangents().stax, row)(x1, x2, ("nngp", "ntk"), **graphs)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ROWS]
)
def test_a_layer_of_stax_is_a_line_of_a_program(name):
    row = ROWS[name]
    x1, x2 = inputs(3, row.of), inputs(2, row.of)
    nodes = x1.shape[1]
    graphs = {"pattern": tuple(np.broadcast_to(ADJACENCY[:nodes, :nodes], (len(x), nodes, nodes)) for x in (x1, x2))}
    expected = kernels_of_stax(row, x1, x2, **(graphs if "Aggregate" in name else {}))
    found = ntk.infinite_kernels(network(row), x1, x2)
    assert found.samples == 0
    for kernel, peer in ((found.nngp, expected.nngp), (found.ntk, expected.ntk)):
        np.testing.assert_allclose(kernel, peer, rtol=0, atol=row.rtol * np.abs(peer).max())


def test_a_product_of_branches_is_sampled():
    """FanInProd: E u ū · E w w̄ of independent u and w, within four of the standard errors that are stated."""

    def layer(s):
        return s.serial(s.FanOut(2), s.parallel(s.Dense(1, 1.2), s.Dense(1, 0.9, 0.3)), s.FanInProd())

    def line(net, z):
        return (net.matrix("w1", 1.2) @ z) * (net.matrix("w2", 0.9) @ z + net.bias("b", 0.3))

    row = Row(layer, line, "vectors")
    x1, x2 = inputs(3, row.of), inputs(2, row.of)
    expected, found = kernels_of_stax(row, x1, x2), ntk.infinite_kernels(network(row), x1, x2, samples=4096)
    for kernel, peer, error in (
        (found.nngp, expected.nngp, found.standard_error.nngp),
        (found.ntk, expected.ntk, found.standard_error.ntk),
    ):
        assert np.all(np.abs(kernel - peer) < 4 * error)
        assert np.all(error < 0.1 * np.abs(peer).max())  # so that the line above says something
