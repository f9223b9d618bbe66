"""Under `jit` values cannot be refused: overflow becomes ∞ and NaN stays NaN. Lengths may have any integer type."""

import itertools

import jax
import numpy as np
import pytest
from refused import KERNELS, SEQUENCES, VECTORS, things

BOUNDED = ("erf", "tanh", "sin", "gaussian", "sign", "step")
GROWING = ("identity", "relu", "gelu", "softplus", "exp", "square")
FAST = ("sin", "sign", "relu", "gelu")


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        case
        if (case[0] in FAST and case[1] == "infinite_ntk") or case == ("relu", "infinite_kernels")
        else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product((*BOUNDED, *GROWING), KERNELS[:2])
    ],
)
def test_overflow_is_infinite_under_jit(plain, activation, function):
    """σ_w² = 1e60 is beyond float32. Nothing turns to NaN, which would point to the data."""
    net = plain.MLP(depth=3, activation=activation, w_std=1e30)
    kernel = jax.jit(lambda x: getattr(plain, function)(net, x))(VECTORS)
    leaves = {"ntk": kernel} if function == "infinite_ntk" else vars(kernel)
    for field, leaf in leaves.items():
        assert not np.isnan(leaf).any(), field
    if activation in GROWING:
        assert np.isinf(np.diag(leaves["ntk"])).all()


@pytest.mark.parametrize("function", KERNELS)
@pytest.mark.parametrize("network", ["mlp", "rnn"])
def test_nan_stays_nan_under_jit(plain, function, network):
    """Also where an activation is bounded; entries of other inputs are not touched."""
    given = things(plain)
    x = VECTORS.copy() if network == "mlp" else SEQUENCES.copy()
    x[1, 0] = np.nan
    kernel = jax.jit(lambda x: given[function](given[network], x))(x)
    kernel = np.asarray(kernel if function == "infinite_ntk" else kernel.ntk)
    assert np.isnan(kernel[1]).all()
    assert np.isnan(kernel[:, 1]).all()
    assert np.isfinite(np.delete(np.delete(kernel, 1, 0), 1, 1)).all()


@pytest.mark.parametrize(
    "activations",
    [
        ("relu", "erf", "sin", "sign", "gaussian", "square"),
        ("tanh",),
        pytest.param(("gelu", jax.numpy.tanh), marks=pytest.mark.slow),
    ],
)
def test_nan_stays_nan_in_the_dual_maps_under_jit(plain, activations):
    """At each place among the arguments; of all these activations in one program."""
    chosen = [plain.activation(activation) for activation in activations]

    def maps(covariance):
        return [method(*covariance) for act in chosen for method in (act.dual, act.dual_derivative)]

    covariances = np.where(np.eye(4, 3, dtype=bool), np.nan, np.array([[1.0, 0.5, 1.0]]))
    found = np.stack(jax.jit(jax.vmap(maps))(covariances))
    assert np.isnan(found[:, :3]).all()
    assert np.isfinite(found[:, 3]).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_lengths_of_every_integer_type(plain, dtype):
    """Sequences longer than an int8 counts, and types that JAX promotes to floats beside int64."""
    s = np.tile(SEQUENCES, (1, 30, 1))
    lengths = np.array([5, 1, 100, 3])
    expected = plain.infinite_ntk(plain.RNN(), s, lengths1=lengths)
    np.testing.assert_array_equal(plain.infinite_ntk(plain.RNN(), s, lengths1=lengths.astype(dtype)), expected)
