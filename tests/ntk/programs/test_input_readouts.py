"""Output weights that read the input itself: the linear model, and connections that skip the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import assert_refused, rows
from tolerances import CLOSED_FORM, SOLVED

import ntk
from ntk.programs import architectures, corrected_kernels, finite, infinite, tensor_program

pytestmark = pytest.mark.slow

X1, X2 = (np.random.default_rng(seed).normal(size=(n, 4)) for seed, n in ((0, 3), (1, 2)))
# In float64, sums of a few terms of order one.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@tensor_program
def skipping(net, x, *, v_std=1.2):
    """A hidden layer, the input beside it, and one half of the input once more, with a weight for each."""
    h = net.watch("h", net.input_matrix("w", 1.3) @ x + net.bias("b", 0.3))
    beside = net.output("u", v_std) @ x - (net.output("u", v_std) @ x[::-1]) / 2.0
    return 0.7 * (net.output("v", v_std) @ net.phi("erf")(h)) + beside + net.output("half") @ x[:2]


@tensor_program
def weighed(net, x):
    """The mean square of a hidden vector times a read-out of the input; the product of vectors is sampled."""
    u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
    score = ((u * w) * (u * w)).mean()
    return score * (net.output("v", 0.9) @ x) + net.output("z") @ u


def of_the_input(x1, x2, v_std=1.2):
    """What `skipping` has of its input, to both kernels."""
    a1, a2 = (x - x[:, ::-1] / 2 for x in (x1, x2))
    return v_std**2 * a1 @ a2.T / x1.shape[1] + x1[:, :2] @ x2[:, :2].T / 2


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_no_hidden_layer_is_the_linear_model(dtype):
    """Every reading of `architectures.mlp(depth=0)` is that of `ntk.MLP(depth=0)`, and of the formula σ_v² ξ·ξ̄/d."""
    x1, x2 = X1.astype(dtype), X2.astype(dtype)
    program, net = architectures.mlp(depth=0, v_std=1.5), ntk.MLP(depth=0, v_std=1.5)
    tolerance = CLOSED_FORM[dtype]
    for other in (None, x2):
        found, expected = ntk.infinite_kernels(program, x1, other), ntk.infinite_kernels(net, x1, other)
        formula = 1.5**2 * X1 @ (X1 if other is None else X2).T / 4
        for kernel in ("ntk", "nngp"):
            np.testing.assert_allclose(getattr(found, kernel), getattr(expected, kernel), rtol=tolerance)
            np.testing.assert_allclose(getattr(found, kernel), formula, rtol=tolerance, atol=tolerance)
        assert found.samples == 0
        assert not np.any(found.standard_error.ntk)
        assert found.ntk.dtype == dtype
    params = ntk.finite(net, 7).init(jax.random.key(0), x1)["params"]
    assert jax.tree.map(jnp.shape, ntk.finite(program, 7).init(jax.random.key(0), x1)) == {"v": (4,)}
    given = {"v": params["v"]}
    outputs = ntk.finite(net, 7).apply({"params": params}, x1)
    np.testing.assert_allclose(ntk.finite(program, 7).apply(given, x1), outputs, rtol=tolerance, atol=tolerance)
    found, expected = ntk.empirical_kernels(program, given, x1, x2), ntk.infinite_kernels(net, x1, x2)
    corrected = corrected_kernels(program, x1, x2, samples=256)
    for kernels in (found, corrected):  # a linear model has its limit at every width
        np.testing.assert_allclose(kernels.ntk, expected.ntk, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(kernels.nngp, expected.nngp, rtol=tolerance, atol=tolerance)
    assert not np.any(corrected.theta)
    assert not corrected.averaged
    assert ntk.check_gia(program, x1)


@pytest.mark.parametrize(("transform", "dtype"), [(lambda f: f, "float64"), (jax.jit, "float32")])
def test_derivatives_of_the_linear_model(transform, dtype):
    """First and second, in σ_v and in the inputs: Θ = σ² ξ·ξ̄/d is a polynomial."""

    def total(v_std, x):
        return infinite(architectures.mlp(depth=0, v_std=v_std), x).ntk.sum()

    s, x, close = jnp.asarray(1.5, dtype), jnp.asarray(X1, dtype), {"rtol": CLOSED_FORM[dtype]}
    gram = (X1 @ X1.T).sum() / 4
    np.testing.assert_allclose(transform(jax.grad(total))(s, x), 2 * 1.5 * gram, **close)
    np.testing.assert_allclose(transform(jax.grad(jax.grad(total)))(s, x), 2 * gram, **close)
    in_inputs = np.broadcast_to(2 * 1.5**2 * X1.sum(0) / 4, X1.shape)
    np.testing.assert_allclose(transform(jax.grad(total, argnums=1))(s, x), in_inputs, **close)
    along = jnp.ones_like(x)  # of a quadratic form, the Hessian along all ones is twice its value there

    def slope(s, x):
        return jax.jvp(lambda x: total(s, x), (x,), (along,))[1]

    second = transform(lambda s, x: jax.jvp(lambda x: slope(s, x), (x,), (along,))[1])
    np.testing.assert_allclose(second(s, x), 2 * 1.5**2 * 9.0, **close)


def test_read_outs_of_the_input_add_up_with_those_of_vectors():
    hidden = ntk.infinite_kernels(ntk.MLP(depth=1, activation="erf", w_std=1.3, b_std=0.3, v_std=1.2 * 0.7), X1, X2)
    found = infinite(skipping, X1, X2)
    np.testing.assert_allclose(found.nngp, hidden.nngp + of_the_input(X1, X2), **CLOSE)
    np.testing.assert_allclose(found.ntk, hidden.ntk + of_the_input(X1, X2), **CLOSE)
    np.testing.assert_allclose(found.D["h"], hidden.D[0], **CLOSE)
    assert ntk.check_gia(skipping, X1)
    corrected = corrected_kernels(skipping, X1, samples=2**10)
    error = corrected.standard_error.ntk
    own = infinite(skipping, X1).ntk
    assert np.all(np.abs(corrected.ntk - own) < 6 * np.asarray(error) + 1e-9)  # of Student's t, once in 40,000
    assert np.max(error) < 0.02 * np.max(own)


@pytest.mark.slow
def test_networks_of_finite_width_by_hand():
    """Outputs, their axis, and kernels as products of the Jacobian."""
    model = finite(skipping, 16)
    params = model.init(jax.random.key(0), X1)
    shapes = {"w": (4, 16), "b": (16,), "u": (4,), "v": (16,), "half": (2,)}
    assert jax.tree.map(jnp.shape, params) == shapes
    p = jax.tree.map(np.asarray, params)
    h = 1.3 * X1 @ p["w"] / 2.0 + 0.3 * p["b"]
    erf = np.asarray(jax.scipy.special.erf(h))
    expected = 0.7 * 1.2 * erf @ p["v"] / 4 + 1.2 * (X1 - X1[:, ::-1] / 2) @ p["u"] / 2 + X1[:, :2] @ p["half"] / 2**0.5
    np.testing.assert_allclose(jax.jit(model.apply)(params, X1), expected, **CLOSE)
    several = finite(skipping, 16, outputs=3)
    wide = params | {name: np.stack([p[name]] * 3, axis=1) for name in ("u", "v", "half")}
    assert jax.tree.map(jnp.shape, several.init(jax.random.key(0), X1)) == jax.tree.map(jnp.shape, wide)
    np.testing.assert_allclose(jax.jit(several.apply)(wide, X1), np.stack([expected] * 3, axis=1), **CLOSE)
    J1, J2 = (
        {name: j.reshape(len(x), -1) for name, j in jax.jit(jax.jacrev(model.apply))(params, x).items()}
        for x in (X1, X2)
    )
    parts = {name: J1[name] @ J2[name].T for name in params}
    found = ntk.empirical_kernels(skipping, params, X1, X2)
    np.testing.assert_allclose(found.ntk, sum(parts.values()), **CLOSE)
    np.testing.assert_allclose(found.nngp, parts["u"] + parts["v"] + parts["half"], **CLOSE)


def test_a_scalar_times_a_read_out_of_the_input():
    """E (uw)² = q² for each input, which multiplies the linear model's kernel and carries no gradient itself."""
    q = (X1**2).mean(axis=1)
    own = X1 @ X1.T / 4
    weighing = 0.9**2 * np.outer(q**2, q**2) * own
    found = infinite(weighed, X1, samples=2**12)
    error = found.standard_error
    assert np.all(np.abs(found.nngp - own - weighing) < 6 * np.asarray(error.nngp) + SOLVED["float64"])
    assert np.all(np.abs(found.ntk - 2 * own - weighing) < 6 * np.asarray(error.ntk) + SOLVED["float64"])
    assert np.max(error.ntk) < 0.05 * np.max(weighing)
    corrected = corrected_kernels(weighed, X1, samples=2**12)
    assert np.all(
        np.abs(corrected.ntk - 2 * own - weighing) < 6 * np.asarray(corrected.standard_error.ntk) + SOLVED["float64"]
    )


