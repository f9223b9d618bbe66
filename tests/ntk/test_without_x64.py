"""x64 off, as JAX starts: a fresh interpreter gives float32 kernels that agree with float64 ones to rounding."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# Run twice: in a fresh interpreter without x64, and here in float64. Parameters come from NumPy, the same in both.
COMPUTE = """
import jax, numpy as np, ntk

def numbers(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)

def compute(dtype):
    x, s = numbers((6, 5), 0).astype(dtype), numbers((6, 4, 5), 1).astype(dtype)
    x[3], s[3], x[4] = x[2], s[2], -x[2]
    found = {}
    for name, net, data in (
        ("mlp", ntk.MLP(depth=2, activation="silu"), x),
        ("rnn", ntk.RNN(activation="relu", pooling="mean"), s),
    ):
        model = ntk.finite(net, 32, outputs=2)
        shapes = jax.eval_shape(model.init, jax.random.key(0), data)
        params = jax.tree.map(lambda leaf: numbers(leaf.shape, leaf.size).astype(dtype), shapes)
        found[name + "-limit-only"] = ntk.infinite_ntk(net, data)
        found[name + "-limit"] = ntk.infinite_kernels(net, data).ntk
        found[name + "-layers"] = ntk.empirical_kernels(net, params, data).ntk
        found[name + "-jacobian"] = ntk.empirical_ntk(model.apply, params, data)
    return found
"""


@pytest.fixture(scope="module")
def without_x64(tmp_path_factory):
    path = tmp_path_factory.mktemp("x64") / "kernels.npz"
    script = COMPUTE + f"\nassert not jax.config.jax_enable_x64\nnp.savez({str(path)!r}, **compute('float32'))\n"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
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
        # The float32 promise of the kernels, 1e-5 of the largest entry; duplicates and opposites are among the inputs.
        np.testing.assert_allclose(found, kernel, rtol=0, atol=1e-5 * float(np.max(kernel)), err_msg=name)
