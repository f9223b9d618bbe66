"""The MLP's recursions against neural-tangents, a textbook loop in NumPy, and closed forms."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CLOSED_FORM, PEER, REORDERED, SAME_FORMULA

import ntk
from ntk.interop.neural_tangents import stax_kernel_fn

# Every activation that neural-tangents has too.
SHARED = ("relu", "leaky_relu", "abs", "erf", "gelu", "sin", "cos", "gaussian", "exp", "square", "cube")


def inputs(dim: int = 10, seed: int = 0) -> np.ndarray:
    """Random inputs with a duplicate, an opposite, a scaled and a zero one."""
    x = np.random.default_rng(seed).normal(size=(9, dim))
    x[1], x[2], x[3], x[4] = x[0], -x[0], 3 * x[0], 0
    return x


def relative_error(found, expected) -> float:
    """Largest deviation relative to the largest entry."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "batches", "depth", "dtype"),
    [
        case
        if case[2:] == (3, "float64") and (case[1] == "one" or case[0] == "relu")
        else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(SHARED, ("one", "two"), (1, 3), ("float64", "float32"))
    ],
)
def test_agrees_with_neural_tangents(name, batches, depth, dtype):
    # exp and the monomials grow doubly exponentially with depth; small deviations keep them of order one.
    w_std, b_std, v_std = (0.4, 0.3, 0.7) if name in ("exp", "square", "cube") else (1.3, 0.3, 0.7)
    net = ntk.MLP(depth=depth, activation=name, w_std=w_std, b_std=b_std, v_std=v_std)
    x1, x2 = inputs().astype(dtype), None if batches == "one" else inputs(seed=1).astype(dtype)
    found = ntk.infinite_kernels(net, x1, x2)
    assert found.ntk.dtype == dtype
    # The reference is always evaluated in float64. On the diagonal its arccosine has an error of √ε = 1.5e-8,
    # depending on how it is compiled; `test_where_an_input_meets_itself` has these.
    double = (None if x is None else jnp.asarray(x, "float64") for x in (x1, x2))
    expected = stax_kernel_fn(net)(*double, ("nngp", "ntk"))
    distinct = (x1[:, None] != (x1 if x2 is None else x2)[None]).any(axis=-1)
    assert distinct.mean() > 0.5
    assert relative_error(found.nngp, expected.nngp) <= PEER[dtype]
    assert relative_error(found.ntk[distinct], expected.ntk[distinct]) <= PEER[dtype]


# (E φ(u)², E φ'(u)²) of u ~ N(0, K).
OF_ONE_INPUT = {
    "identity": lambda K: (K, 1 + 0 * K),
    "relu": lambda K: (K / 2, 0.5 + 0 * K),
    "abs": lambda K: (K, 1 + 0 * K),
    "square": lambda K: (3 * K**2, 4 * K),
    "erf": lambda K: (2 / np.pi * np.arcsin(2 * K / (1 + 2 * K)), 4 / np.pi / np.sqrt(1 + 4 * K)),
    "sin": lambda K: ((1 - np.exp(-2 * K)) / 2, (1 + np.exp(-2 * K)) / 2),
    "cos": lambda K: ((1 + np.exp(-2 * K)) / 2, (1 - np.exp(-2 * K)) / 2),
    "gaussian": lambda K: (1 / np.sqrt(1 + 4 * K), 4 * K / (1 + 4 * K) ** 1.5),
}


