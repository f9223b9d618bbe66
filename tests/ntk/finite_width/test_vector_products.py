"""`ntk_vector_product` against the dense Jacobian of the whole batch, and against neural-tangents."""

import functools
import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal, dense_jacobians
from jax import export
from refusals import assert_refused, rows

import ntk
from ntk.finite_width.vector_products import ntk_vector_product

pytestmark = pytest.mark.slow

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


@functools.cache
def jacobians(outputs, side):
    """Of every leaf, (outputs of all inputs, its size)."""
    f, x = function(*outputs), (X1, X2)[side]
    leaves = dense_jacobians(f, PARAMS, x)
    return {name: leaf.reshape(-1, leaf.shape[-1]) for name, leaf in zip(sorted(PARAMS), leaves, strict=True)}


def exact(outputs, v, sides=(0, 1), leaves=("v", "w")):
    J1, J2 = (np.concatenate([jacobians(outputs, side)[name] for name in leaves], axis=1) for side in sides)
    return (J1 @ (J2.T @ v.ravel())).reshape(-1, *outputs)


@pytest.mark.parametrize("outputs", [(), (3,), (2, 3)])
def test_is_the_dense_product(outputs):
    """7 and 5 rows, so that most batch sizes leave a smaller last tile."""
    f, v, w = function(*outputs), vector(5, *outputs), vector(7, *outputs)

    @jax.jit
    def products(params, x1, x2):
        of_two = [ntk_vector_product(f, params, x1, x2, v, batch_size=n) for n in (None, 1, 2, 3, 4, 5, 100)]
        return of_two, [ntk_vector_product(f, params, x1, None, w, batch_size=n) for n in (None, 3)]

    of_two, of_one = products(PARAMS, X1, X2)
    for found in of_two:
        assert_equal(found, exact(outputs, v))
    for found in of_one:
        assert_equal(found, exact(outputs, w, sides=(0, 0)))


def test_relation_to_the_empirical_ntk_as_documented():
    v, w = vector(5, 3), vector(5)

    @jax.jit
    def both(params, x1, x2):
        theta = ntk.empirical_ntk(function(3), params, x1, x2, trace_axes=())
        of_one_output = ntk.empirical_ntk(function(), params, x1, x2)
        return theta, of_one_output, *(ntk_vector_product(f, params, x1, x2, v) for f, v in pairs)

    pairs = (function(3), v), (function(), w)
    theta, of_one_output, product, product_of_one = both(PARAMS, X1, X2)
    assert_equal(product, np.einsum("nmop,mp->no", theta, v))
    assert_equal(product_of_one, np.asarray(of_one_output) @ w)


def test_agrees_with_neural_tangents():
    f, v = function(3), vector(5, 3)
    expected = jax.jit(ntk.load_neural_tangents().empirical_ntk_vp_fn(f, X1, X2, PARAMS))(v)
    assert_equal(ntk_vector_product(f, PARAMS, X1, X2, v, batch_size=2), np.asarray(expected))


def test_only_chosen_parameters_are_trained():
    def f(params, x):
        return function(2)(params["params"], x)

    v = vector(5, 2)

    @jax.jit
    def products(params, x1, x2):
        return {
            leaf: ntk_vector_product(
                f, params, x1, x2, v, param_filter=lambda path, leaf=leaf: path == f"params/{leaf}"
            )
            for leaf in PARAMS
        }

    for leaf, found in products({"params": PARAMS}, X1, X2).items():
        assert_equal(found, exact((2,), v, leaves=(leaf,)))


def test_parameters_that_are_not_floating_are_constants():
    @as_written
    def f(params, x):
        return params["scale"] * x[:, params["columns"]] @ params["w"]

    params = {"w": np.ones(2), "columns": np.array([0, 2]), "scale": 3, "key": jax.random.key(0)}
    v = vector(5)
    expected = 9.0 * X1[:, [0, 2]] @ (X2[:, [0, 2]].T @ v)
    for batch_size in (None, 2):
        product = jax.jit(functools.partial(ntk_vector_product, f, batch_size=batch_size))
        assert_equal(product(params, X1, X2, v), expected)


