"""Properties of the kernels of every network. Data are random and shapes fixed, so each network is compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CLOSED_FORM

import ntk

N = 6
SHAPES = {ntk.MLP: (N, 3), ntk.RNN: (N, 4, 3)}
NETWORKS = {"mlp": ntk.MLP(depth=3, activation="relu"), "rnn": ntk.RNN(activation="erf", pooling="mean")}
EPS = CLOSED_FORM["float64"]
# Near ρ = ±1 a rounding ε of a covariance changes the angle, and so ReLU's Ċ, by √ε.
ROOT_EPS = 1e-7

drawn = functools.partial(given, seed=st.integers(0, 2**32 - 1), w_std=st.floats(0.1, 2.0), b_std=st.floats(0.0, 1.0))
checked = settings(deadline=None, max_examples=10, derandomize=True)
of_networks = pytest.mark.parametrize("name", NETWORKS)


def network(name, w_std, b_std):
    """The network with other standard deviations, which are arguments of its program."""
    net = NETWORKS[name]
    stds = {"w_std": w_std, "b_std": b_std}
    fields = {"depth": net.depth} if isinstance(net, ntk.MLP) else {"pooling": net.pooling}
    return type(net)(activation=net.activation, **fields, **stds)


def inputs(name, seed):
    return np.random.default_rng(seed).normal(size=SHAPES[type(NETWORKS[name])])


def largest(kernel):
    return float(jnp.abs(kernel).max())


@of_networks
@checked
@drawn()
def test_symmetric_and_positive_semidefinite(name, seed, w_std, b_std):
    """With duplicates, opposites, multiples and zeros among the inputs."""
    rng = np.random.default_rng(seed)
    x = inputs(name, seed)
    factors = rng.choice([-1.0, 0.0, 1.0, 2.0], size=(N,) + (1,) * (x.ndim - 1))
    kernels = ntk.infinite_kernels(network(name, w_std, b_std), x[rng.integers(N, size=N)] * factors)
    for kernel in (kernels.ntk, kernels.nngp):
        tolerance = N * ROOT_EPS * largest(kernel)
        assert largest(kernel - kernel.T) <= tolerance
        assert np.linalg.eigvalsh(kernel)[0] >= -tolerance


@of_networks
@checked
@drawn()
def test_a_permutation_of_the_inputs_permutes_the_kernel(name, seed, w_std, b_std):
    net, x = network(name, w_std, b_std), inputs(name, seed)
    order = np.random.default_rng(seed).permutation(N)
    kernel, permuted = ntk.infinite_ntk(net, x), ntk.infinite_ntk(net, x[order])
    np.testing.assert_allclose(permuted, np.asarray(kernel)[np.ix_(order, order)], rtol=0, atol=EPS * largest(kernel))


@of_networks
@checked
@drawn()
def test_blocks_of_a_kernel_are_kernels_of_the_blocks(name, seed, w_std, b_std):
    net, x = network(name, w_std, b_std), inputs(name, seed)
    kernel, columns = ntk.infinite_ntk(net, x), ntk.infinite_ntk(net, x, x[2:5])
    np.testing.assert_allclose(columns, kernel[:, 2:5], rtol=0, atol=ROOT_EPS * largest(kernel))


@checked
@drawn(scale=st.floats(1e-3, 1e3))
def test_relu_kernels_are_homogeneous(seed, w_std, b_std, scale):
    """Inputs and biases times s, and the kernel times s² (theory.md 1.2): ReLU is positively homogeneous."""
    x = inputs("mlp", seed)
    kernel = ntk.infinite_ntk(network("mlp", w_std, b_std), x)
    # A bias is the weight of an input 1 at each layer, so it scales too.
    scaled = ntk.infinite_ntk(network("mlp", w_std, scale * b_std), scale * x)
    np.testing.assert_allclose(scaled, scale**2 * kernel, rtol=0, atol=EPS * scale**2 * largest(kernel))


@of_networks
@checked
@drawn(v_std=st.floats(0.1, 10.0))
def test_kernels_are_quadratic_in_the_output_weight(name, seed, w_std, b_std, v_std):
    net, x = network(name, w_std, b_std), inputs(name, seed)
    kernel = ntk.infinite_ntk(net, x)
    scaled = jax.tree_util.tree_map_with_path(lambda path, std: v_std if path[0].name == "v_std" else std, net)
    np.testing.assert_allclose(
        ntk.infinite_ntk(scaled, x), v_std**2 * kernel, rtol=0, atol=EPS * largest(kernel) * v_std**2
    )
