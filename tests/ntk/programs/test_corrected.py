"""Limits without the gradient independence assumption: closed forms, and networks of finite width."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import assert_refused, rows
from tolerances import SOLVED

from ntk.programs import architectures, corrected_kernels, finite, infinite, tensor_program

X = np.array([[1.0, 2.0], [0.5, -1.0], [1.0, 2.0]])  # one of them twice
K = X @ X.T / 2


def assert_within(found, error, expected, times=6.0):
    """Student's t with 15 degrees of freedom exceeds 6 with probability 2.4e-5; exact values to rounding."""
    assert np.all(np.abs(found - expected) <= times * np.asarray(error) + SOLVED["float64"] * np.abs(expected).max())


@tensor_program
def averaged(net, x):
    """The example of the source text: y = 1ᵀx²/n."""
    x1 = net.watch("x1", net.input_matrix("W1") @ x + 1.0)
    h = net.watch("h", net.matrix("W2") @ x1)
    return (h * h).mean()


def test_the_example_of_the_source():
    """ξ = 0: dh = 2h of variance 4; dx¹ = 2W²ᵀW²x¹ is N(2, 4), of second moment 8, where GIA has N(0, 4)."""
    found = corrected_kernels(averaged, np.zeros((1, 3)))
    error = found.standard_error
    assert found.averaged
    assert_within(found.gradient_mean["x1"], error.gradient_mean["x1"], 2.0)
    assert_within(found.D["x1"], error.D["x1"], 8.0)
    assert_within(found.D["h"], error.D["h"], 4.0)
    assert_within(found.theta, error.theta, 1.0)
    assert_within(found.ntk, error.ntk, 4.0)  # that of W² alone: E dh² E (x¹)²; that of W¹ is 0 at ξ = 0
    assert not np.any(found.nngp)
    assert float(error.D["x1"][0, 0]) < 0.05
    gia = corrected_kernels(averaged, np.zeros((1, 3)), assume_gia=True)
    assert_within(gia.gradient_mean["x1"], gia.standard_error.gradient_mean["x1"], 0.0)
    assert_within(gia.D["x1"], gia.standard_error.D["x1"], 4.0)


def test_a_transpose_in_a_linear_network():
    """f = v·WᵀWu/√n: Z = Ẑ + σ²u, so that C = 2σ⁴K; W gives 2σ⁴K and U as much, with du = WᵀWv."""
    s = 1.2

    @tensor_program
    def linear(net, x):
        W, u = net.matrix("W", s), net.watch("u", net.input_matrix("U") @ x)
        return net.output("v") @ net.watch("z", W.T @ (W @ u))

    found = corrected_kernels(linear, X)
    error = found.standard_error
    assert_within(found.C["z"], error.C["z"], 2 * s**4 * K)
    assert_within(found.D["u"], error.D["u"], 2 * s**4 * np.ones((3, 3)))
    assert_within(found.nngp, error.nngp, 2 * s**4 * K)
    assert_within(found.ntk, error.ntk, 6 * s**4 * K)
    assert float(error.ntk.max()) < 0.02 * 6 * s**4 * K.max()


def test_slopes_of_a_function_that_jumps():
    """f = mean relu(Wz): dz = Wᵀstep(h) has mean σ²E z·E δ(h) with E δ(h) = 1/√(2πq), q = σ² E z², and z = relu(u)."""
    s = 1.3

    @tensor_program
    def rectified(net, x):
        phi = net.phi("relu")
        z = net.watch("z", phi(net.input_matrix("U") @ x))
        return phi(net.matrix("W", s) @ z).mean()

    found = corrected_kernels(rectified, X)
    mean, q = np.sqrt(np.diagonal(K) / (2 * np.pi)), s**2 * np.diagonal(K) / 2
    error = found.standard_error
    assert_within(found.gradient_mean["z"], error.gradient_mean["z"], s**2 * mean / np.sqrt(2 * np.pi * q))
    second = np.diagonal(found.D["z"])
    assert_within(second, np.diagonal(error.D["z"]), s**2 / 2 + s**2 / (2 * np.pi))
    np.testing.assert_allclose(found.ntk[0], found.ntk[2], rtol=1e-9)  # one input twice


