"""Attention with scores q·k/√n, which stay random: means over scores (theory.md 3.22 to 3.24)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM

import ntk
from ntk.programs import corrected_kernels, tensor_program

X = np.random.default_rng(0).normal(size=(2, 2, 3))


@tensor_program
def looking(net, x, *, q_std=1.3):
    """The last position looks at both; nothing else is read out."""
    z = net.input_matrix("u") @ x
    scores = net.scores(net.matrix("q", q_std) @ z, net.matrix("k", 1.1) @ z)
    return net.output("v") @ (net.softmax(scores) @ (net.matrix("w", 1.2) @ z))[-1]


def of_one_input(x, q_std=1.3):
    """NNGP and NTK of `looking`, integrals over the difference of the two scores: (f, Θ)."""
    K = x @ x.T / x.shape[1]
    Cq, Ck, Cw = q_std**2 * K, 1.1**2 * K, 1.2**2 * K
    tau_q, tau_k, tau_w = 2 * Cq, 2 * Ck, 2 * Cw  # a matrix, and the embedding below it
    apart = np.array([1.0, -1.0])
    keys, moving_keys, values = (apart @ matrix @ apart for matrix in (Ck, tau_k, Cw))
    variance, moving = Cq[1, 1] * keys, tau_q[1, 1] * keys + Cq[1, 1] * moving_keys
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    a = 1 / (1 + np.exp(-(variance**0.5) * nodes))
    both = np.stack([a, 1 - a])
    mean = weights / weights.sum()
    nngp = np.einsum("s,is,ij,js->", mean, both, Cw, both)
    ntk = nngp + np.einsum("s,is,ij,js->", mean, both, tau_w, both) + mean @ (a * (1 - a)) ** 2 * values * moving
    return nngp, ntk


def assert_near(found, expected, error, times=5):
    assert np.all(np.abs(np.asarray(found) - expected) <= times * np.asarray(error)), (found, expected, error)


def test_kernels_of_two_positions_are_integrals():
    k = ntk.infinite_kernels(looking, X, samples=2**12)
    assert k.samples == 2**12
    assert k.joint
    assert k.D == {}
    for number, x in enumerate(X):
        nngp, tangent = of_one_input(x)
        assert_near(k.nngp[number, number], nngp, k.standard_error.nngp[number, number])
        assert_near(k.ntk[number, number], tangent, k.standard_error.ntk[number, number])
        # What scores add is far more than the errors.
        uniform = of_one_input(x, 1e-9)[1]
        assert abs(tangent - uniform) > 20 * k.standard_error.ntk[number, number]
    assert np.linalg.eigvalsh(k.ntk)[0] > 0


def test_without_choice_or_without_scores_everything_is_exact():
    """One position gets all attention; scores of standard deviation 0 are uniform attention."""
    alone = ntk.infinite_kernels(looking, X[:, :1], samples=16)
    K = X[:, 0] @ X[:, 0].T / 3
    np.testing.assert_allclose(alone.nngp, 1.2**2 * K, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(alone.ntk, 3 * 1.2**2 * K, rtol=1e-6)  # rounding over the step squared: 2e-16/2e-8
    assert float(jnp.max(alone.standard_error.nngp)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("after", ["nothing", "relu", "tanh"])
def test_networks_have_these_means(after):
    """NNGP and NTK averaged over 400 networks; all pairs of inputs, two heads, functions after attention."""

    @tensor_program
    def network(net, x):
        z = net.input_matrix("u") @ x
        total = z
        for head in range(2):
            q, k, w = (net.matrix(f"{name}{head}", 1.5) @ z for name in "qkw")
            total = total + net.softmax(net.scores(q, k)) @ w / 2**0.5
        if after != "nothing":
            total = net.matrix("m") @ net.phi(after)(total)
        return net.output("v") @ total.pooled()

    limit = ntk.infinite_kernels(network, X, samples=2**11)
    model = ntk.finite(network, 128)
    model.init(jax.random.key(0), X)

    @jax.jit
    def measured(key):
        params = model.init(key, X)
        f = model.apply(params, X)
        jacobian = jax.jacobian(model.apply)(params, X)
        return f[:, None] * f[None], sum(
            leaf.reshape(2, -1) @ leaf.reshape(2, -1).T for leaf in jax.tree.leaves(jacobian)
        )

    draws = [measured(key) for key in jax.random.split(jax.random.key(1), 400)]
    for name, found in zip(("nngp", "ntk"), map(jnp.stack, zip(*draws, strict=True)), strict=True):
        expected, own = getattr(limit, name), getattr(limit.standard_error, name)
        error = jnp.sqrt(jnp.var(found, axis=0, ddof=1) / len(found) + own**2)
        print(after, name, found.mean(axis=0), expected, error)
        # Four standard errors, and a bias of order 1/n.
        assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * error + 3 / 128 * np.abs(expected))


def test_what_has_no_gaussian_scores_is_refused():
    def refused(scores, match, x=X):
        @tensor_program
        def program(net, x):
            z = net.input_matrix("u") @ x
            return net.output("v") @ (net.softmax(scores(net, z)) @ z).pooled()

        with pytest.raises(ValueError, match=match):
            ntk.infinite_kernels(program, x, samples=16)

    refused(lambda net, z: net.scores(net.matrix("q") @ z, net.matrix("q") @ z), "not of products with different")
    refused(lambda net, z: net.scores(net.phi("erf")(z), net.matrix("q") @ z), "not of products with different")
    refused(lambda net, z: net.scores(z, net.matrix("q") @ z), "a matrix of random scores is used at")

    def twice(net, z):
        z = net.softmax(net.scores(net.matrix("q1") @ z, net.matrix("k1") @ z)) @ (net.matrix("w") @ z)
        return net.scores(net.matrix("q") @ z, net.matrix("k") @ z)

    refused(twice, "depend on other random scores")
    refused(lambda net, z: net.scores(net.matrix("q") @ z[0], net.matrix("k") @ z), "queries has axes")
    with pytest.raises(ValueError, match="random scores at"):
        corrected_kernels(looking, X)
    with pytest.raises(ValueError, match="tile_size is 2"):
        ntk.infinite_kernels(looking, X, tile_size=2)