# In float32 those whose maps bend at the correlation 1 like an arccosine or an arcsine, and a wave.
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        case
        if case[1] == "float64" or case[0] in ("relu", "erf", "sin")
        else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(OF_ONE_INPUT, ("float64", "float32"))
    ],
)
def test_where_an_input_meets_itself(name, dtype):
    """Variances from 1e-4 to 1e4, an input twice; the kernel is that of one input, however it is compiled."""
    x = np.sqrt(np.repeat(np.geomspace(1e-4, 1e4, 9), 2))[:, None].astype(dtype) * np.ones((1, 3), dtype)
    net = ntk.MLP(depth=1, activation=name, w_std=1.0, b_std=0.0)
    K = np.mean(x.astype(float) ** 2, axis=1)
    C, dot = OF_ONE_INPUT[name](K)
    # A variance has an error of some ε; E φ(u)² of sin moves by 2K exp(−2K) ≤ 1 times that, the others by less.
    tolerance = SAME_FORMULA[dtype]
    for kernels in (ntk.infinite_kernels(net, x), ntk.infinite_kernels(net, x, x.copy())):
        for twins in (np.diagonal, lambda kernel: np.diagonal(kernel, 1)[::2]):
            rows = slice(None) if twins is np.diagonal else slice(0, None, 2)
            np.testing.assert_allclose(twins(kernels.C[1]), C[rows], rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(twins(kernels.ntk), (C + K * dot)[rows], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("net", [ntk.MLP(depth=2), ntk.RNN()], ids=["mlp", "rnn"])
def test_kernels_in_half_precision(net, dtype):
    """Some ten roundings of 2⁻⁸ and 2⁻¹¹ each: two layers of a few operations."""
    x = np.random.default_rng(4).normal(size=(3, 5) if isinstance(net, ntk.MLP) else (3, 2, 5)).astype("float32")
    x = jnp.asarray(x, dtype)
    found = ntk.infinite_ntk(net, x)
    assert found.dtype == dtype
    expected = ntk.infinite_ntk(net, x.astype("float32"))
    # Ten roundings.
    np.testing.assert_allclose(found.astype("float32"), expected, rtol=4e-2 if dtype == jnp.bfloat16 else 5e-3)


@pytest.mark.parametrize("name", ["relu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tanh", "erf"))])
def test_forward_only_ntk_is_the_sum_over_layers(name):
    net = ntk.MLP(depth=3, activation=name, w_std=1.3, b_std=0.3, v_std=0.7)
    x1, x2 = inputs(), inputs(seed=1)
    for other in (None, x2):
        np.testing.assert_allclose(
            ntk.infinite_ntk(net, x1, other),
            ntk.infinite_kernels(net, x1, other).ntk,
            rtol=0,
            atol=REORDERED["float64"],
        )


def test_every_layer_against_a_textbook_loop():
    """C^l and D^l of a ReLU network by the arc-cosine formulas, one pair at a time."""
    depth, w_std, b_std, v_std = 3, 1.3, 0.4, 0.7
    x1, x2 = inputs(), inputs(seed=1)
    pairs = itertools.product((0, 2, 5), (0, 5, 6, 7))

    def moments(q11, q12, q22):
        rho = q12 / np.sqrt(q11 * q22)
        theta = np.arccos(np.clip(rho, -1, 1))
        C = np.sqrt(q11 * q22) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
        return C, (np.pi - theta) / (2 * np.pi)

    found = ntk.infinite_kernels(ntk.MLP(depth=depth, w_std=w_std, b_std=b_std, v_std=v_std), x1, x2)
    for i, j in pairs:
        a, b = x1[i], x2[j]
        q11, q12, q22 = a @ a / 10, a @ b / 10, b @ b / 10
        C, dots, K = [q12], [], []
        for _ in range(depth):
            q11, q12, q22 = (w_std**2 * q + b_std**2 for q in (q11, q12, q22))
            K.append(q12)
            cross, dot = moments(q11, q12, q22)
            q11, q12, q22 = q11 / 2, cross, q22 / 2
            C.append(q12)
            dots.append(dot)
        D = [v_std**2 * dots[-1]]
        for dot in dots[-2::-1]:
            D.insert(0, w_std**2 * D[0] * dot)
        nngp = v_std**2 * C[-1]
        np.testing.assert_allclose(found.C[:, i, j], C, rtol=0, atol=CLOSED_FORM["float64"])
        np.testing.assert_allclose(found.D[:, i, j], D, rtol=0, atol=CLOSED_FORM["float64"])
        np.testing.assert_allclose(found.nngp[i, j], nngp, rtol=0, atol=CLOSED_FORM["float64"])
        np.testing.assert_allclose(found.ntk[i, j], nngp + np.dot(D, K), rtol=0, atol=CLOSED_FORM["float64"])


