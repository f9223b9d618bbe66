"""`ntk_vector_product` against the dense Jacobian of the whole batch, and against neural-tangents."""

import functools
import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import ntk
from ntk.finite_width.vector_products import ntk_vector_product

PARAMS = {
    "w": np.random.default_rng(0).normal(size=(3, 8)),
    "v": np.random.default_rng(1).normal(size=(8, 6)),
}
X1, X2 = np.random.default_rng(2).normal(size=(7, 3)), np.random.default_rng(3).normal(size=(5, 3))


@functools.cache
def function(*outputs):
    """A two-layer network f(params, x) -> (N, *outputs), nonlinear in both layers."""
    size = int(np.prod(outputs))

    def f(params, x):
        return jnp.sin(jnp.tanh(x @ params["w"]) @ params["v"][:, :size]).reshape(len(x), *outputs)

    return f


def vector(*shape):
    return np.random.default_rng(4).normal(size=shape)


def jacobian(f, params, x, leaves=("v", "w")):
    """(outputs of all inputs, parameters)."""
    J = jax.jacobian(lambda chosen: f(params | chosen, x))({name: params[name] for name in leaves})
    size = jax.eval_shape(f, params, x).size
    return np.concatenate([np.asarray(J[name]).reshape(size, -1) for name in leaves], axis=1)


def dense(f, params, x1, x2, v, leaves=("v", "w")):
    J1, J2 = jacobian(f, params, x1, leaves), jacobian(f, params, x2, leaves)
    return (J1 @ (J2.T @ v.ravel())).reshape(jax.eval_shape(f, params, x1).shape)


def assert_equal(found, expected):
    assert found.shape == expected.shape
    # Sums of at most some hundred products in float64.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("outputs", [(), (3,), (2, 3)])
def test_is_the_dense_product(outputs, batch_size):
    """7 and 5 rows: most batch sizes leave a ragged tile on a side."""
    f = function(*outputs)
    v = vector(5, *outputs)
    assert_equal(ntk_vector_product(f, PARAMS, X1, X2, v, batch_size=batch_size), dense(f, PARAMS, X1, X2, v))


@pytest.mark.parametrize("batch_size", [None, 3])
def test_one_batch_is_both_sides(batch_size):
    f, v = function(3), vector(7, 3)
    found = ntk_vector_product(f, PARAMS, X1, None, v, batch_size=batch_size)
    assert_equal(found, dense(f, PARAMS, X1, X1, v))


def test_relation_to_the_empirical_ntk_as_documented():
    f, v = function(3), vector(5, 3)
    theta = ntk.empirical_ntk(f, PARAMS, X1, X2, trace_axes=())
    expected = np.einsum("nmop,mp->no", theta, v)
    assert_equal(ntk_vector_product(f, PARAMS, X1, X2, v), expected)
    f, v = function(), vector(5)
    assert_equal(ntk_vector_product(f, PARAMS, X1, X2, v), np.asarray(ntk.empirical_ntk(f, PARAMS, X1, X2)) @ v)


def test_agrees_with_neural_tangents():
    f, v = function(3), vector(5, 3)
    expected = ntk.load_neural_tangents().empirical_ntk_vp_fn(f, X1, X2, PARAMS)(v)
    assert_equal(ntk_vector_product(f, PARAMS, X1, X2, v, batch_size=2), np.asarray(expected))


@pytest.mark.parametrize("leaf", ["v", "w"])
def test_only_chosen_parameters_are_trained(leaf):
    def f(params, x):
        return function(2)(params["params"], x)

    def chosen(path):
        return path == f"params/{leaf}"

    v = vector(5, 2)
    found = ntk_vector_product(f, {"params": PARAMS}, X1, X2, v, param_filter=chosen)
    assert_equal(found, dense(function(2), PARAMS, X1, X2, v, leaves=(leaf,)))


def test_parameters_that_are_not_floating_are_constants():
    def f(params, x):
        return params["scale"] * x[:, params["columns"]] @ params["w"]

    params = {"w": np.ones(2), "columns": np.array([0, 2]), "scale": 3, "key": jax.random.key(0)}
    v = vector(5)
    expected = 9.0 * X1[:, [0, 2]] @ (X2[:, [0, 2]].T @ v)
    for batch_size in (None, 2):
        assert_equal(ntk_vector_product(f, params, X1, X2, v, batch_size=batch_size), expected)


def test_inputs_may_be_any_pytree():
    def f(params, x):
        return jnp.where(x["flag"], x["left"] @ params, x["right"] @ params)

    x = {"left": X1, "right": -2 * X1, "flag": np.arange(7) % 2 == 0}
    chosen = np.where(x["flag"][:, None], x["left"], x["right"])
    v = vector(7)
    assert_equal(ntk_vector_product(f, np.ones(3), x, None, v, batch_size=4), chosen @ (chosen.T @ v))


