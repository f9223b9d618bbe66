"""The NTK in standard parameterization: that of neural-tangents, and that of weights that are trained as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, PEER

import ntk

pytestmark = pytest.mark.slow

WIDTHS = (7, 5, 11)
X1, X2 = (np.random.default_rng(seed).normal(size=(n, 4)) for seed, n in ((0, 3), (1, 2)))
IMAGES = np.random.default_rng(2).normal(size=(2, 3, 4, 2))
MLP = ntk.MLP(depth=3, activation="erf", w_std=1.3, b_std=0.4, v_std=0.8)
OF_MLP = ntk.StandardParameterization(dict(zip(("params/w2", "params/w3", "params/v"), WIDTHS, strict=True)))


def stax_mlp(stax, b_std=0.4, s=(1, 1, 1)):
    """Dense layers of WIDTHS, scaled by `s`: s times as wide, with weights of the variance of layers of WIDTHS."""
    layers = []
    for before, after, width in zip((1, *s[:-1]), s, WIDTHS, strict=True):
        layers += [stax.Dense(width, 1.3, b_std, parameterization="standard", s=(before, after)), stax.Erf()]
    layers.append(stax.Dense(1, 0.8, None, parameterization="standard", s=(s[-1], 1)))
    return stax.serial(*layers)[2]


@pytest.mark.implicit_promotion
@pytest.mark.slow
@pytest.mark.parametrize("b_std", [0.4, 0.0])
def test_mlp_of_neural_tangents(b_std):
    """Biases that start at 0 are trained too."""
    expected = stax_mlp(ntk.load_neural_tangents().stax, b_std)(X1, X2, ("nngp", "ntk"))
    net = ntk.MLP(depth=3, activation="erf", w_std=1.3, b_std=b_std, v_std=0.8)
    found = ntk.infinite_kernels(net, X1, X2, trained=OF_MLP)
    scale = np.abs(expected.ntk).max()
    for theta in (found.ntk, ntk.infinite_ntk(net, X1, X2, trained=OF_MLP)):
        np.testing.assert_allclose(theta, expected.ntk, rtol=0, atol=PEER["float64"] * scale)
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=PEER["float64"])


@pytest.mark.slow
@pytest.mark.implicit_promotion
def test_widths_with_a_scaling_of_neural_tangents():
    """Layers s times as wide, with weights of the variance of layers as wide as ours."""
    stax = ntk.load_neural_tangents().stax
    found = ntk.infinite_ntk(MLP, X1, X2, trained=OF_MLP)
    np.testing.assert_allclose(found, stax_mlp(stax, s=(3, 2, 4))(X1, X2, "ntk"), rtol=PEER["float64"])


@ntk.tensor_program
def cnn(net, x, *, b_std=0.3, pool=False):
    phi = net.phi("erf")
    z = phi(net.convolution("w1", (3, 2), 1.2) @ x + net.bias("b1", b_std))
    z = phi(net.convolution("w2", (2, 2), 0.9, padding="valid") @ z + net.bias("b2", b_std))
    return net.output("v", 1.1) @ (z.pooled() if pool else z)


@pytest.mark.implicit_promotion
@pytest.mark.parametrize(
    ("pool", "b_std"), [(False, 0.3), pytest.param(True, 0.0, marks=pytest.mark.slow)], ids=["flatten", "pool"]
)
def test_cnn_of_neural_tangents(pool, b_std):
    """Fan-ins have the offsets of a window, and the positions that an output weight reads. Its own NTK is the NNGP."""
    stax = ntk.load_neural_tangents().stax
    first = stax.Conv(7, (3, 2), None, "SAME", 1.2, b_std, parameterization="standard")
    second = stax.Conv(5, (2, 2), None, "VALID", 0.9, b_std, parameterization="standard")
    read = stax.GlobalAvgPool() if pool else stax.Flatten()
    last = stax.Dense(1, 1.1, None, parameterization="standard")
    expected = stax.serial(first, stax.Erf(), second, stax.Erf(), read, last)[2](IMAGES, None, ("ntk", "nngp"))
    net, trained = cnn(pool=pool, b_std=b_std), ntk.StandardParameterization({"w2": 7, "v": 5})
    found = ntk.infinite_ntk(net, IMAGES, trained=trained)
    np.testing.assert_allclose(found, expected.ntk, rtol=0, atol=PEER["float64"] * np.abs(expected.ntk).max())
    of_last_layer = ntk.infinite_ntk(net, IMAGES, trained="v")
    np.testing.assert_allclose(of_last_layer, expected.nngp, rtol=0, atol=PEER["float64"] * expected.nngp.max())


@pytest.mark.slow
def test_limits_of_the_kernel_over_the_width():
    """Θ/n tends to the kernel that `parameterized_model` has in the limit, with errors of 1/n times all other parts."""
    for net, x in ((MLP, X1), (ntk.RNN(w_std=0.9, u_std=1.2, b_std=0.4), np.stack([X1, X1[::-1]], axis=1))):
        limit = ntk.dynamics.parameterized_model(net, 4, parameterization="standard").kernel_limit(x)
        found = ntk.infinite_ntk(net, x, trained=ntk.StandardParameterization(width=1e9)) / 1e9
        # The parts of inputs and biases, of order d = 4, over n = 1e9.
        np.testing.assert_allclose(found, limit, rtol=0, atol=1e-7 * np.max(limit))


@pytest.mark.slow
@pytest.mark.parametrize("net", [MLP, ntk.RNN(w_std=0.9, b_std=0.4)], ids=["MLP", "RNN"])
def test_measured_kernels_of_described_networks(net):
    """The measured kernel is that of a model whose weights are drawn with σ/√m and trained as they are."""
    x = X1 if net is MLP else np.stack([X1, X1[::-1]], axis=1)
    model = ntk.dynamics.parameterized_model(net, 6, parameterization="standard")
    expected = ntk.empirical_ntk(model.apply, model.init(jax.random.key(0), x), x)
    params = ntk.finite(net, 6).init(jax.random.key(0), x)
    found = ntk.empirical_kernels(net, params, x, trained=ntk.StandardParameterization(6)).ntk
    np.testing.assert_allclose(found, expected, rtol=CLOSED_FORM["float64"])


def test_measured_kernels_of_programs():
    """The same function of weights θ = (σ/√m) ω, differentiated in θ."""
    program, x, width = ntk.architectures.mlp(depth=2, w_std=1.3, b_std=0.4), X1, 5
    model = ntk.finite(program, width)
    omega = model.init(jax.random.key(1), x)
    scales = {"w1": 1.3 / 2, "w2": 1.3 / 5**0.5, "b1": 0.4, "b2": 0.4, "v": 1 / 5**0.5}
    theta = jax.tree.map(jnp.multiply, scales, omega)

    def f(theta, x):
        return model.apply(jax.tree.map(jnp.divide, theta, scales), x)

    found = ntk.empirical_kernels(program, omega, x, trained=ntk.StandardParameterization(width)).ntk
    np.testing.assert_allclose(found, ntk.empirical_ntk(f, theta, x), rtol=CLOSED_FORM["float64"])


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (0, "width is 0; expected one finite positive number"),
        ("wide", "width is 'wide'; expected one finite positive number"),
        ({"params/w2": 3}, "width has the names 'params/w2'; expected those of 'params/w2', 'params/v'"),
        ({"params/w2": 3, "params/v": -1}, r"width\['params/v'\] is -1; expected one finite positive number"),
    ],
)
def test_refusals_of_widths(plain, width, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plain.infinite_ntk(plain.MLP(depth=2), X1, trained=plain.StandardParameterization(width))


def test_refusals_of_programs(plain):
    """Output weights at each position have no fan-in of their own if lengths differ; σ = 0 has no gradient in ω."""
    standard, x = plain.StandardParameterization(4), np.stack([X1, X1], axis=1)

    @plain.tensor_program
    def flat(net, x):
        return net.output("v") @ (net.input_matrix("u") @ x + net.bias("b", 0.0))

    with pytest.raises(
        ValueError, match="'v' reads 1 positions of some inputs and 2 of others; expected inputs of one"
    ):
        plain.infinite_ntk(flat, x, lengths1=np.array([1, 2, 2]), trained=standard)
    params = plain.finite(flat, 4).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="std of 'b' is 0; expected a positive number for standard parameterization"):
        plain.empirical_kernels(flat, params, x, trained=standard)