@tensor_program
def reusing(net, x):
    W, phi = net.matrix("W", 0.9), net.phi("tanh")
    z = net.watch("z", phi(architectures.layer_norm(net, net.input_matrix("U") @ x + net.bias("b", 0.5), 0.1)))
    return net.output("v", 0.8) @ (phi(W @ phi(W @ z)) + z)


@tensor_program
def gated_thrice(net, x):
    """Gates in a network of three layers that share their matrices: sampled by `infinite` too."""
    W, V, phi = net.matrix("W", 1.1), net.matrix("V", 0.9), net.phi("sigmoid")
    z = net.input_matrix("U") @ x
    for layer in range(3):
        z = net.watch(f"z{layer}", phi(V @ z) * (W @ z) + 0.5 * z)
    return net.output("v") @ z


@pytest.mark.parametrize(
    "program",
    [pytest.param(program, marks=pytest.mark.slow) for program in (reusing, gated_thrice)],
    ids=lambda p: p.__name__,
)
def test_both_limits_agree_if_the_check_holds(program):
    """Two ways to the same numbers: from the inputs' end by closed forms and slopes, and by drawn gradients."""
    expected, found = infinite(program, X[:2], X), corrected_kernels(program, X[:2], X)
    assert len(found.D) > 0
    for name in ("ntk", "nngp"):
        error = np.hypot(getattr(found.standard_error, name), getattr(expected.standard_error, name))
        assert_within(getattr(found, name), error, getattr(expected, name))
        assert np.max(error) < 0.02 * np.max(getattr(expected, name))
    for name in expected.D:
        for moments in ("C", "D"):
            error = np.hypot(
                getattr(found.standard_error, moments)[name], getattr(expected.standard_error, moments)[name]
            )
            assert_within(getattr(found, moments)[name], error, getattr(expected, moments)[name])


@tensor_program
def autoencoder(net, x):
    """A matrix and its transpose, and both again in a second layer."""
    W, phi = net.matrix("W", 1.1), net.phi("tanh")
    z = phi(net.input_matrix("U", 1.2) @ x + net.bias("b", 0.3))
    for _ in range(2):
        z = phi(W.T @ phi(W @ z)) + 0.5 * z
    return net.output("v") @ z


@tensor_program
def averaged_layer_norm(net, x):
    """The gradient goes through the moments of a layer norm, and of a score."""
    h = net.input_matrix("U") @ x + net.bias("b", 0.4)
    z = architectures.layer_norm(net, net.phi("relu")(h), 0.05)
    y = net.matrix("W", 1.2) @ (z + 0.5)
    scores = net.scalar(lambda a, b: jnp.tanh(jnp.stack([a, a * b])))((y * y).mean(), y.mean())
    return (net.phi("relu")(y) * scores[0] + y * scores[1]).mean()


@tensor_program
def weight_inside(net, x):
    """The output weight has a mean, and is used in the network too, so that f is of order √n."""
    v, u = net.output("v", 0.7, mean=0.6), net.input_matrix("U") @ x
    return v @ net.phi("tanh")(net.matrix("W") @ net.phi("relu")(u + v))


def scaled_ntk(program, width, seeds, first_seed):
    """n⟨∇θ, ∇θ̄⟩ of networks of that width, (seeds, N, N), by their Jacobians."""
    model = finite(program, width)
    scale = 1 if program.record(X.shape[1:]).output.readouts else width

    def kernel(key):
        jacobian = jax.jacrev(model.apply)(model.init(key, X), X)
        return scale * sum(jnp.matmul(j.reshape(len(X), -1), j.reshape(len(X), -1).T) for j in jacobian.values())

    keys = jnp.stack([jax.random.key(first_seed + seed) for seed in range(seeds)])
    return np.asarray(jax.jit(functools.partial(jax.lax.map, kernel, batch_size=10))(keys))