def test_inputs_may_be_any_pytree():
    @as_written
    def f(params, x):
        return jnp.where(x["flag"], x["left"] @ params, x["right"] @ params)

    x = {"left": X1, "right": -2 * X1, "flag": np.arange(7) % 2 == 0}
    chosen = np.where(x["flag"][:, None], x["left"], x["right"])
    v = vector(7)
    assert_equal(ntk_vector_product(f, np.ones(3), x, None, v, batch_size=4), chosen @ (chosen.T @ v))


@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_vmap_over_vectors_builds_the_kernel(batch_size):
    f = function(2)
    basis = np.eye(10).reshape(10, 5, 2)
    product = functools.partial(ntk_vector_product, f, PARAMS, X1, X2, batch_size=batch_size)
    kernel = jax.jit(jax.vmap(product))(basis).reshape(10, 14).T
    assert_equal(kernel, sum(jacobians((2,), 0)[name] @ jacobians((2,), 1)[name].T for name in PARAMS))


@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 2])
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


@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 3])
def test_float32_stays_and_lowers_for_every_platform(batch_size):
    f = function(2)
    arguments = jax.tree.map(lambda leaf: leaf.astype("float32"), (PARAMS, X1, X2, vector(5, 2)))
    product = jax.jit(functools.partial(ntk_vector_product, f, batch_size=batch_size))
    found, expected = product(*arguments), exact((2,), vector(5, 2))
    assert found.dtype == jnp.float32
    # Sums of up to a hundred products, each rounded to 2^-24.
    np.testing.assert_allclose(found, expected, rtol=0, atol=100 * 2**-24 * np.abs(expected).max())
    text = export.export(product, platforms=("cpu", "cuda", "tpu"))(*arguments).mlir_module()
    assert "callback" not in text
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


def mean_of_batch(params, x):
    return function(2)(params, x - jnp.mean(x, axis=0, keepdims=True))


def linear(params, x):
    return x @ params["w"][:, :2]


def product(package, f=None, params=PARAMS, x1=X1, x2=X2, v=None, **options):
    """A call that is right but for what is changed."""
    return package.ntk_vector_product(f or function(2), params, x1, x2, vector(5, 2) if v is None else v, **options)


@rows(
    [
        ("f", lambda ntk: product(ntk, f=3), TypeError, "f is 3; expected a function"),
        ("mixed", lambda ntk: product(ntk, f=mean_of_batch), ValueError, "f mixes the inputs of a batch"),
        (
            "params",
            lambda ntk: product(ntk, params={"w": np.ones(3, int)}),
            ValueError,
            "params has leaves of int64; expected a pytree with",
        ),
        ("x1", lambda ntk: product(ntk, x1=X1[0, 0]), ValueError, "x1 has shapes"),
        ("x2", lambda ntk: product(ntk, x2="x"), TypeError, "x2 is 'x'; expected an array"),
        (
            "rows of v",
            lambda ntk: product(ntk, v=vector(7, 2)),
            ValueError,
            r"v has shape \(7, 2\); expected \(5, 2\) as f\(params, x2\) has",
        ),
        ("shape of v", lambda ntk: product(ntk, v=vector(5)), ValueError, r"v has shape \(5,\); expected \(5, 2\)"),
        (
            "dtype of v",
            lambda ntk: product(ntk, v=vector(5, 2).astype("float32")),
            TypeError,
            "v has dtype float32; expected float64 as f",
        ),
        (
            "integers",
            lambda ntk: product(ntk, v=np.ones((5, 2), int)),
            TypeError,
            "v has dtype int64; expected a real floating-point array",
        ),
        ("NaN", lambda ntk: product(ntk, v=np.full((5, 2), np.nan)), ValueError, "v holds 10 entries that are NaN"),
        (
            "overflow",
            lambda ntk: product(ntk, f=linear, v=np.full((5, 2), 1e308), x1=1e3 * X1),
            ValueError,
            r"product exceeds 1.8e\+308",
        ),
        ("no tile", lambda ntk: product(ntk, batch_size=0), ValueError, "batch_size is 0; expected an integer of at"),
        ("float", lambda ntk: product(ntk, batch_size=2.0), ValueError, "batch_size is 2.0; expected an integer"),
        (
            "filter",
            lambda ntk: product(ntk, param_filter="w"),
            TypeError,
            "param_filter is 'w'; expected a function",
        ),
        (
            "filters all",
            lambda ntk: product(ntk, param_filter=lambda path: False),
            ValueError,
            "param_filter is false for all of v, w; expected it",
        ),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
