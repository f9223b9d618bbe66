"""Models in float32, bfloat16 and float16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_jacobian import assert_equal, dense
from model_zoo import ZOO, normal

import ntk

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("attention", "convolutions", "gru")]


@pytest.mark.parametrize("name", ["dense", "embedded", *SLOW])
def test_float32(name):
    f, params, x1, x2 = ZOO[name]()

    def cast(tree):
        return jax.tree.map(lambda leaf: leaf.astype("float32") if leaf.dtype == "float64" else leaf, tree)

    def f32(params, x):
        return f(params, x).astype("float32")

    expected = dense(f, params, x1, x2).ntk("iap,jbp->ijab")
    found = jax.jit(functools.partial(ntk.empirical_ntk, f32, trace_axes=()))(cast(params), cast(x1), cast(x2))
    assert found.dtype == jnp.float32
    # Forward and backward pass of a few layers in float32.
    assert_equal(found, expected, tolerance=2e-5)


def test_low_precision_models_have_float32_gram_products():
    """bfloat16 keeps 8 bits. The passes lose the others, and the sums of products lose no more."""
    params = {"w": normal(64, 4096), "v": normal(4096, 1)}
    x = normal(5, 64, seed=1) / 8

    def f(params, x):
        return jnp.tanh(x @ params["w"]) @ params["v"]

    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, "bfloat16"), (params, x))
    found = ntk.empirical_ntk(f, params, x)
    assert found.dtype == jnp.float32
    # The operands and δ of the passes in bfloat16, their products in float64.
    pre = x @ params["w"]
    (delta,) = jax.vjp(lambda pre: jnp.tanh(pre) @ params["v"], pre)[1](jnp.ones((5, 1), "bfloat16"))
    x, h, delta = (np.asarray(array, np.float64) for array in (x, jnp.tanh(pre), delta))
    # Where the compiler keeps more digits, entries differ by 2⁻⁸, and sums of 4,096 of them by a 64th of that: 6e-5.
    # Products in bfloat16 would be off by 5e-3.
    assert_equal(found, (x @ x.T) * (delta @ delta.T) + h @ h.T, tolerance=3e-4)


@pytest.mark.parametrize("method", ["auto", "layerwise", "jacobian", "vector_products"])
def test_factors_stay_where_they_keep_narrow_products_finite(method):
    """x @ w would be 10⁵, beyond float16, and is 10³ with the factor; a row of an embedding has a factor too."""
    params = {"w": np.ones((1000, 2), "float32"), "rows": np.full((4, 2), 1e5, "float32")}
    x = {"x": np.full((3, 1000), 100, "float16"), "row": np.array([0, 2, 0])}

    def f(params, x):
        w, rows = ((0.01 * params[name]).astype("float16") for name in ("w", "rows"))
        return (x["x"] @ w + rows[x["row"]]).astype("float32")

    found = ntk.empirical_ntk(f, params, x, method=method)
    # ∂f/∂w = x/100 and ∂f/∂rows = 1/100: exact but for the rounding of 0.01 to float16.
    same = x["row"][:, None] == x["row"][None, :]
    assert_equal(found, 1000.0 + 1e-4 * same, tolerance=2.0**-10)
