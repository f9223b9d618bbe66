"""`empirical_ntk` of any function, against the dense Jacobian of the whole batch and one einsum."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal, dense_ntk
from flax import nnx

import ntk

PARAMS = {
    "w": np.random.default_rng(0).normal(size=(3, 8)),
    "v": np.random.default_rng(1).normal(size=(8, 6)),
}
X1, X2 = np.random.default_rng(2).normal(size=(7, 3)), np.random.default_rng(3).normal(size=(4, 3))


def function(*outputs):
    """A two-layer network f(params, x) -> (N, *outputs) with at most 6 numbers a row, all nonlinear in the last layer:
    for a linear read-out the kernel of two outputs does not change when they are exchanged.
    """
    size = int(np.prod(outputs))

    @as_written
    def f(params, x):
        return jnp.sin(jnp.tanh(x @ params["w"]) @ params["v"][:, :size]).reshape(len(x), *outputs)

    return f


# outputs, trace_axes, diagonal_axes, the contraction, and the size of what it averages over.
CONTRACTIONS = [
    ((), (-1,), (), "ip,jp->ij", 1),
    ((3,), (-1,), (), "iap,jap->ij", 3),
    ((3,), (), (), "iap,jbp->ijab", 1),
    ((3,), (-1,), (-1,), "iap,jap->ija", 1),
    ((1,), (-1,), (), "iap,jap->ij", 1),
    ((2, 3), (-1,), (), "iabp,jcbp->ijac", 3),
    ((2, 3), (0,), (), "iabp,jacp->ijbc", 2),
    ((2, 3), (-1, 0), (), "iabp,jabp->ij", 6),
    ((2, 3), (), (), "iabp,jcdp->ijacbd", 1),
    ((2, 3), (), (0,), "iabp,jacp->ijabc", 1),
    ((2, 3), (), (0, 1), "iabp,jabp->ijab", 1),
    ((2, 3), (1,), (0,), "iabp,jabp->ija", 3),
    ((2, 3), (0, 1), (-1,), "iabp,jabp->ijb", 2),
]


@pytest.mark.parametrize(("outputs", "trace_axes", "diagonal_axes", "equation", "size"), CONTRACTIONS)
def test_traced_axes_are_averaged_and_diagonal_ones_kept(outputs, trace_axes, diagonal_axes, equation, size):
    f = function(*outputs)
    found = ntk.empirical_ntk(f, PARAMS, X1, X2, trace_axes=trace_axes, diagonal_axes=diagonal_axes)
    assert_equal(found, dense_ntk(f, PARAMS, X1, X2, equation=equation) / size)


def test_one_batch_is_both_sides():
    f = function()
    for x2 in (None, X1, X1.copy()):
        assert_equal(ntk.empirical_ntk(f, PARAMS, X1, x2), dense_ntk(f, PARAMS, X1))


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 100])
def test_tiles_change_nothing(batch_size):
    """7 and 4 rows in tiles of 3: the last tiles are ragged."""
    f = function(2)
    arguments = {"trace_axes": (), "batch_size": batch_size, "method": "jacobian"}
    assert_equal(
        ntk.empirical_ntk(f, PARAMS, X1, X2, **arguments), dense_ntk(f, PARAMS, X1, X2, equation="iap,jbp->ijab")
    )


def test_parameters_that_are_not_floating_are_constants():
    @as_written
    def f(params, x):
        return params["scale"] * x[:, params["columns"]] @ params["w"]

    params = {"w": np.ones(2), "columns": np.array([0, 2]), "scale": 3, "key": jax.random.key(0)}
    assert_equal(ntk.empirical_ntk(f, params, X1, X2), 9.0 * X1[:, [0, 2]] @ X2[:, [0, 2]].T)


def test_inputs_may_be_any_pytree():
    @as_written
    def f(params, x):
        return jnp.where(x["flag"], x["left"] @ params, x["right"] @ params)

    x = {"left": X1, "right": -2 * X1, "flag": np.arange(7) % 2 == 0}
    chosen = np.where(x["flag"][:, None], x["left"], x["right"])
    assert_equal(ntk.empirical_ntk(f, np.ones(3), x), chosen @ chosen.T)


def test_linen_model():
    model = nn.Sequential([nn.Dense(5), nn.tanh, nn.Dense(2)])
    params = jax.jit(as_written(model.init))(jax.random.key(0), X1)
    params = jax.tree.map(lambda leaf: leaf.astype(X1.dtype), params)
    found = ntk.empirical_ntk(model.apply, params, X1, X2)
    assert_equal(found, dense_ntk(model.apply, params, X1, X2, equation="iap,jap->ij") / 2)


def test_nnx_model():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(3, 5, param_dtype=jnp.float64, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
            self.out = nnx.Linear(5, 2, param_dtype=jnp.float64, rngs=rngs)

        def __call__(self, x):
            return self.out(self.dropout(jnp.tanh(self.hidden(x))))

    graph, params, rest = nnx.split(Model(nnx.Rngs(0)), nnx.Param, ...)

    @as_written
    def f(params, x):
        return nnx.merge(graph, params, rest)(x)

    assert_equal(ntk.empirical_ntk(f, params, X1, X2), dense_ntk(f, params, X1, X2, equation="iap,jap->ij") / 2)
    # The whole state, with its random keys and counts, serves as well.
    graph, state = nnx.split(Model(nnx.Rngs(0)))
    whole = ntk.empirical_ntk(lambda state, x: nnx.merge(graph, state)(x), state, X1, X2)
    assert_equal(whole, dense_ntk(f, params, X1, X2, equation="iap,jap->ij") / 2)


def test_nnx_model_that_is_rematerialized():
    """Its variables may be changed only in the transformation in which they were made."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(3, 5, param_dtype=jnp.float64, rngs=rngs)

        @nnx.remat
        def __call__(self, x):
            return jnp.tanh(self.hidden(x))

    graph, params = nnx.split(Model(nnx.Rngs(0)))

    @as_written
    def f(params, x):
        return jnp.tanh(x @ params["hidden"]["kernel"][...] + params["hidden"]["bias"][...])

    def rematerialized(params, x):
        return nnx.merge(graph, params)(x)

    assert "jacobian" not in {row.rule for row in ntk.explain_empirical(rematerialized, params, X1).rows}
    for method in ("auto", "vector_products"):
        found = ntk.empirical_ntk(rematerialized, params, X1, X2, method=method)
        assert_equal(found, dense_ntk(f, params, X1, X2, equation="iap,jap->ij") / 5)