@pytest.mark.slow
def test_wide_networks_have_this_limit():
    """Twice the mean of Θ at width 2n less that at n, free of the bias of order 1/n, over 400 networks of each."""

    def thetas(width):
        def theta(key):
            params = finite(weighed, width).init(key, X1)
            return ntk.empirical_kernels(weighed, params, X1).ntk

        return np.asarray(jax.jit(lambda keys: jax.lax.map(theta, keys))(jax.random.split(jax.random.key(width), 400)))

    narrow, wide = thetas(128), thetas(256)
    error = np.sqrt((4 * wide.var(0, ddof=1) + narrow.var(0, ddof=1)) / 400)
    limit = infinite(weighed, X1, samples=2**16)
    assert np.all(np.abs(2 * wide.mean(0) - narrow.mean(0) - limit.ntk) < 5 * np.hypot(error, limit.standard_error.ntk))
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(limit.ntk)


def record(fn, shape=(4,)):
    return tensor_program(fn).record(shape)


def mixed(net, x):
    v, h = net.output("v"), net.input_matrix("u") @ x
    return v @ h + v @ x  # both


def inside(net, x):
    v = net.output("v")
    return v @ x + net.output("w") @ (v + net.input_matrix("u") @ x)


def two_lengths(net, x):
    return net.output("v") @ x + net.output("v") @ x[:2]


