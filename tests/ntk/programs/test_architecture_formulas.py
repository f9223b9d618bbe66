"""Limits of the architectures against the formulas of Yang 2020 (arXiv:2006.14548) in NumPy, and neural-tangents."""

import jax.numpy as jnp
import numpy as np
import pytest
from batch_norm_formulas import one_batch, two_batches
from kernel_pairs import relu_maps
from scipy.special import softmax

import ntk
from ntk.programs import infinite
from ntk.programs.architectures import (
    batch_norm_mlp,
    bidirectional_rnn,
    cnn_1d,
    cnn_2d,
    deep_equilibrium,
    mixture,
    mlp,
    residual_mlp,
    rnn,
    self_attention,
    tied_mlp,
    transformer,
)

pytestmark = pytest.mark.slow


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def assert_close(found, expected, tolerance=1e-6):
    """To within `tolerance` of the largest entry; 1e-6 is asked of closed forms."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def of_pairs(K):
    return relu_maps(K, np.diagonal(K), np.diagonal(K))


def recursion(given, w2, reads):
    """Of h^t = W φ(h^{t−1}) + what is given: K, C and D at all pairs of times (T, T, N, N), with ReLU.

    Forward K = σ_w² C of the times before + given; backward D = (reads + σ_w² D of the times after) E φ'φ̄', where
    `reads` is σ_v² times how much an output weight takes of both.
    """
    K, C, slope = given.copy(), np.zeros_like(given), np.zeros_like(given)
    times = len(given)
    pairs = [(t, t) for t in range(times)] + [(t, r) for t, r in np.ndindex(times, times) if t != r]
    for t, r in pairs:  # the variances first
        if t and r:
            K[t, r] += w2 * C[t - 1, r - 1]
        C[t, r], slope[t, r] = relu_maps(K[t, r], np.diagonal(K[t, t]), np.diagonal(K[r, r]))
    D = np.zeros((times + 1, times + 1, *given.shape[2:]))
    for t, r in reversed(list(np.ndindex(times, times))):
        D[t, r] = (reads[t, r] + w2 * D[t + 1, r + 1]) * slope[t, r]
    return K, C, D[:times, :times]


def test_rnn_with_average_pooling():
    x, w2, v2 = inputs(3, 3, 2), 1.3**2, 1.2**2
    given = 0.8**2 * np.einsum("itd,jrd->trij", x, x) / 2 + 0.3**2
    K, C, D = recursion(given, w2, np.full((3, 3), v2 / 9))
    nngp = v2 * C.mean((0, 1))
    found = infinite(rnn(pooling="mean", w_std=1.3, u_std=0.8, b_std=0.3, v_std=1.2), x)
    assert_close(found.nngp, nngp)
    assert_close(found.ntk, nngp + np.sum(D * K, axis=(0, 1)))


def test_deep_equilibrium_is_a_recurrent_network_that_reads_one_input_again_and_again():
    x, w2, steps = inputs(3, 2), 0.7**2, 4
    given = np.broadcast_to(0.8**2 * x @ x.T / 2 + 0.3**2, (steps, steps, 3, 3))
    reads = np.zeros((steps, steps))
    reads[-1, -1] = 1.2**2
    K, C, D = recursion(given, w2, reads)
    found = infinite(deep_equilibrium(steps=steps, w_std=0.7, u_std=0.8, b_std=0.3, v_std=1.2), x)
    assert_close(found.nngp, 1.2**2 * C[-1, -1])
    assert_close(found.ntk, 1.2**2 * C[-1, -1] + np.sum(D * K, axis=(0, 1)))


@pytest.mark.slow
def test_transformer():
    """Two blocks, forward and backward, over all positions of all inputs at once."""
    N, T, w2, b2, v2 = 2, 2, 1.4**2, 0.3**2, 1.1**2
    x = inputs(N, T, 2)
    C = np.einsum("itd,jrd->itjr", x, x).reshape(N * T, N * T) / 2
    same = np.kron(np.eye(N), np.ones((T, T)))
    layers = []
    for _ in range(2):
        Ck = 0.9**2 * C
        mixing = np.eye(N * T) + softmax(np.where(same, Ck, -np.inf), axis=1)
        Cy = mixing @ Ck @ mixing.T
        scale_y = np.diagonal(Cy) ** -0.5
        Cz = scale_y[:, None] * Cy * scale_y
        C_relu, slope = of_pairs(w2 * Cz + b2)
        Cx = Cz + w2 * C_relu + b2
        scale_x = np.diagonal(Cx) ** -0.5
        layers.append((C, mixing, scale_y, Cz, C_relu, slope, scale_x))
        C = scale_x[:, None] * Cx * scale_x

    def pooled(products):
        return products.reshape(N, T, N, T).sum((1, 3))

    theta = nngp = v2 * pooled(C) / T**2
    D = np.full((N * T, N * T), v2 / T**2)
    for before, mixing, scale_y, Cz, C_relu, slope, scale_x in reversed(layers):
        Dh = scale_x[:, None] * D * scale_x
        Dg = w2 * Dh * slope
        Dy = scale_y[:, None] * (Dh + w2 * Dg) * scale_y
        Dk = mixing.T @ Dy @ mixing
        theta = theta + pooled(Dh * (w2 * C_relu + b2) + Dg * (w2 * Cz + b2) + 0.9**2 * Dk * before)
        D = 0.9**2 * Dk
    found = infinite(transformer(depth=2, u_std=0.9, w_std=1.4, b_std=0.3, v_std=1.1), x)
    assert found.samples == 0
    assert_close(found.nngp, nngp)
    assert_close(found.ntk, theta)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_tied_weights_are_a_double_sum(pooling):
    """Θ of w is Σ over pairs of layers (l, m) from the second on of σ_w² D(h^l, h̄^m) C(x^{l−1}, x̄^{m−1})."""
    x, w2, b2, v2 = inputs(3, 4), 1.3**2, 0.3**2, 1.2**2
    first = np.outer([1, 0, 0], [1, 0, 0])[..., None, None] * w2 * (x @ x.T) / 4
    reads = v2 * (np.full((3, 3), 1 / 9) if pooling == "mean" else np.outer([0, 0, 1], [0, 0, 1]))
    _, C, D = recursion(first + b2 * np.eye(3)[..., None, None], w2, reads)
    nngp = np.einsum("lm,lmij->ij", reads, C)
    double_sum = w2 * np.sum(D[1:, 1:] * C[:-1, :-1], axis=(0, 1))
    theta = nngp + double_sum + D[0, 0] * first[0, 0] + b2 * (D[0, 0] + D[1, 1] + D[2, 2])
    found = infinite(tied_mlp(pooling=pooling, w_std=1.3, b_std=0.3, v_std=1.2), x)
    assert_close(found.nngp, nngp)
    assert_close(found.ntk, theta)


def within_errors(found, error, expected):
    """As a whole within 4 standard errors, and each entry within 6, of Student's t with 15 degrees of freedom."""
    difference = np.asarray(found - expected)
    assert np.linalg.norm(difference) < 4 * np.linalg.norm(error)
    assert np.abs(difference / error).max() < 6
    # The test can tell.
    assert np.linalg.norm(error) < 0.02 * np.linalg.norm(expected)


