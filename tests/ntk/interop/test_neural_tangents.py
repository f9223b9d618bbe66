"""neural-tangents through `load_neural_tangents`, against closed forms written out here."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from as_written import as_written
from scipy.special import ndtr
from tolerances import CLOSED_FORM

import ntk
from ntk.interop.neural_tangents import load_neural_tangents, stax_kernel_fn

W_STD, B_STD, V_STD = 1.3, 0.4, 0.8
# Tens of roundings of 2e-16; exp of a large K and values close to zero multiply them by some hundreds.
CLOSE = 1e-11


@pytest.fixture(scope="module")
def nt():
    return load_neural_tangents()


def inputs(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def relu_maps(a, b, c):
    """E φφ and E φ'φ' at covariance [[a, b], [b, c]] (Cho & Saul 2009); so below, each activation."""
    angle = np.arccos(np.clip(b / np.sqrt(a * c), -1, 1))
    value = np.sqrt(a * c) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return value, (np.pi - angle) / (2 * np.pi)


def abs_maps(a, b, c):
    """|u| = relu(u) + relu(−u)."""
    (value, slopes), (crossed, crossed_slopes) = relu_maps(a, b, c), relu_maps(a, -b, c)
    return 2 * (value + crossed), 2 * (slopes - crossed_slopes)


def erf_maps(a, b, c):
    scale = (1 + 2 * a) * (1 + 2 * c)
    return 2 / np.pi * np.arcsin(2 * b / np.sqrt(scale)), 4 / np.pi / np.sqrt(scale - 4 * b**2)


def entire_maps(function, derivative):
    """Gauss–Hermite of order 120: for these entire functions order 100 differs by less than 1e-12."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    density = np.outer(weights, weights) / weights.sum() ** 2

    def maps(a, b, c):
        a, b, c = (np.asarray(k)[..., None, None] for k in (a, b, c))
        u = np.sqrt(a) * nodes[:, None]
        v = b / np.sqrt(a) * nodes[:, None] + np.sqrt(np.maximum(c - b**2 / a, 0)) * nodes
        return tuple((density * f(u) * f(v)).sum((-1, -2)) for f in (function, derivative))

    return maps


ACTIVATIONS = {
    "Relu": relu_maps,
    "Abs": abs_maps,
    "Erf": erf_maps,
    "Gelu": entire_maps(lambda x: x * ndtr(x), lambda x: ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)),
    "Sin": entire_maps(np.sin, np.cos),
    "Cos": entire_maps(np.cos, lambda x: -np.sin(x)),
    "Exp": entire_maps(np.exp, np.exp),
}


def mlp_kernels(maps, depth, x1, x2):
    """NNGP and NTK of the MLP: the recursion with a read-out that has no bias."""
    d = x1.shape[1]
    c11, c12, c22 = (x1**2).sum(1)[:, None] / d, x1 @ x2.T / d, (x2**2).sum(1)[None] / d
    theta = 0.0
    for _ in range(depth):
        k11, k12, k22 = (W_STD**2 * c + B_STD**2 for c in (c11, c12, c22))
        c12, c12_dot = maps(k11, k12, k22)
        c11, c22 = maps(k11, k11, k11)[0], maps(k22, k22, k22)[0]
        theta = c12_dot * (k12 + W_STD**2 * theta)
    return V_STD**2 * c12, V_STD**2 * (c12 + theta)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_infinite_kernels_are_the_closed_forms(nt, activation, depth):
    stax = nt.stax
    hidden = [stax.Dense(8, W_STD, B_STD), getattr(stax, activation)()] * depth
    _, _, kernel_fn = stax.serial(*hidden, stax.Dense(1, V_STD, b_std=None))
    x1, x2 = inputs(4), inputs(3, seed=1)
    kernels = kernel_fn(x1, x2, ("nngp", "ntk"))
    for measured, expected in zip(kernels, mlp_kernels(ACTIVATIONS[activation], depth, x1, x2), strict=True):
        np.testing.assert_allclose(measured, expected, rtol=CLOSE)


# The activations of `ntk` that have a layer there.
NAMED = {
    "relu": relu_maps,
    # relu(u) − relu(−u)/10 = 0.55 u + 0.45 |u|, and a product of an odd and an even function has mean 0.
    "leaky_relu": lambda a, b, c: tuple(
        0.55**2 * odd + 0.45**2 * even for odd, even in zip((b, 1.0), abs_maps(a, b, c), strict=True)
    ),
    "abs": abs_maps,
    "erf": erf_maps,
    "gelu": ACTIVATIONS["Gelu"],
    "sin": ACTIVATIONS["Sin"],
    "cos": ACTIVATIONS["Cos"],
    "gaussian": entire_maps(lambda x: np.exp(-(x**2)), lambda x: -2 * x * np.exp(-(x**2))),
    "exp": ACTIVATIONS["Exp"],
    # Isserlis: E u²v² = ac + 2b², E u³v³ = 9abc + 6b³, and so for the derivatives 2u and 3u².
    "square": lambda a, b, c: (a * c + 2 * b**2, 4 * b),
    "cube": lambda a, b, c: (9 * a * b * c + 6 * b**3, 9 * (a * c + 2 * b**2)),
}