@pytest.mark.parametrize("depth", [1, 100])
def test_deep_linear_network_in_closed_form(depth):
    """Without biases C^l = σ_w^{2l} C⁰ and every layer adds the same: Θ = (L + 1) σ_v² σ_w^{2L} ξ·ξ̄/d."""
    net = ntk.MLP(depth=depth, activation="identity", w_std=1.05, b_std=0.0, v_std=0.7)
    x = inputs()
    expected = (depth + 1) * 0.7**2 * 1.05 ** (2 * depth) * (x @ x.T) / 10
    np.testing.assert_allclose(
        ntk.infinite_ntk(net, x), expected, rtol=0, atol=CLOSED_FORM["float64"] * np.abs(expected).max()
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_relu_kernels_scale_with_the_inputs(scale, dtype):
    """Input variances 1e-8 and 1e8: without biases the kernels are homogeneous of degree two."""
    net = ntk.MLP(depth=3, w_std=1.3, b_std=0.0)
    x = inputs().astype(dtype)
    # A scale that is not a power of two rounds the inputs. At ρ = ±1 the kernel changes by the root of this rounding.
    tolerance = 10 * np.sqrt(jnp.finfo(dtype).eps)
    scaled = ntk.infinite_kernels(net, np.asarray(scale, dtype) * x)
    plain = ntk.infinite_kernels(net, x)
    assert relative_error(scaled.ntk, np.float64(scale) ** 2 * np.asarray(plain.ntk, np.float64)) < tolerance
    np.testing.assert_allclose(scaled.D, plain.D, rtol=0, atol=tolerance * float(plain.D.max()))


def test_no_overflow_where_the_kernel_is_representable():
    """ReLU with σ_w = 2 doubles the variance in each of 100 layers; squares of it leave float32's range."""
    net = ntk.MLP(depth=100, w_std=2.0, b_std=0.0, v_std=1.0)
    # Not the input that is 3 times another: at ρ = 1 without being equal, each layer's rounding costs its square root.
    x = inputs()[[0, 1, 2, 5, 6]]
    expected = ntk.infinite_ntk(net, x)
    found = ntk.infinite_ntk(net, x.astype(np.float32))
    assert float(found.max()) > 1e30
    # Each of 100 layers may round the variances by an ulp or two in the same direction.
    assert relative_error(found, expected) < 400 * jnp.finfo(jnp.float32).eps


@pytest.mark.parametrize(
    "name", ["relu", "tanh", "sign", *(pytest.param(name, marks=pytest.mark.slow) for name in ("erf", "gelu"))]
)
def test_float32_diagonal_and_duplicates_are_exact(name):
    """An entry whose correlation is 1 does not lose half of its digits."""
    net = ntk.MLP(depth=3, activation=name, w_std=1.3, b_std=0.3)
    x = inputs(dim=784).astype(np.float32)
    found, diagonal = ntk.infinite_kernels(net, x), np.diagonal(ntk.infinite_ntk(net, x.astype(np.float64)))
    np.testing.assert_allclose(np.diagonal(found.ntk), diagonal, rtol=REORDERED["float32"])
    np.testing.assert_allclose(found.ntk[0, 1], diagonal[0], rtol=REORDERED["float32"])


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_float32_duplicates_of_two_batches_are_exact(name):
    """Equal inputs of different batches, for any order in which their products are summed."""
    net = ntk.MLP(depth=3, activation=name, w_std=1.3, b_std=0.3)
    x = inputs(dim=784).astype(np.float32)
    found, expected = ntk.infinite_ntk(net, x, x[5:8].copy()), ntk.infinite_ntk(net, x.astype(np.float64))
    np.testing.assert_allclose(found[5:8].diagonal(), expected.diagonal()[5:8], rtol=REORDERED["float32"])


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("values", [pytest.param((0.0, 1.0), marks=pytest.mark.slow), (-1.0, 1.0)])
def test_all_corners_of_a_cube_are_different_inputs(values, dtype):
    """The Boolean cube: few bits in every number, many equal products. Kernels of one and of two batches agree."""
    x = np.array(list(itertools.product(values, repeat=8)), dtype)
    net = ntk.MLP(depth=2, activation="erf", b_std=0.0)
    found = ntk.infinite_kernels(net, x)
    swapped = ntk.infinite_kernels(net, x, x.copy())
    expected = ntk.infinite_kernels(net, x.astype(np.float64) * (1 + 1e-13))  # rounded, so that no two products agree
    for theta in (found.ntk, swapped.ntk):
        # The inputs were moved by 1e-13.
        np.testing.assert_allclose(theta, expected.ntk, rtol=0, atol=20 * jnp.finfo(dtype).eps + 1e-11)
        np.testing.assert_allclose(theta, theta.T, rtol=0, atol=20 * jnp.finfo(dtype).eps)


def test_close_inputs_are_different_inputs():
    """Opposite signs in small features: the bits differ in signs alone."""
    x1, x2 = np.array([[1, 1e-3, 1e-3]], np.float32), np.array([[1, -1e-3, -1e-3]], np.float32)
    found = ntk.infinite_kernels(ntk.MLP(depth=1, b_std=0.0), x1, x2).D[0, 0, 0]
    angle = 2 * np.arctan(np.sqrt(2) * 1e-3)
    # cos(angle) is known to one rounding, which moves the angle by ε/angle.
    np.testing.assert_allclose(found, (np.pi - angle) / (2 * np.pi), rtol=0, atol=4 * 1.2e-7 / angle / (2 * np.pi))


def test_a_zero_input_without_bias_is_a_dead_network():
    found = ntk.infinite_kernels(ntk.MLP(depth=3, b_std=0.0), inputs())
    assert np.all(found.ntk[4] == 0)
    assert np.all(found.C[:, 4] == 0)
    # relu'(0) = 0, as in JAX and in finite networks.
    assert np.all(found.D[:, 4] == 0)


def test_one_input_and_one_feature():
    k = ntk.infinite_kernels(ntk.MLP(depth=1, activation="erf"), np.array([[2.0]]))
    q = 4.0 + 1.0
    C = 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))
    D = 4 / np.pi / np.sqrt((1 + 2 * q) ** 2 - 4 * q**2)
    np.testing.assert_allclose(k.ntk, [[C + D * q]], rtol=SAME_FORMULA["float64"])