def assert_limit_of_networks(program, width, seeds, share):
    """Twice the mean at width 2n less that at n, free of the bias of order 1/n, known to that share of the limit."""
    found = corrected_kernels(program, X)
    narrow, wide = scaled_ntk(program, width, seeds, 0), scaled_ntk(program, 2 * width, seeds, 10_000)
    mean = 2 * wide.mean(axis=0) - narrow.mean(axis=0)
    variances = (4 * wide.var(axis=0, ddof=1) + narrow.var(axis=0, ddof=1)) / seeds
    error = np.linalg.norm(np.sqrt(variances + np.asarray(found.standard_error.ntk) ** 2))
    assert np.linalg.norm(mean - found.ntk) < 4 * error
    assert error < share * np.linalg.norm(found.ntk)
    return mean, error


@pytest.mark.slow
def test_against_networks_of_finite_width():
    mean, error = assert_limit_of_networks(autoencoder, width=48, seeds=300, share=0.06)
    gia = corrected_kernels(autoencoder, X, samples=2**12, assume_gia=True)
    assert np.linalg.norm(mean - gia.ntk) > 8 * error


@pytest.mark.slow
@pytest.mark.parametrize("program", [autoencoder, averaged_layer_norm, weight_inside], ids=lambda p: p.__name__)
def test_against_wider_networks(program):
    assert_limit_of_networks(program, width=96, seeds=1000, share=0.07)


@pytest.mark.slow
def test_seeds_batches_and_dtypes():
    both, again, other = (corrected_kernels(averaged, X[:2], samples=1024, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(both.ntk, again.ntk)
    assert np.all(both.ntk != other.ntk)
    assert both.samples == 1024
    between = corrected_kernels(averaged, X[:1], X[1:2], samples=1024)
    np.testing.assert_allclose(between.ntk, both.ntk[:1, 1:], rtol=SOLVED["float64"])

    def leaves(x):
        return jax.tree.leaves(corrected_kernels(averaged, x, samples=1024))

    assert {leaf.dtype for leaf in jax.eval_shape(leaves, X.astype("float32"))} == {jnp.dtype("float32")}
    stds = jnp.array([0.5, 1.0])

    @tensor_program
    def scaled(net, x, *, std=1.0):
        factor, one = net.scalar(lambda std: jnp.stack([std, 1.0]))(std)  # scalars that depend on options alone
        return (factor * (net.input_matrix("U", one) @ x)).mean()

    found = jax.vmap(lambda std: corrected_kernels(scaled(std=std), X, samples=1024).ntk)(stds)
    np.testing.assert_allclose(found, stds[:, None, None] ** 2 * K[None], rtol=1e-9)  # of U alone: D = 1


@tensor_program
def wide(net, x):
    return (net.width * (net.input_matrix("U") @ x)).mean()


@tensor_program
def constant(net, x, *, value=1.0):
    return value


@rows(
    [
        ("width", lambda: corrected_kernels(wide, X), ValueError, "the program uses its width at"),
        (
            "batch mean",
            lambda: corrected_kernels(architectures.batch_norm_mlp, X),
            ValueError,
            "the program takes a batch mean at",
        ),
        ("constant", lambda: corrected_kernels(constant, X), ValueError, "the output is a constant at"),
        (
            "too many inputs",
            lambda: corrected_kernels(averaged, np.ones((1400, 2))),
            ValueError,
            "1400 inputs, of which 4202 variables are drawn; expected at most 4096",
        ),
        (
            "fewer samples than a regression needs",
            lambda: corrected_kernels(autoencoder, X, samples=256),
            ValueError,
            "samples is 256; expected at least 1024, as a matrix is used 4 times",
        ),
    ]
)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)