@pytest.mark.parametrize("activation", NAMED)
@pytest.mark.parametrize("depth", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_kernel_function_of_a_network(activation, depth):
    net = ntk.MLP(depth=depth, activation=activation, w_std=W_STD, b_std=B_STD, v_std=V_STD)
    x1, x2 = inputs(4), inputs(3, seed=1)
    kernels = stax_kernel_fn(net)(x1, x2, ("nngp", "ntk"))
    for measured, expected in zip(kernels, mlp_kernels(NAMED[activation], depth, x1, x2), strict=True):
        np.testing.assert_allclose(measured, expected, rtol=CLOSE)


@pytest.mark.slow
def test_a_network_that_neural_tangents_does_not_have():
    with pytest.raises(TypeError, match=r"net is of type RNN; expected an ntk.MLP for neural-tangents"):
        stax_kernel_fn(ntk.RNN())
    # JAX's leaky_relu has another slope than the activation of that name.
    for activation in ("tanh", jax.nn.leaky_relu):
        net = ntk.MLP(depth=1, activation=activation)
        sentence = f"net.activation is '{net.activation.name}'; expected, for neural-tangents, one of those named relu,"
        with pytest.raises(ValueError, match=sentence):
            stax_kernel_fn(net)


def test_a_convolution_over_the_whole_image_is_a_dense_layer(nt):
    stax = nt.stax
    convolution = stax.Conv(8, (4, 5), padding="VALID", W_std=W_STD, b_std=B_STD)
    _, _, kernel_fn = stax.serial(convolution, stax.Relu(), stax.Flatten(), stax.Dense(1, V_STD))
    x1, x2 = inputs(4, d=40), inputs(3, d=40, seed=1)
    kernels = kernel_fn(x1.reshape(-1, 4, 5, 2), x2.reshape(-1, 4, 5, 2), ("nngp", "ntk"))
    for measured, expected in zip(kernels, mlp_kernels(relu_maps, 1, x1, x2), strict=True):
        np.testing.assert_allclose(measured, expected, rtol=CLOSE)


@as_written
def tanh_network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


AXES = {
    "averaged": ({}, lambda full: jnp.trace(full, axis1=2, axis2=3) / 2),
    "full": ({"trace_axes": ()}, lambda full: full),
    "diagonal": ({"trace_axes": (), "diagonal_axes": (-1,)}, lambda full: jnp.diagonal(full, axis1=2, axis2=3)),
    "one input at a time": ({"vmap_axes": 0}, lambda full: jnp.trace(full, axis1=2, axis2=3) / 2),
}


@pytest.mark.parametrize(
    ("axes", "implementation"),
    [
        (axes, implementation)
        if implementation == 1 or axes == "full"
        else pytest.param(axes, implementation, marks=pytest.mark.slow)
        for axes, implementation in itertools.product(AXES, (1, 2))
    ],
)
def test_empirical_kernels_are_the_contracted_jacobians(nt, implementation, axes):
    options, expected = AXES[axes]
    params = {"w": inputs(3, 6, seed=2), "b": inputs(1, 6, seed=3)[0], "v": inputs(6, 2, seed=4)}
    x1, x2 = inputs(4), inputs(3, seed=1)

    def jacobian(x):
        leaves = jax.tree.leaves(jax.jacobian(tanh_network)(params, x))
        return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)

    full = jnp.einsum("aip,bjp->abij", jacobian(x1), jacobian(x2))
    ntk_fn = nt.empirical_ntk_fn(tanh_network, implementation=implementation, **options)
    # Sums of some tens of products near 1 in float64.
    np.testing.assert_allclose(ntk_fn(x1, x2, params), expected(full), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("implementation", [1, 2])
def test_empirical_kernels_of_a_scalar_output(nt, implementation):
    params, x = inputs(1)[0], inputs(4, seed=1)
    ntk_fn = nt.empirical_ntk_fn(lambda p, x: jnp.sin(x @ p), trace_axes=(), implementation=implementation)
    slope = np.cos(x @ params)
    np.testing.assert_allclose(ntk_fn(x, None, params), np.outer(slope, slope) * (x @ x.T), rtol=CLOSED_FORM["float64"])


@pytest.mark.parametrize("implementation", [0, 3])
@pytest.mark.parametrize("function", ["empirical_ntk_fn", "empirical_kernel_fn"])
def test_implementations_that_do_not_run_are_refused(nt, function, implementation):
    with pytest.raises(ValueError, match="pass implementation=1 or implementation=2"):
        getattr(nt, function)(tanh_network, implementation=nt.NtkImplementation(implementation))


def test_gradient_descent_is_the_matrix_exponential_in_its_own_time(nt):
    features = inputs(7, 9)
    kernel = features @ features.T / 9
    train, test_train = kernel[:5, :5], kernel[5:, :5]
    y, f0, f0_test = inputs(5, 2, seed=1), inputs(5, 2, seed=2), inputs(2, 2, seed=3)
    time = 1.7
    decay = scipy.linalg.expm(-train * time)
    # Its loss is the mean over 5·2 targets, so its time is 10 times that of ½ Σ (f − y)².
    predict_fn = nt.predict.gradient_descent_mse(train, y)
    f_train, f_test = predict_fn(time * y.size, f0, f0_test, test_train)
    # The condition number of `train` is 68, so roundings stay below 1e-13.
    np.testing.assert_allclose(f_train, y + decay @ (f0 - y), rtol=1e-11, atol=1e-12)
    change = test_train @ np.linalg.solve(train, (np.eye(5) - decay) @ (y - f0))
    np.testing.assert_allclose(f_test, f0_test + change, rtol=CLOSED_FORM["float64"], atol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_ensembles_and_gaussian_processes_are_the_linear_algebra(nt):
    stax = nt.stax
    _, _, kernel_fn = stax.serial(stax.Dense(8, W_STD, B_STD), stax.Erf(), stax.Dense(1, V_STD))
    x, x_test, y = inputs(5), inputs(2, seed=1), inputs(5, 1, seed=2)
    points = np.concatenate([x, x_test])
    nngp, ntk = (np.asarray(k) for k in kernel_fn(points, None, ("nngp", "ntk")))
    # Both condition numbers are below 40, so roundings stay below 1e-13.
    close = {"rtol": 1e-11, "atol": 1e-12}

    a = ntk[5:, :5] @ np.linalg.inv(ntk[:5, :5])  # Lee et al. 2019, equations 15 and 16 at infinite time.
    cross = a @ nngp[:5, 5:]
    trained = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y)
    ensemble = trained(x_test=x_test, get="ntk", compute_cov=True)
    np.testing.assert_allclose(ensemble.mean, a @ y, **close)
    expected = nngp[5:, 5:] + a @ nngp[:5, :5] @ a.T - cross - cross.T
    np.testing.assert_allclose(ensemble.covariance, expected, **close)
    early = trained(t=2.0 * y.size, x_test=x_test, get="ntk")
    decay = scipy.linalg.expm(-2.0 * ntk[:5, :5])
    np.testing.assert_allclose(early, a @ (np.eye(5) - decay) @ y, **close)

    b = nngp[5:, :5] @ np.linalg.inv(nngp[:5, :5])
    train, test_train, test = kernel_fn(x, None, "nngp"), kernel_fn(x_test, x, "nngp"), nngp[5:, 5:]
    posterior = nt.predict.gp_inference(train, y)("nngp", test_train, test)
    np.testing.assert_allclose(posterior.mean, b @ y, **close)
    np.testing.assert_allclose(posterior.covariance, test - b @ nngp[:5, 5:], **close)


def test_batches_make_up_the_whole_kernel(nt):
    stax = nt.stax
    _, _, kernel_fn = stax.serial(stax.Dense(8, W_STD, B_STD), stax.Relu(), stax.Dense(1, V_STD))
    x1, x2 = inputs(4), inputs(6, seed=1)
    for device_count in (0, -1):
        tiled = nt.batch(kernel_fn, batch_size=2, device_count=device_count)(x1, x2, "ntk")
        np.testing.assert_allclose(tiled, mlp_kernels(relu_maps, 1, x1, x2)[1], rtol=CLOSED_FORM["float64"])


def test_monte_carlo_kernels_scatter_around_the_moments_of_the_weights(nt):
    init_fn, apply_fn, _ = nt.stax.serial(nt.stax.Dense(1024, W_STD))
    x = inputs(3)
    sampled = nt.monte_carlo_kernel_fn(init_fn, apply_fn, jax.random.key(0), n_samples=4)(x, None, ("nngp", "ntk"))
    gram = x @ x.T / 3
    # 4·1024 independent Gaussian outputs f with covariance K: f f̄ has variance K11 K22 + K12².
    k = W_STD**2 * gram
    error = np.sqrt((np.outer(np.diag(k), np.diag(k)) + k**2) / (4 * 1024))
    assert np.all(np.abs(sampled.nngp - k) < 4 * error)
    # A linear network has the same tangent kernel for all weights.
    np.testing.assert_allclose(sampled.ntk, k, rtol=1e-12)
