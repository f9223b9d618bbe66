"""Properties of all kernels of finite networks: they are symmetric, positive semi-definite and consistent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import normal_params
from tolerances import CLOSED_FORM, REORDERED

import ntk

FIELDS = ("ntk", "nngp", "C", "D")
STD = st.floats(0.0, 3.0)
# Few sizes, so that few programs are compiled; the numbers vary freely.
SHAPES = st.sampled_from([(5, 2, 3), (2, 3, 1)])


@st.composite
def inputs(draw, sequences):
    """Random inputs, some of them duplicates, opposites, multiples or zero, over several orders of magnitude."""
    size, features, steps = draw(SHAPES)
    shape = (steps, features) if sequences else (features,)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(size, *shape)) * 10.0 ** draw(st.floats(-2, 1))
    for i in range(1, size):
        x[i] = draw(st.sampled_from([x[i], x[0], -x[0], 0 * x[0], 3 * x[0]]))
    lengths = np.array(draw(st.lists(st.integers(1, steps), min_size=size, max_size=size))) if sequences else None
    return x, lengths


def matrices(kernels, lengths):
    """Every Gram matrix among the kernels, (M, M) each."""
    C, D = kernels.C, kernels.D
    if lengths is None:
        return [kernels.ntk, kernels.nngp, *C, *D]
    flat = C.shape[0] * C.shape[1]
    return [kernels.ntk, kernels.nngp, C.reshape(flat, flat), D.reshape(flat, flat)]


def assert_gram(matrix, eps):
    """Symmetric and positive semi-definite within the rounding of sums of at most a hundred terms."""
    matrix = np.asarray(matrix, np.float64)
    scale = max(np.trace(matrix), 0.0) + np.finfo(np.float32).tiny
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=100 * eps * scale)
    assert np.linalg.eigvalsh((matrix + matrix.T) / 2).min() >= -100 * eps * scale


def _halves(x):
    """The first and the last half of the rows, which may share one."""
    half = (len(x) + 1) // 2
    return slice(half), slice(-half, None)


@jax.jit
def measured(net, params, x, lengths):
    """The kernels of all inputs, of the first half with the last one, and the other way round."""

    def kernels(*rows):
        names = ("lengths1", "lengths2") if lengths is not None else ()
        sides = {name: lengths[part] for name, part in zip(names, rows, strict=False)}
        return ntk.empirical_kernels(net, params, *(x[part] for part in rows), **sides)

    first, last = _halves(x)
    return kernels(slice(None)), kernels(first, last), kernels(last, first)


def check(net, x, lengths, outputs, dtype):
    x, eps = x.astype(dtype), np.finfo(dtype).eps
    params = normal_params(ntk.finite(net, 6, outputs), x)
    kernels, there, back = measured(net, params, x, lengths)
    for matrix in matrices(kernels, lengths):
        assert matrix.dtype == dtype
        assert_gram(matrix, eps)
    # The other way round: k(ξ̄, ξ) = k(ξ, ξ̄)ᵀ, on the first and the last half.
    for field in ("ntk", "nngp"):
        whole = np.asarray(getattr(kernels, field))
        tolerance = 100 * eps * np.trace(whole)
        np.testing.assert_allclose(getattr(there, field), whole[_halves(x)], rtol=0, atol=tolerance)
        np.testing.assert_allclose(getattr(back, field), np.transpose(getattr(there, field)), rtol=0, atol=tolerance)
    # Equal inputs have equal rows.
    for i in range(1, len(x)):
        if np.array_equal(x[i], x[0]) and (lengths is None or lengths[i] == lengths[0]):
            for field in ("ntk", "nngp"):
                whole = np.asarray(getattr(kernels, field))
                np.testing.assert_allclose(whole[i], whole[0], rtol=0, atol=100 * eps * np.trace(whole))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@settings(deadline=None, max_examples=15)
@given(data=inputs(sequences=False), w_std=STD, b_std=STD, v_std=STD)
def test_mlp(dtype, data, w_std, b_std, v_std):
    net = ntk.MLP(depth=2, activation="relu", w_std=w_std, b_std=b_std, v_std=v_std)
    check(net, *data, outputs=None, dtype=dtype)


@pytest.mark.parametrize("pooling", [pytest.param("last", marks=pytest.mark.slow), "mean"])
@settings(deadline=None, max_examples=15)
@given(data=inputs(sequences=True), w_std=STD, u_std=STD, b_std=STD, v_std=STD)
def test_rnn(pooling, data, w_std, u_std, b_std, v_std):
    net = ntk.RNN(activation="erf", w_std=w_std, u_std=u_std, b_std=b_std, v_std=v_std, pooling=pooling)
    check(net, *data, outputs=2, dtype="float64")


@settings(deadline=None, max_examples=15)
@given(data=inputs(sequences=False), seed=st.integers(0, 2**32 - 1))
def test_any_function(data, seed):
    """The kernel of all pairs of outputs, as one (N·O, N·O) matrix, and its diagonal and mean."""
    x, _ = data
    w = np.random.default_rng(seed).normal(size=(x.shape[1], 3))
    full, diagonal, mean = kernels_of_saturating(w, x)
    assert_gram(full.transpose(0, 2, 1, 3).reshape(3 * len(x), 3 * len(x)), np.finfo(float).eps)
    np.testing.assert_allclose(diagonal, jnp.diagonal(full, axis1=2, axis2=3), rtol=CLOSED_FORM["float64"], atol=1e-300)
    tolerance = REORDERED["float64"] * np.abs(diagonal).max()
    np.testing.assert_allclose(mean, diagonal.mean(axis=-1), rtol=0, atol=tolerance)


@jax.jit
def kernels_of_saturating(w, x):
    """The kernel of all pairs of outputs, its diagonal, and its mean."""
    axes = ((), ()), ((), (-1,)), ((-1,), ())
    return [ntk.empirical_ntk(saturating, w, x, trace_axes=trace, diagonal_axes=kept) for trace, kept in axes]


def saturating(w, x):
    return jnp.tanh(x @ w)