@rows(
    [
        (
            "a vector and the input",
            lambda: record(mixed),
            ValueError,
            r"output weight 'v' reads 4 entries of the input at .*# both, and a vector of the network at .*; expected"
            " a weight of its own for each",
        ),
        ("inside and the input", lambda: record(inside), ValueError, "output weight 'v' reads 4 entries of the input"),
        (
            "parts of two lengths",
            lambda: record(two_lengths),
            ValueError,
            r"output weight 'v' reads 2 entries of the input at .*, and 4 entries of the input at",
        ),
        (
            "two standard deviations",
            lambda: record(lambda net, x: net.output("v") @ x + net.output("v", 2.0) @ x),
            ValueError,
            "parameter 'v' is asked for as a different one",
        ),
        (
            "a matrix of entries",
            lambda: record(lambda net, x: net.output("v") @ x.reshape(2, 2)),
            ValueError,
            r"output weight 'v' is applied to shape \(2, 2\); expected a vector of input entries",
        ),
        (
            "one entry",
            lambda: record(lambda net, x: net.output("v") @ x[0]),
            ValueError,
            r"output weight 'v' is applied to shape \(\); expected a vector of input entries",
        ),
        (
            "a mean that is not zero",
            lambda: infinite(tensor_program(lambda net, x: net.output("v", mean=0.5) @ x), X1),
            ValueError,
            "The Simple GIA Check fails: output weight 'v' has a mean that is not zero",
        ),
        (
            "a depth that is not a number",
            lambda: architectures.mlp(depth=-1).record((4,)),
            ValueError,
            "depth is -1; expected an integer of at least 0",
        ),
    ]
)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)


def test_a_weight_reads_several_parts_of_one_length():
    """One weight that all steps share reads their sum."""

    @tensor_program
    def summed(net, x):
        return sum((net.output("v", 0.8) @ step for step in x[1:]), net.output("v", 0.8) @ x[0])

    x = np.random.default_rng(2).normal(size=(3, 5, 2))
    expected = 0.8**2 * x.sum(1) @ x.sum(1).T / 2
    np.testing.assert_allclose(infinite(summed, x).ntk, expected, **CLOSE)
    assert summed.record((5, 2)).parameters["v"].fan_in == 2
