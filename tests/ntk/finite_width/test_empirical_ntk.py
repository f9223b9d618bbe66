"""`empirical_ntk` of any function, against the dense Jacobian of the whole batch and one einsum."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal, dense, dense_ntk
from flax import nnx
from model_zoo import normal
from refusals import assert_refused
from tolerances import CLOSED_FORM

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


# Of outputs: trace_axes, diagonal_axes, the contraction, and the size of what it averages over.
CONTRACTIONS = {
    (): [((-1,), (), "ip,jp->ij", 1)],
    (1,): [((-1,), (), "iap,jap->ij", 1)],
    (3,): [
        ((-1,), (), "iap,jap->ij", 3),
        ((), (), "iap,jbp->ijab", 1),
        ((-1,), (-1,), "iap,jap->ija", 1),
    ],
    (2, 3): [
        ((-1,), (), "iabp,jcbp->ijac", 3),
        ((0,), (), "iabp,jacp->ijbc", 2),
        ((-1, 0), (), "iabp,jabp->ij", 6),
        ((), (), "iabp,jcdp->ijacbd", 1),
        ((), (0,), "iabp,jacp->ijabc", 1),
        ((), (0, 1), "iabp,jabp->ijab", 1),
        ((1,), (0,), "iabp,jabp->ija", 3),
        ((0, 1), (-1,), "iabp,jabp->ijb", 2),
    ],
}


@pytest.mark.parametrize("outputs", CONTRACTIONS)
def test_traced_axes_are_averaged_and_diagonal_ones_kept(outputs):
    f = function(*outputs)

    @jax.jit
    def kernels(params, x1, x2):
        return [
            ntk.empirical_ntk(f, params, x1, x2, trace_axes=trace_axes, diagonal_axes=diagonal_axes)
            for trace_axes, diagonal_axes, *_ in CONTRACTIONS[outputs]
        ]

    expected = dense(f, PARAMS, X1, X2)
    for found, (_, _, equation, size) in zip(kernels(PARAMS, X1, X2), CONTRACTIONS[outputs], strict=True):
        assert_equal(found, expected.ntk(equation) / size)


def test_one_batch_is_both_sides():
    f = function()

    @jax.jit
    def kernels(params, x, copy):
        return [ntk.empirical_ntk(f, params, x, other) for other in (None, x, copy)]

    expected = dense_ntk(f, PARAMS, X1)
    for found in kernels(PARAMS, X1, X1.copy()):
        assert_equal(found, expected)


def test_tiles_change_nothing():
    """7 and 4 rows in tiles of one size after the other; in tiles of 3 the last ones are ragged."""
    f = function(2)

    @jax.jit
    def kernels(params, x1, x2):
        options = {"trace_axes": (), "method": "jacobian"}
        return [ntk.empirical_ntk(f, params, x1, x2, batch_size=size, **options) for size in (1, 3, 4, 7, 100)]

    expected = dense(f, PARAMS, X1, X2).ntk("iap,jbp->ijab")
    for found in kernels(PARAMS, X1, X2):
        assert_equal(found, expected)


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
    shapes = jax.eval_shape(as_written(model.init), jax.random.key(0), X1)
    params = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes)
    found = jax.jit(functools.partial(ntk.empirical_ntk, as_written(model.apply)))(params, X1, X2)
    assert_equal(found, dense(as_written(model.apply), params, X1, X2).ntk("iap,jap->ij") / 2)


def split(model, *filters):
    """The graph of an NNX model and its state, or its parameters and the rest, made by one program."""

    def made():
        return nnx.split(model(nnx.Rngs(0)), *filters)

    states = jax.jit(lambda: made()[1:])()
    return nnx.split(nnx.eval_shape(lambda: model(nnx.Rngs(0))), *filters)[0], *states


def test_nnx_model():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(3, 5, param_dtype=jnp.float64, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
            self.out = nnx.Linear(5, 2, param_dtype=jnp.float64, rngs=rngs)

        def __call__(self, x):
            return self.out(self.dropout(jnp.tanh(self.hidden(x))))

    graph, params, rest = split(Model, nnx.Param, ...)

    @as_written
    def f(params, x):
        return nnx.merge(graph, params, rest)(x)

    expected = dense(f, params, X1, X2).ntk("iap,jap->ij") / 2
    assert_equal(ntk.empirical_ntk(f, params, X1, X2), expected)
    # The whole state, with its random keys and counts, works as well.
    graph_of_all, state = split(Model)

    @as_written
    def of_state(state, x):
        return nnx.merge(graph_of_all, state)(x)

    assert_equal(jax.jit(functools.partial(ntk.empirical_ntk, of_state))(state, X1, X2), expected)


def test_nnx_model_that_is_rematerialized():
    """Its variables may be changed only in the transformation in which they were made."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(3, 5, param_dtype=jnp.float64, rngs=rngs)

        @nnx.remat
        def __call__(self, x):
            return jnp.tanh(self.hidden(x))

    graph, params = split(Model)

    @as_written
    def f(params, x):
        return jnp.tanh(x @ params["hidden"]["kernel"][...] + params["hidden"]["bias"][...])

    @as_written
    def rematerialized(params, x):
        return nnx.merge(graph, params)(x)

    assert "jacobian" not in {row.rule for row in ntk.explain_empirical(rematerialized, params, X1).rows}
    expected = dense(f, params, X1, X2).ntk("iap,jap->ij") / 5
    assert_equal(ntk.empirical_ntk(rematerialized, params, X1, X2), expected)
    by_columns = functools.partial(ntk.empirical_ntk, rematerialized, method="vector_products")
    assert_equal(jax.jit(by_columns)(params, X1, X2), expected)


def test_under_transformations():
    f = function(2)

    def kernel(params, x1, x2):
        return ntk.empirical_ntk(f, params, x1, x2, batch_size=3)

    def trace(scale):
        return jnp.trace(kernel({**PARAMS, "w": scale * PARAMS["w"]}, X1, X1))

    @jax.jit
    def transformed(two, x1, x2):
        return jax.vmap(kernel, in_axes=(0, None, None))(two, x1, x2), jax.value_and_grad(trace)(1.0)

    two = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), PARAMS)
    both, (_, slope) = transformed(two, X1, X2)
    for i, found in enumerate(both):
        params = jax.tree.map(lambda leaf, i=i: leaf[i], two)
        assert_equal(found, dense(f, params, X1, X2).ntk("iap,jap->ij") / 2)
    # Differences with step 1e-5 are off by about (1e-5)² and 1e-16/1e-5.
    value = jax.jit(trace)
    np.testing.assert_allclose(slope, (value(1 + 1e-5) - value(1 - 1e-5)) / 2e-5, rtol=1e-8)


def test_dtype_is_that_of_the_function():
    params, x = (jax.tree.map(lambda leaf: leaf.astype(np.float32), tree) for tree in (PARAMS, X1))
    found = ntk.empirical_ntk(function(2), params, x)
    assert found.dtype == np.float32
    expected = dense_ntk(function(2), PARAMS, X1, equation="iap,jap->ij") / 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSED_FORM["float32"] * np.abs(expected).max())


def test_an_argument_that_is_not_finite_is_named():
    def f(params, x):
        return x @ params

    x, w = X1.copy(), np.ones(3)
    x[2, 1] = np.nan
    for call, name in (
        (lambda: ntk.ntk_diagonal(f, w, x), "x"),
        (lambda: ntk.empirical_ntk(f, w, x), "x1"),
        (lambda: ntk.empirical_ntk(f, w, X1, x), "x2"),
    ):
        assert_refused(call, ValueError, f"^{name} holds 1 ent")


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