@pytest.mark.parametrize("batch_size", [None, 2])
def test_vmap_over_vectors_builds_the_kernel(batch_size):
    f = function(2)
    basis = np.eye(10).reshape(10, 5, 2)
    product = functools.partial(ntk_vector_product, f, PARAMS, X1, X2, batch_size=batch_size)
    kernel = jax.jit(jax.vmap(product))(basis).reshape(10, 14).T
    assert_equal(kernel, jacobian(f, PARAMS, X1) @ jacobian(f, PARAMS, X2).T)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_gradient_in_parameters_and_data(batch_size):
    """Reverse mode against central differences."""
    f, v, weights = function(2), vector(5, 2), np.random.default_rng(5).normal(size=(7, 2))

    @jax.jit
    def value(arguments):
        params, x1, x2, v = arguments
        return jnp.sum(weights * ntk_vector_product(f, params, x1, x2, v, batch_size=batch_size))

    at = (PARAMS, X1, X2, v)
    rng = np.random.default_rng(6)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), at)
    gradient = jax.jit(jax.grad(value))(at)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda a, b: float(np.sum(a * b)), gradient, direction)))
    up, down = (value(jax.tree.map(lambda a, b: a + step * b, at, direction)) for step in (1e-5, -1e-5))  # noqa: B023
    # Off by (1e-5)² times a third derivative, and by 1e-16/1e-5 of the value.
    assert slope == pytest.approx(float(up - down) / 2e-5, rel=1e-6)


def test_second_call_compiles_nothing(caplog):
    f = function(2)

    def compiled(scale, x2):
        v = scale * vector(len(x2), 2)
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            ntk_vector_product(f, jax.tree.map(lambda leaf: scale * leaf, PARAMS), scale * X1, x2, v, batch_size=2)
        return [record for record in caplog.records if record.getMessage().startswith("Compiling ")]

    assert compiled(1.0, X2)
    assert compiled(0.5, X2) == []
    assert compiled(0.5, X2[:3])


def test_memory_is_that_of_a_tile():
    """A forward pass over 4096 inputs holds 4096 · 64 activations in each of three layers, 256 inputs 1/16 of that."""

    def f(params, x):
        return jnp.sum(functools.reduce(lambda h, w: jnp.tanh(h @ w), params, x), axis=1)

    params = [jax.ShapeDtypeStruct((64, 64), "float32") for _ in range(3)]
    x, v = jax.ShapeDtypeStruct((4096, 64), "float32"), jax.ShapeDtypeStruct((4096,), "float32")

    def temporary_bytes(batch_size):
        product = jax.jit(lambda params, x, v: ntk_vector_product(f, params, x, None, v, batch_size=batch_size))
        return product.lower(params, x, v).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(256) < temporary_bytes(None) / 4


@pytest.mark.parametrize("batch_size", [None, 3])
def test_float32_stays_and_lowers_for_every_platform(batch_size):
    f = function(2)
    arguments = jax.tree.map(lambda leaf: leaf.astype("float32"), (PARAMS, X1, X2, vector(5, 2)))
    product = functools.partial(ntk_vector_product, f, batch_size=batch_size)
    found, expected = product(*arguments), dense(f, PARAMS, X1, X2, vector(5, 2))
    assert found.dtype == jnp.float32
    # Sums of up to a hundred products, each rounded to 2^-24.
    np.testing.assert_allclose(found, expected, rtol=0, atol=100 * 2**-24 * np.abs(expected).max())
    text = export.export(jax.jit(product), platforms=("cpu", "cuda", "tpu"))(*arguments).mlir_module()
    assert "callback" not in text
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


def mean_of_batch(params, x):
    return function(2)(params, x - jnp.mean(x, axis=0))


@pytest.mark.parametrize(
    ("changes", "exception", "sentence"),
    [
        ({"f": None}, TypeError, "f is None; expected a function"),
        ({"f": mean_of_batch}, ValueError, "f mixes the inputs of a batch"),
        ({"params": {"w": np.ones(3, int)}}, ValueError, "params has leaves of int64; expected a pytree with"),
        ({"x1": X1[0, 0]}, ValueError, "x1 has shapes"),
        ({"x2": "x"}, TypeError, "x2 is 'x'; expected an array"),
        ({"v": vector(7, 2)}, ValueError, r"v has shape \(7, 2\); expected \(5, 2\) as f\(params, x2\) has"),
        ({"v": vector(5)}, ValueError, r"v has shape \(5,\); expected \(5, 2\)"),
        ({"v": vector(5, 2).astype("float32")}, TypeError, "v has dtype float32; expected float64 as f"),
        ({"v": np.ones((5, 2), int)}, TypeError, "v has dtype int64; expected a real floating-point array"),
        ({"v": np.full((5, 2), np.nan)}, ValueError, "v holds 10 entries that are NaN"),
        ({"v": np.full((5, 2), 1e308), "x1": 1e3 * X1}, ValueError, r"product exceeds 1.8e\+308"),
        ({"batch_size": 0}, ValueError, "batch_size is 0; expected an integer of at least 1"),
        ({"batch_size": 2.0}, ValueError, "batch_size is 2.0; expected an integer"),
        ({"param_filter": "w"}, TypeError, "param_filter is 'w'; expected a function"),
        ({"param_filter": lambda path: False}, ValueError, "param_filter is false for all of v, w; expected it"),
    ],
)
def test_refusals(plain, changes, exception, sentence):
    def linear(params, x):
        return x @ params["w"][:, :2]

    f = linear if "product" in sentence else function(2)
    given = {"f": f, "params": PARAMS, "x1": X1, "x2": X2, "v": vector(5, 2)} | changes
    with pytest.raises(exception, match=f"(?s){sentence}"):
        plain.ntk_vector_product(**given)
