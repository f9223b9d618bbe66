"""Kernels by tiles against the same kernel at once: sizes that fit and that do not, one batch and two, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, REORDERED, SAME_FORMULA

import ntk
from ntk.infinite_width import mlp, rnn
from ntk.tiles import kernel_by_tiles

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(11, 3)), RNG.normal(size=(7, 3))


def kernel(x1, x2):
    return jnp.exp(x1 @ x2.T)


def by_tiles(kernel, x1, x2, size):
    """A kernel of matrices, for which nothing is prepared."""
    return kernel_by_tiles((lambda x: x, lambda x: x), kernel, jnp.transpose, x1, x2, size)


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
    np.testing.assert_allclose(
        found, jax.grad(lambda x: jnp.sum(weights * kernel(x, x)))(X1), rtol=CLOSED_FORM["float64"]
    )


def test_half_of_the_tiles_is_computed():
    """A kernel that is not symmetric shows which tiles are mirrored: those below the diagonal."""
    found = by_tiles(lambda x1, x2: x1 - 2 * x2.T, jnp.arange(6.0)[:, None], None, 2)
    above = np.arange(6.0)[:, None] - 2 * np.arange(6.0)
    for i, j in np.ndindex(3, 3):
        tile = np.s_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        # A tile on the diagonal is mirrored onto itself.
        np.testing.assert_array_equal(found[tile], above[tile] if i < j else above.T[tile])


@pytest.mark.parametrize("x2", [None, X2], ids=["one batch", "two batches"])
def test_a_side_is_found_once_for_each_row_of_tiles(x2):
    """Counted as the program runs; a short side is evaluated for the inputs it has, not for whole tiles."""
    evaluated = {"side 1": [], "side 2": []}

    def side(name):
        def evaluate(x):
            jax.debug.callback(lambda x: evaluated[name].append(np.asarray(x)), x)
            return 2.0 * x

        return evaluate

    def pair(side1, side2):
        return side1 @ side2.T

    found = kernel_by_tiles((side("side 1"), side("side 2")), pair, jnp.transpose, X1, x2, 10)
    jax.effects_barrier()
    np.testing.assert_allclose(found, 4 * X1 @ (X1 if x2 is None else X2).T, rtol=REORDERED["float64"])
    assert [len(x) for x in evaluated["side 1"]] == [8, 8]  # of 11 inputs, two rows of tiles that overlap
    assert [len(x) for x in evaluated["side 2"]] == ([8, 8, 8] if x2 is None else [7, 7])


def test_trees_of_kernels_with_trailing_axes():
    """Two kernels of vector outputs (N1, N2, O, O); exchanging the sides exchanges the outputs too."""

    def pair(side1, side2):
        return {"outer": jnp.einsum("io,jp->ijop", side1, side2), "inner": side1 @ side2.T}

    def transposed(block):
        return jnp.swapaxes(block, 0, 1) if block.ndim == 2 else block.transpose(1, 0, 3, 2)

    for x2, other in ((None, X1), (X2, X2)):
        found = kernel_by_tiles((jnp.sin, jnp.sin), pair, transposed, X1, x2, 4)
        expected = np.einsum("io,jp->ijop", np.sin(X1), np.sin(other))
        np.testing.assert_allclose(found["outer"], expected, rtol=SAME_FORMULA["float64"])
        np.testing.assert_allclose(found["inner"], np.einsum("ijoo->ij", expected), rtol=REORDERED["float64"])


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_rnn_in_tiles_that_do_not_fit(pooling, monkeypatch):
    x, lengths = RNG.normal(size=(7, 5, 2)), jnp.array([5, 1, 3, 5, 2, 4, 5])
    net = ntk.RNN(activation="square", pooling=pooling)
    monkeypatch.setitem(rnn.TILE, pooling, 3)
    expected = ntk.infinite_kernels(net, x, lengths1=lengths).ntk
    np.testing.assert_allclose(ntk.infinite_ntk(net, x, lengths1=lengths), expected, rtol=CLOSED_FORM["float64"])


def test_mlp_of_more_inputs_than_a_tile(monkeypatch):
    """Of the square Θ = C + Ċ K with C = K₁₁ K₂₂ + 2 K₁₂² and Ċ = 4 K₁₂ (Isserlis), K = ξ·ξ̄/d + 1."""
    monkeypatch.setattr(mlp, "TILE", 4)
    net = ntk.MLP(depth=1, activation="square")
    for x2, other in ((None, X1), (X2, X2)):
        q1, K, q2 = (X1**2).sum(1) / 3 + 1, X1 @ other.T / 3 + 1, (other**2).sum(1) / 3 + 1
        np.testing.assert_allclose(
            ntk.infinite_ntk(net, X1, x2), np.outer(q1, q2) + 6 * K**2, rtol=CLOSED_FORM["float64"]
        )