def test_under_transformations():
    f = function(2)
    expected = dense_ntk(f, PARAMS, X1, X2, equation="iap,jap->ij") / 2

    def kernel(params, x1, x2):
        return ntk.empirical_ntk(f, params, x1, x2, batch_size=3)

    assert_equal(jax.jit(kernel)(PARAMS, X1, X2), expected)
    two = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), PARAMS)
    both = jax.vmap(kernel, in_axes=(0, None, None))(two, X1, X2)
    assert_equal(both[0], expected)
    assert_equal(both[1], dense_ntk(f, jax.tree.map(lambda leaf: 2 * leaf, PARAMS), X1, X2, equation="iap,jap->ij") / 2)

    def trace(scale):
        return jnp.trace(kernel({**PARAMS, "w": scale * PARAMS["w"]}, X1, X1))

    # Differences with step 1e-5 are off by about (1e-5)² and 1e-16/1e-5.
    difference = (trace(1 + 1e-5) - trace(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(trace)(1.0), difference, rtol=1e-8)


def test_dtype_is_that_of_the_function():
    params, x = (jax.tree.map(lambda leaf: leaf.astype(np.float32), tree) for tree in (PARAMS, X1))
    found = ntk.empirical_ntk(function(2), params, x)
    assert found.dtype == np.float32
    expected = dense_ntk(function(2), PARAMS, X1, equation="iap,jap->ij") / 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_filter_made_anew_does_not_trace_anew():
    counts = []

    @as_written
    def f(params, x):
        counts[-1] += 1
        return function(2)(params, x)

    for _ in range(2):
        counts.append(0)
        ntk.empirical_ntk(f, PARAMS, X1, param_filter=lambda path: path == "w")
    assert counts[0] > counts[1] == 0
