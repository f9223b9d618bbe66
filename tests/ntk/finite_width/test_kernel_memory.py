"""The memory that `empirical_ntk` takes: estimates, tiles within the share there is, and what is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal
from jax import lax
from model_zoo import ZOO, normal

import ntk
from ntk.finite_width.rules import memory

PARAMS = {"w": normal(3, 8), "b": normal(8), "v": normal(8, 2)}
X1, X2 = normal(6, 3, seed=1), normal(4, 3, seed=2)


@as_written
def network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def test_automatic_tiles_are_within_their_share_of_memory(monkeypatch):
    whole = ntk.explain_empirical(network, PARAMS, X1, batch_size="auto")
    assert whole.batch_size == 6
    monkeypatch.setattr(memory, "device_memory", lambda: int(2 * 2 * whole.bytes_per_input / memory.SHARE) + 1)
    assert ntk.explain_empirical(network, PARAMS, X1, batch_size="auto").batch_size == 2
    monkeypatch.setattr(memory, "device_memory", lambda: 1)
    assert ntk.explain_empirical(network, PARAMS, X1, batch_size="auto").batch_size == 1

    @as_written
    def f(params, x):  # not compiled before
        return network(params, x)

    assert_equal(ntk.empirical_ntk(f, PARAMS, X1, batch_size="auto"), ntk.empirical_ntk(network, PARAMS, X1))


def patches(params, x):
    """A convolution whose patches are 252 times as large as the result."""
    h = lax.conv_general_dilated(x, params["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.tanh(h).mean((1, 2))


@pytest.mark.parametrize(
    "name", ["dense", "patches", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gru", "attention"))]
)
def test_the_estimate_of_memory_is_from_above(name):
    """Against what the compiler allocates for the passes over 8 inputs; their kernels have 64 entries."""
    f, params, x, _ = (
        ZOO[name]() if name != "patches" else (patches, {"k": normal(3, 3, 28, 1)}, normal(1, 16, 16, 28), 0)
    )
    few = np.resize(x, (8, *x.shape[1:]))
    compiled = jax.jit(lambda params, x: ntk.empirical_ntk(f, params, x)).lower(params, few).compile()
    explained = ntk.explain_empirical(f, params, few)
    kernels = 8 * 64 * (len(explained.rows) + 2)
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert taken <= 8 * explained.bytes_per_input + kernels
    # The estimate must not be far too high either, since tiles would be too small.
    assert 8 * explained.bytes_per_input < 40 * taken


def test_large_kernels_are_formed_by_tiles():
    """Five layers have two products each of the size of the kernel, which would be nine of them in memory at once."""
    widths = [(3, 4), (4, 4), (4, 4), (4, 4), (4, 2)]
    params = [normal(*shape, seed=i) for i, shape in enumerate(widths)]

    @as_written
    def f(params, x):
        for w in params[:-1]:
            x = jnp.tanh(x @ w)
        return x @ params[-1]

    def compiled(batch_size):
        kernel = jax.jit(lambda params, x: ntk.empirical_ntk(f, params, x, batch_size=batch_size))
        return kernel.lower(params, np.zeros((2100, 3))).compile()

    whole, automatic = compiled(None), compiled("auto")
    for program in (whole, automatic):
        assert program.memory_analysis().temp_size_in_bytes < 3 * 2100**2 * 8
    x = normal(2100, 3)
    jacobian = jax.vmap(jax.jacrev(lambda params, x: f(params, x[None])[0]), in_axes=(None, 0))
    J = np.concatenate([np.asarray(leaf).reshape(2100, 2, -1) for leaf in jax.jit(jacobian)(params, x)], axis=-1)
    assert_equal(whole(params, x), sum(J[:, o] @ J[:, o].T for o in range(2)) / 2)


def test_memory_of_a_kernel_is_that_of_a_tile():
    """A Jacobian of 512 inputs would be 512·(parameters) numbers; tiles of 16 need a small part of one pass."""
    params = {"w": np.zeros((64, 256)), "u": np.zeros((256, 256)), "v": np.zeros(256)}

    @as_written
    def f(params, x):
        return jnp.tanh(jnp.tanh(x @ params["w"]) @ params["u"]) @ params["v"]

    def temporary(batch_size):
        kernel = jax.jit(lambda params, x: ntk.empirical_ntk(f, params, x, batch_size=batch_size))
        return kernel.lower(params, np.zeros((512, 64))).compile().memory_analysis().temp_size_in_bytes

    activations = 512 * (256 + 256 + 64) * 8
    assert temporary(None) <= 512 * 512 * 8 * 4 + 8 * activations
    assert temporary(16) <= 512 * 512 * 8 + activations


def test_automatic_tiles_of_vector_products(monkeypatch):
    sizes = []
    monkeypatch.setattr(memory, "device_memory", lambda: 1)
    original = jax.lax.map
    monkeypatch.setattr(jax.lax, "map", lambda *a, **k: (sizes.append(k.get("batch_size")), original(*a, **k))[1])

    @as_written
    def f(params, x):  # not compiled before
        return network(params, x)

    found = ntk.empirical_ntk(f, PARAMS, X1, X2, method="vector_products", batch_size="auto")
    assert 1 in sizes
    assert_equal(found, ntk.empirical_ntk(network, PARAMS, X1, X2))
