"""Exact limits against the explicit recursions, in tiles, in single precision, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from tolerances import CLOSED_FORM

import ntk
from ntk.programs import infinite
from ntk.programs.architectures import rnn
from ntk.programs.limit.demand import Demand


def inputs(*shape, seed=0):
    """Random inputs; the second of them is the first again, and the third its opposite."""
    x = np.random.default_rng(seed).normal(size=shape)
    x[1], x[2] = x[0], -x[0]
    return jnp.asarray(x)


def assert_close(found, expected, tolerance):
    """To within `tolerance` of the largest entry."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# Sums in another order: some hundred roundings.
ROUNDING = 1e-13


@pytest.mark.parametrize(("activation", "both"), [("relu", True), pytest.param("tanh", False, marks=pytest.mark.slow)])
def test_mlp_is_the_recursion(activation, both):
    x1, x2 = inputs(6, 4), inputs(5, 4, seed=1) if both else None
    found = infinite(zoo.mlp(activation=activation), x1, x2)
    expected = ntk.infinite_kernels(ntk.MLP(depth=3, activation=activation, w_std=1.3, b_std=0.3, v_std=0.7), x1, x2)
    assert found.samples == 0
    assert found.joint
    assert found.one_batch is not both
    assert not np.any(found.standard_error.ntk)
    assert_close(found.ntk, expected.ntk, ROUNDING)
    assert_close(found.nngp, expected.nngp, ROUNDING)
    for layer in (1, 2, 3):
        C = expected.C[layer - 1]
        assert_close(found.C[f"h{layer}"], 1.3**2 * C + 0.3**2, ROUNDING)
        assert_close(found.D[f"h{layer}"], expected.D[layer - 1], ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "activation", "both"),
    [("last", "erf", False), ("mean", "relu", True)],
)
def test_rnn_is_the_recursion(pooling, activation, both):
    x1, x2 = inputs(5, 3, 3), inputs(4, 3, 3, seed=1) if both else None
    x1 = x1.at[3, :2].set(x1[0, :2])  # the beginning of another
    options = {"activation": activation, "pooling": pooling, "w_std": 1.3, "u_std": 0.8, "b_std": 0.3, "v_std": 1.2}
    found, net = infinite(rnn(**options), x1, x2), ntk.RNN(**options)
    expected = ntk.infinite_kernels(net, x1, x2)
    assert_close(found.ntk, expected.ntk, ROUNDING)
    assert_close(found.nngp, expected.nngp, ROUNDING)


def test_a_long_chain_is_not_a_deep_recursion():
    """The chain of quantities is not on Python's stack, which is limited to a thousand frames."""

    def count(number):
        return 1 + (yield [(count, number - 1)])[0] if number else 0

    assert Demand()((count, 5000)) == [5000]


@pytest.mark.slow
def test_tiles_change_nothing():
    x = inputs(7, 3)
    whole = infinite(zoo.layer_norm_mlp, x)
    tiled = infinite(zoo.layer_norm_mlp, x, tile_size=3)
    # Near ρ = ±1, ReLU's derivative has the square root of rounding.
    assert_close(tiled.ntk, whole.ntk, 1e-8)


def test_single_precision_stays():
    x, program = inputs(4, 3), zoo.residual(depth=1)
    single, double = infinite(program, x.astype(jnp.float32)), infinite(program, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {jnp.dtype("float32")}
    assert_close(single.ntk, double.ntk, 1e-4)


def test_gradients_in_options():
    x, step = inputs(3, 3), 1e-5

    @jax.jit
    def total(w_std):
        return infinite(zoo.mlp(depth=2, activation="erf", w_std=w_std), x).ntk.sum()

    several = jax.jit(jax.vmap(total))(jnp.array([1.3 - step, 1.3 + step, 1.3]))
    slope = (several[1] - several[0]) / (2 * step)
    value, found = jax.value_and_grad(total)(1.3)
    # Central differences: step² and the rounding of the sum over the step.
    np.testing.assert_allclose(found, slope, rtol=1e-7)
    np.testing.assert_allclose(several[2], value, rtol=CLOSED_FORM["float64"])
