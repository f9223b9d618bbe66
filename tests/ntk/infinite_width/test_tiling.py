"""Kernels by tiles against the same kernel at once: sizes that fit and that do not, one batch and two, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk.infinite_width import mlp, rnn
from ntk.infinite_width.tiling import by_tiles, scan_times

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(11, 3)), RNG.normal(size=(7, 3))


def kernel(x1, x2):
    return jnp.exp(x1 @ x2.T)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 11, 20])
@pytest.mark.parametrize("x2", [None, X2], ids=["one batch", "two batches"])
def test_tiles_are_the_matrix(size, x2):
    other = X1 if x2 is None else x2
    # The same products, perhaps summed in another order.
    np.testing.assert_allclose(by_tiles(kernel, X1, x2, size), np.exp(X1 @ other.T), rtol=1e-14)


@pytest.mark.parametrize("size", [2, 4])
def test_derivatives_pass_through_both_sides(size):
    weights = RNG.normal(size=(11, 11))
    found = jax.grad(lambda x: jnp.sum(weights * by_tiles(kernel, x, None, size)))(X1)
    np.testing.assert_allclose(found, jax.grad(lambda x: jnp.sum(weights * kernel(x, x)))(X1), rtol=1e-12)


def test_half_of_the_tiles_is_computed():
    """A kernel that is not symmetric shows which tiles are mirrored: those below the diagonal."""
    found = by_tiles(lambda x1, x2: x1 - 2 * x2.T, jnp.arange(6.0)[:, None], None, 2)
    above = np.arange(6.0)[:, None] - 2 * np.arange(6.0)
    for i, j in np.ndindex(3, 3):
        tile = np.s_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        # A tile on the diagonal is mirrored onto itself.
        np.testing.assert_array_equal(found[tile], above[tile] if i < j else above.T[tile])


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_rnn_in_tiles_that_do_not_fit(pooling, monkeypatch):
    x, lengths = RNG.normal(size=(7, 5, 2)), jnp.array([5, 1, 3, 5, 2, 4, 5])
    net = ntk.RNN(activation="erf", pooling=pooling)
    monkeypatch.setitem(rnn._TILE, pooling, 3)
    expected = ntk.infinite_kernels(net, x, lengths1=lengths).ntk
    np.testing.assert_allclose(ntk.infinite_ntk(net, x, lengths1=lengths), expected, rtol=1e-12)


def test_mlp_of_more_inputs_than_a_tile(monkeypatch):
    monkeypatch.setattr(mlp, "_TILE", 4)
    net = ntk.MLP(depth=2)
    np.testing.assert_allclose(ntk.infinite_ntk(net, X1), ntk.infinite_kernels(net, X1).ntk, rtol=1e-12)
    np.testing.assert_allclose(ntk.infinite_ntk(net, X1, X2), ntk.infinite_kernels(net, X1, X2).ntk, rtol=1e-12)


def test_times_in_order():
    sequences = jnp.asarray(RNG.integers(9, size=(2, 4)).astype(float))
    digits = scan_times(lambda state, now: 10 * state + now, jnp.zeros(2), sequences)
    np.testing.assert_array_equal(digits, np.asarray(sequences) @ [1000, 100, 10, 1])