networks = st.fixed_dictionaries(
    {
        "depth": st.integers(1, 6),
        "activation": st.sampled_from(["relu", "erf", "gelu", "abs", "tanh", "sin", "softplus"]),
        "w_std": st.floats(0.1, 2.0),
        "b_std": st.sampled_from([0.0, 0.5]),
        "v_std": st.floats(0.1, 2.0),
    }
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    network=networks,
    num_inputs=st.integers(1, 7),
    dim=st.integers(1, 5),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    seed=st.integers(0, 2**20),
)
def test_symmetric_and_positive_semidefinite(network, num_inputs, dim, scale, seed):
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=(num_inputs, dim))
    x = x[rng.integers(num_inputs, size=num_inputs)] * rng.choice([-1.0, 0.0, 1.0, 2.0], size=(num_inputs, 1))
    k = ntk.infinite_kernels(ntk.MLP(**network), x)
    for matrix in (k.ntk, k.nngp, *k.C, *k.D):
        # A matrix whose entries are off by ε of the largest has eigenvalues off by N·ε of it; near ρ = ±1 the
        # rounding of inputs costs its square root, in directions that ReLU's Ċ alone sees.
        tolerance = 1e-7 * num_inputs * float(jnp.abs(matrix).max())
        assert float(jnp.abs(matrix - matrix.T).max()) <= tolerance
        assert float(jnp.linalg.eigvalsh(matrix)[0]) >= -tolerance
