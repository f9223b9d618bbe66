"""The RNN's recursions against a double loop over times in NumPy, without diagonals or padding."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CLOSED_FORM, SAME_FORMULA

import ntk

EXACT = CLOSED_FORM["float64"]
STDS = {"w_std": 1.3, "u_std": 0.8, "b_std": 0.3, "v_std": 1.2}


def erf_maps(q11, q12, q22):
    """Williams 1997."""
    C = 2 / np.pi * np.arcsin(2 * q12 / np.sqrt((1 + 2 * q11) * (1 + 2 * q22)))
    return C, 4 / np.pi / np.sqrt((1 + 2 * q11) * (1 + 2 * q22) - 4 * q12**2)


def relu_maps(q11, q12, q22):
    """Cho & Saul 2009."""
    theta = np.arccos(np.clip(q12 / np.sqrt(q11 * q22), -1, 1))
    C = np.sqrt(q11 * q22) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    return C, (np.pi - theta) / (2 * np.pi)


def square_maps(q11, q12, q22):
    """Isserlis."""
    return q11 * q22 + 2 * q12**2, 4 * q12


MAPS = {"erf": erf_maps, "relu": relu_maps, "square": square_maps}


def reference(maps, pooling, x, y, w_std, u_std, b_std, v_std):
    """C, D (T, R), Σ and Θ of one pair of sequences, by the formulas of the paper, entry by entry."""
    (T, d), R = x.shape, len(y)

    def variances(z):
        C, K = 0.0, []
        for step in z:
            K.append(w_std**2 * C + u_std**2 * step @ step / d + b_std**2)
            C = maps(K[-1], K[-1], K[-1])[0]
        return K

    own_x, own_y = variances(x), variances(y)
    C, K, dot = np.zeros((T + 1, R + 1)), np.zeros((T, R)), np.zeros((T, R))
    for t in range(T):
        for r in range(R):
            K[t, r] = w_std**2 * C[t, r] + u_std**2 * x[t] @ y[r] / d + b_std**2
            C[t + 1, r + 1], dot[t, r] = maps(own_x[t], K[t, r], own_y[r])
    D = np.zeros((T + 1, R + 1))
    for t in reversed(range(T)):
        for r in reversed(range(R)):
            read_out = 1.0 / (T * R) if pooling == "mean" else float(t == T - 1 and r == R - 1)
            D[t, r] = (v_std**2 * read_out + w_std**2 * D[t + 1, r + 1]) * dot[t, r]
    C, D = C[1:, 1:], D[:-1, :-1]
    nngp = v_std**2 * (C.mean() if pooling == "mean" else C[-1, -1])
    return C, D, nngp, nngp + np.sum(D * K)


def sequences(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


CASES = {
    "one length": ((3, 6, 4), (2, 6, 4), None, None),
    "unequal T": ((3, 4, 2), (2, 7, 2), None, None),
    "ragged": ((4, 6, 3), (3, 8, 3), [6, 1, 3, 2], [8, 5, 1]),
    "one step": ((2, 1, 3), (3, 1, 3), None, None),
    "one input": ((1, 5, 1), (1, 3, 1), [4], [2]),
}


FAST = ("erf", "last", "ragged"), ("relu", "mean", "ragged"), ("relu", "last", "one input")


@pytest.mark.parametrize(
    ("name", "pooling", "case"),
    [
        case if case in FAST else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(("erf", "relu"), ("last", "mean"), CASES)
    ],
)
def test_agrees_with_a_double_loop_over_times(name, pooling, case):
    shape1, shape2, lengths1, lengths2 = CASES[case]
    x1, x2 = sequences(shape1, 0), sequences(shape2, 1)
    net = ntk.RNN(activation=name, pooling=pooling, **STDS)
    lengths = {"lengths1": lengths1, "lengths2": lengths2}
    lengths = {key: None if value is None else jnp.array(value) for key, value in lengths.items()}
    found = ntk.infinite_kernels(net, x1, x2, **lengths)
    theta = ntk.infinite_ntk(net, x1, x2, **lengths)
    for i in range(shape1[0]):
        for j in range(shape2[0]):
            T = lengths1[i] if lengths1 else shape1[1]
            R = lengths2[j] if lengths2 else shape2[1]
            C, D, nngp, expected = reference(MAPS[name], pooling, x1[i, :T], x2[j, :R], **STDS)
            padding = ((0, shape1[1] - T), (0, shape2[1] - R))
            np.testing.assert_allclose(found.C[i, :, j], np.pad(C, padding), rtol=0, atol=EXACT)
            np.testing.assert_allclose(found.D[i, :, j], np.pad(D, padding), rtol=0, atol=EXACT)
            np.testing.assert_allclose(found.nngp[i, j], nngp, rtol=0, atol=EXACT)
            np.testing.assert_allclose(found.ntk[i, j], expected, rtol=0, atol=EXACT)
            np.testing.assert_allclose(theta[i, j], expected, rtol=0, atol=EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [None, [5, 2, 1, 5, 3]])
@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("name", ["erf", "relu", "tanh"])
def test_one_batch_is_both_sides(name, pooling, lengths):
    """Without x2 the result is the kernel of x1 with a copy of itself, and the diagonal is exact."""
    x = sequences((5, 5, 3), 2)
    x[1], x[2], x[3] = x[0], -x[0], 0
    net = ntk.RNN(activation=name, pooling=pooling, **STDS)
    lengths = None if lengths is None else jnp.array(lengths)
    alone = ntk.infinite_kernels(net, x, lengths1=lengths)
    copy = ntk.infinite_kernels(net, x, x.copy(), lengths1=lengths, lengths2=lengths)
    # At ρ = ±1 the correlation with the copy has a rounding error ε, and ReLU's Ċ an error √ε.
    for field in ("ntk", "nngp", "C", "D"):
        np.testing.assert_allclose(getattr(alone, field), getattr(copy, field), rtol=0, atol=1e-7)
    np.testing.assert_allclose(ntk.infinite_ntk(net, x, lengths1=lengths), alone.ntk, rtol=0, atol=1e-7)
    single = ntk.infinite_ntk(net, x.astype(np.float32), lengths1=lengths)
    np.testing.assert_allclose(np.diagonal(single), np.diagonal(alone.ntk), rtol=CLOSED_FORM["float32"])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", [pytest.param("erf", marks=pytest.mark.slow), "relu"])
def test_a_sequence_that_ends_another_is_not_the_same(name, constant):
    """Of unequal lengths, two sequences differ in history even where every step they share is equal."""
    x1 = np.ones((2, 8, 3)) if constant else sequences((2, 8, 3), 5)
    x2 = x1[:, 5:]
    theta = ntk.infinite_ntk(ntk.RNN(activation=name, **STDS), x1, x2)
    for i, j in np.ndindex(2, 2):
        expected = reference(MAPS[name], "last", x1[i], x2[j], **STDS)[-1]
        np.testing.assert_allclose(theta[i, j], expected, rtol=0, atol=EXACT)


@pytest.mark.parametrize("padding", [np.nan, *(pytest.param(value, marks=pytest.mark.slow) for value in (1e3, np.inf))])
@pytest.mark.parametrize("name", [pytest.param("erf", marks=pytest.mark.slow), "square"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_entries_past_the_end_of_a_sequence_do_not_matter(pooling, name, padding):
    """Neither its values matter nor an overflow: in this network the variance is squared at every step."""
    x, lengths = sequences((3, 20, 2), 3), jnp.array([2, 3, 1])
    net = ntk.RNN(activation=name, pooling=pooling, **STDS)
    other = np.where((np.arange(20) < np.asarray(lengths)[:, None])[:, :, None], x, padding)
    found = ntk.infinite_kernels(net, other, lengths1=lengths)
    theta = ntk.infinite_ntk(net, other, lengths1=lengths)
    for (i, T), (j, R) in itertools.product(enumerate(lengths.tolist()), repeat=2):
        C, D, nngp, expected = reference(MAPS[name], pooling, x[i, :T], x[j, :R], **STDS)
        padded = ((0, 20 - T), (0, 20 - R))
        np.testing.assert_allclose(found.C[i, :, j], np.pad(C, padded), rtol=EXACT)
        np.testing.assert_allclose(found.D[i, :, j], np.pad(D, padded), rtol=EXACT)
        np.testing.assert_allclose(found.nngp[i, j], nngp, rtol=EXACT)
        np.testing.assert_allclose([found.ntk[i, j], theta[i, j]], [expected] * 2, rtol=EXACT)

    def total(w_std):
        others = {key: value for key, value in STDS.items() if key != "w_std"}
        return ntk.infinite_ntk(
            ntk.RNN(activation=name, pooling=pooling, w_std=w_std, **others), other, lengths1=lengths
        ).sum()

    h = 1e-6
    slope = (total(STDS["w_std"] + h) - total(STDS["w_std"] - h)) / (2 * h)
    # Rounding of 1e-16/h, times what cancels in the sum.
    np.testing.assert_allclose(jax.grad(total)(STDS["w_std"]), slope, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["last", pytest.param("mean", marks=pytest.mark.slow)])
def test_a_sequence_of_one_step_is_an_mlp(pooling):
    """T = 1 is the MLP of one hidden layer with σ_w = σ_u."""
    x = sequences((4, 1, 3), 4)
    found = ntk.infinite_kernels(ntk.RNN(activation="gelu", pooling=pooling, **STDS), x)
    mlp = ntk.MLP(depth=1, activation="gelu", w_std=STDS["u_std"], b_std=STDS["b_std"], v_std=STDS["v_std"])
    expected = ntk.infinite_kernels(mlp, x[:, 0])
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=0, atol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(found.D[:, 0, :, 0], expected.D[0], rtol=0, atol=SAME_FORMULA["float64"])


@pytest.mark.parametrize("pooling", ["last", pytest.param("mean", marks=pytest.mark.slow)])
def test_a_long_sequence_reaches_the_fixed_point(pooling):
    """T = 500: without input, C^{t,t} tends to the fixed point of c = E φ(u)², u ~ N(0, σ_w² c + σ_b²)."""
    net = ntk.RNN(activation="erf", pooling=pooling, w_std=0.8, u_std=1.0, b_std=0.5)
    k = ntk.infinite_kernels(net, np.zeros((1, 500, 1)))
    c = 0.0
    for _ in range(500):
        q = 0.8**2 * c + 0.5**2
        c = 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))
    np.testing.assert_allclose(k.C[0, -1, 0, -1], c, rtol=EXACT)
    np.testing.assert_allclose(ntk.infinite_ntk(net, np.zeros((1, 500, 1))), k.ntk, rtol=EXACT)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    pooling=st.sampled_from(["last", "mean"]),
    name=st.sampled_from(["relu", "erf", "tanh", "abs"]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 3)),
    w_std=st.floats(0.1, 1.5),
    b_std=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 2**20),
)
def test_symmetric_and_positive_semidefinite(pooling, name, shape, w_std, b_std, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)[rng.integers(shape[0], size=shape[0])] * rng.choice([-1.0, 0.0, 1.0], (shape[0], 1, 1))
    lengths = jnp.array(rng.integers(1, shape[1] + 1, size=shape[0]))
    net = ntk.RNN(activation=name, pooling=pooling, w_std=w_std, b_std=b_std)
    k = ntk.infinite_kernels(net, x, lengths1=lengths)
    size = shape[0] * shape[1]
    for matrix in (k.ntk, k.nngp, k.C.reshape(size, size)):
        # An error √ε near ρ = ±1, as for the MLP.
        tolerance = 1e-7 * len(matrix) * max(float(jnp.abs(matrix).max()), 1e-300)
        assert float(jnp.abs(matrix - matrix.T).max()) <= tolerance
        assert float(jnp.linalg.eigvalsh(matrix)[0]) >= -tolerance