def test_batch_norm():
    x1, x2 = inputs(7, 9), inputs(6, 9, seed=1)
    x = np.concatenate([x1, x2])
    K = 1.2**2 * x @ x.T / 9
    program = batch_norm_mlp(w_std=1.2, v_std=0.9)
    for found, (C, JKJ) in (
        (infinite(program, x1), one_batch(K[:7, :7])),
        (infinite(program, x1, x2), two_batches(K, 7)),
    ):
        within_errors(found.nngp, found.standard_error.nngp, 0.9**2 * C)
        within_errors(found.ntk, found.standard_error.ntk, 0.9**2 * (C + JKJ))
        assert found.D == {}


def test_attention_is_uniform():
    """Of y_i = x_i + mean_j W x_j the mean over i is x̄ + W x̄: Σ = σ_v² (1 + σ_w²)c, and W adds σ_v²σ_w²(c + τ)."""
    x = inputs(3, 4, 2)
    c = 0.9**2 * x.mean(1) @ x.mean(1).T / 2
    found = infinite(self_attention(u_std=0.9, qk_std=1.7, w_std=1.3, v_std=1.2), x)
    assert_close(found.nngp, 1.2**2 * (1 + 1.3**2) * c)
    assert_close(found.ntk, 1.2**2 * ((1 + 1.3**2) * c + c + 1.3**2 * 2 * c))


def test_the_width_has_no_limit():
    @ntk.tensor_program
    def widening(net, x):
        return net.output("v") @ (net.input_matrix("u") @ x * net.width)

    with pytest.raises(ValueError, match=r"uses its width at .*; expected one that does not"):
        infinite(widening, inputs(3, 2))


@pytest.mark.slow
def test_two_directions():
    """Concatenated states average the kernels of both; of a sum, E s r̄ = E s E r̄ is left, as their weights differ."""
    x = inputs(3, 2, 2)
    options = {"w_std": 1.3, "u_std": 0.8, "b_std": 0.3, "v_std": 1.2}

    def one_direction(steps):
        given = 0.8**2 * np.einsum("itd,jrd->trij", steps, steps) / 2 + 0.3**2
        K, C, D = recursion(given, 1.3**2, 1.2**2 * np.outer([0, 1], [0, 1]))
        return 1.2**2 * C[1, 1], 1.2**2 * C[1, 1] + np.sum(D * K, axis=(0, 1))

    (nngp1, ntk1), (nngp2, ntk2) = one_direction(x), one_direction(x[:, ::-1])

    def both(combination):
        return infinite(bidirectional_rnn(pooling="last", combination=combination, **options), x)

    found = both("concatenation")
    assert_close(found.nngp, (nngp1 + nngp2) / 2)
    assert_close(found.ntk, (ntk1 + ntk2) / 2)

    def mean(steps):
        """E relu(u) = √(q/2π), with q the variance of the last pre-activation."""
        first = 0.8**2 * np.sum(steps[:, 0] ** 2, axis=1) / 2 + 0.3**2
        return np.sqrt((1.3**2 * first / 2 + 0.8**2 * np.sum(steps[:, 1] ** 2, axis=1) / 2 + 0.3**2) / (2 * np.pi))

    s, r = mean(x), mean(x[:, ::-1])
    mixed = 1.2**2 * (np.outer(s, r) + np.outer(r, s))
    found = both("sum")
    assert_close(found.nngp, nngp1 + nngp2 + mixed)
    assert_close(found.ntk, ntk1 + ntk2 + mixed)


