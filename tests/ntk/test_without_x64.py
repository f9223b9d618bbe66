"""x64 off, as JAX starts: a fresh interpreter gives float32 kernels that agree with float64 ones to rounding.

Nothing is promoted implicitly there, neither ranks nor dtypes.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import x64_tables
from tolerances import CLOSED_FORM

# Run twice: in a fresh interpreter without x64, and here in float64. Parameters come from NumPy, the same in both.
COMPUTE = """
import jax, numpy as np, ntk

def numbers(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)

def compute(dtype):
    x, s = numbers((6, 5), 0).astype(dtype), numbers((6, 4, 5), 1).astype(dtype)
    x[3], s[3], x[4] = x[2], s[2], -x[2]
    found, v, y = {}, numbers((6, 2), 2).astype(dtype), numbers((6, 2), 3).astype(dtype)
    for name, net, data in (
        ("rnn", ntk.RNN(activation="relu", pooling="mean"), s),
        ("mlp", ntk.MLP(depth=2, activation="silu"), x),
    ):
        model = ntk.finite(net, 32, outputs=2)
        shapes = jax.eval_shape(model.init, jax.random.key(0), data)
        params = jax.tree.map(lambda leaf: numbers(leaf.shape, leaf.size).astype(dtype), shapes)
        found[name + "-limit-only"] = ntk.infinite_ntk(net, data)
        found[name + "-limit"] = ntk.infinite_kernels(net, data).ntk
        found[name + "-layers"] = ntk.empirical_kernels(net, params, data).ntk
        found[name + "-jacobian"] = kernel = ntk.empirical_ntk(model.apply, params, data)
    # Of the last network.
    found["diagonal"] = ntk.ntk_diagonal(model.apply, params, data)
    found["product"] = ntk.ntk_vector_product(model.apply, params, data, None, v)
    found["linear"] = ntk.linearize(model.apply, params)(jax.tree.map(lambda w: w / 2, params), data)
    found["eigenvalues"] = ntk.eigenvalues(kernel)
    found["left"] = y - ntk.dynamics.squared_loss_flow(kernel, y)(0.01)
    found["program"] = ntk.infinite_ntk(ntk.architectures.mlp(depth=2), x)
    found["dual"] = ntk.activation("gelu").dual(*(np.asarray(q, dtype) for q in ([[1.0]], [[0.5, 0.2]], [2.0])))
    return {name: np.asarray(value) for name, value in found.items()}
"""


@pytest.fixture(scope="module")
def without_x64(tmp_path_factory):
    path = tmp_path_factory.mktemp("x64") / "kernels.npz"
    script = COMPUTE + f"\nassert not jax.config.jax_enable_x64\nnp.savez({str(path)!r}, **compute('float32'))\n"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    environment |= {"JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_NUMPY_DTYPE_PROMOTION": "strict"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return np.load(path)


def test_kernels(without_x64):
    scope = {}
    exec(COMPUTE, scope)
    expected = scope["compute"]("float64")
    assert jax.config.jax_enable_x64
    assert set(without_x64) == set(expected)
    for name, kernel in expected.items():
        found = without_x64[name]
        assert found.dtype == jnp.float32
        # Relative to the largest entry; duplicates and opposites are among the inputs.
        atol = CLOSED_FORM["float32"] * float(np.max(np.abs(kernel)))
        np.testing.assert_allclose(found, kernel, rtol=0, atol=atol, err_msg=name)


@pytest.mark.implicit_promotion  # of Optax
@pytest.mark.parametrize("one_in", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_every_public_function_gives_the_same_in_float32(tmp_path, one_in):
    """A fixed part of the calls that are lowered, and all of them: without a warning, and nothing in float64."""
    path = tmp_path / "results.npz"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-W", "error", x64_tables.__file__, path, str(one_in)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found, expected = np.load(path), x64_tables.results(one_in)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype in ("float32", "int32", "bool"), name
        finite = np.isfinite(values)
        np.testing.assert_array_equal(np.isfinite(found[name]), finite, err_msg=name)
        # The same formula in the same dtype, in which a constant or two may be rounded elsewhere.
        atol = CLOSED_FORM["float32"] * float(np.max(np.abs(values), initial=0.0, where=finite))
        np.testing.assert_allclose(found[name], values, rtol=0, atol=atol, err_msg=name)