def stax_cnn(stax, num_axes, depth, kernel_size, padding, pool_size, pooling, stride=1):
    layers, strides = [], (stride,) * num_axes
    for _ in range(depth):
        layers += [stax.Conv(1, (kernel_size,) * num_axes, strides, padding.upper(), 1.4, 0.3), stax.Relu()]
        if pool_size > 1:
            layers.append(stax.AvgPool((pool_size,) * num_axes, (pool_size,) * num_axes))
    pool = {"mean": stax.GlobalAvgPool, "flatten": stax.Flatten}[pooling]()
    return stax.serial(*layers, pool, stax.Dense(1, 1.1, None))[2]


def test_convolution():
    """K of a position is the mean of C over the window, at all pairs of positions; "valid", two layers, the mean."""
    N, w2, b2 = 2, 1.4**2, 0.3**2
    x = inputs(N, 4, 2)
    C, tau = np.einsum("ipd,jqd->ipjq", x, x) / 2, 0.0

    def windows(A):
        return (A[:, :-1, :, :-1] + A[:, 1:, :, 1:]) / 2

    tau = np.zeros_like(C)
    for _ in range(2):
        K, tau = w2 * windows(C) + b2, w2 * windows(C + tau) + b2
        P = K.shape[1]
        C, slope = (product.reshape(K.shape) for product in of_pairs(K.reshape(N * P, N * P)))
        tau = slope * tau
    found = infinite(cnn_1d(depth=2, kernel_size=2, padding="valid", w_std=1.4, b_std=0.3, v_std=1.1), x)
    assert_close(found.nngp, 1.1**2 * C.mean((1, 3)))
    assert_close(found.ntk, 1.1**2 * (C + tau).mean((1, 3)))


@pytest.mark.implicit_promotion  # of neural-tangents
@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "shape", "options"),
    [
        (
            cnn_1d,
            (4, 2),
            {"depth": 2, "kernel_size": 2, "padding": "valid", "pool_size": 1, "pooling": "mean"},
        ),
        (
            cnn_2d,
            (2, 4, 2),
            {"depth": 1, "kernel_size": 3, "padding": "same", "pool_size": 2, "pooling": "flatten"},
        ),
        (
            cnn_2d,
            (4, 3, 2),
            {"depth": 2, "kernel_size": 3, "stride": 2, "padding": "circular", "pool_size": 1, "pooling": "mean"},
        ),
    ],
)
def test_convolutions_are_those_of_neural_tangents(program, shape, options):
    x1, x2 = jnp.asarray(inputs(3, *shape)), jnp.asarray(inputs(2, *shape, seed=1))
    kernel_fn = stax_cnn(ntk.load_neural_tangents().stax, len(shape) - 1, **options)
    expected = kernel_fn(x1, x2, ("nngp", "ntk"))
    found = infinite(program(w_std=1.4, b_std=0.3, v_std=1.1, **options), x1, x2)
    assert_close(found.nngp, expected.nngp)
    assert_close(found.ntk, expected.ntk)


def test_options_of_a_mixture():
    """A mixture of two of one architecture has parameters and options of each."""
    x = inputs(3, 4)
    both = mixture(mlp(depth=1), mlp(depth=1, w_std=1.5), weights=(0.3, 0.7))
    first, second = (infinite(mlp(depth=1, w_std=w_std), x).ntk for w_std in (0.5, 1.5))
    found = infinite(both(w_std_1=0.5, mixture_weight_2=0.2), x).ntk
    assert_close(found, 0.3 * first + 0.2 * second, 1e-12)
    assert set(both.record((4,)).parameters) == {"1/w1", "1/b1", "1/v", "2/w1", "2/b1", "2/v"}


def test_residual_branches():
    """K and τ add up along the branches: K + σ_w² C + σ_b², and τ + σ_w²(C + Ċτ) + σ_b²."""
    x = inputs(3, 4)
    K = tau = 0.8**2 * x @ x.T / 4
    for _ in range(2):
        C, slope = of_pairs(K)
        K, tau = K + 1.3**2 * C + 0.3**2, tau + 1.3**2 * (C + slope * tau) + 0.3**2
    C, slope = of_pairs(K)
    found = infinite(residual_mlp(u_std=0.8, w_std=1.3, b_std=0.3, v_std=1.2), x)
    assert_close(found.nngp, 1.2**2 * C)
    assert_close(found.ntk, 1.2**2 * (C + slope * tau))
