"""Sampled limits against closed forms; their standard errors; tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from tolerances import CLOSED_FORM, SOLVED

from ntk.programs import infinite, tensor_program
from ntk.programs.architectures import batch_norm_mlp, lstm

pytestmark = pytest.mark.slow


def inputs(*shape, seed=0):
    """Random inputs, two of which are the same."""
    x = np.random.default_rng(seed).normal(size=shape)
    x[1] = x[0]
    return jnp.asarray(x)


def gated_limits(x1, x2):
    """Σ, Θ and D of u of `zoo.gated`: E erf(u)w erf(ū)w̄ = C·E ww̄ by Williams 1997."""
    K, own1, own2 = x1 @ x2.T / 3, np.sum(x1**2, axis=1)[:, None] / 3, np.sum(x2**2, axis=1) / 3
    product = (1 + 2 * own1) * (1 + 2 * own2)
    C, slope = 2 / np.pi * np.arcsin(2 * K / np.sqrt(product)), 4 / np.pi / np.sqrt(product - 4 * K**2)
    W = 0.8**2 * K
    return 1.2**2 * C * W, 1.2**2 * (2 * C * W + slope * K * W), 1.2**2 * slope * W


def deviations(found, error, expected):
    """How many standard errors each entry is off."""
    return np.asarray((found - expected) / (error + 1e-12 * np.abs(expected).max()))


def test_gates_in_closed_form():
    x1, x2 = np.asarray(inputs(4, 3)), np.asarray(inputs(3, 3, seed=1))
    nngp, theta, D = gated_limits(x1, x2)
    found = infinite(zoo.gated, x1, x2)
    error = found.standard_error
    # Student's t with 15 degrees of freedom exceeds 6 with probability 2.4e-5.
    assert np.abs(deviations(found.nngp, error.nngp, nngp)).max() < 6
    assert np.abs(deviations(found.ntk, error.ntk, theta)).max() < 6
    assert np.abs(deviations(found.D["u"], error.D["u"], D)).max() < 6
    # And the errors are small, so that the test can tell.
    assert float(error.ntk.max()) < 2e-2 * np.abs(theta).max()
    np.testing.assert_allclose(found.C["u"], x1 @ x2.T / 3, rtol=CLOSED_FORM["float64"])


def test_standard_errors_are_calibrated():
    """Over independent seeds the deviations have the spread that is reported: t with 15 degrees of freedom."""
    x = np.asarray(inputs(4, 3))[1:]
    _, theta, _ = gated_limits(x, x)
    many = [infinite(zoo.gated, x, samples=2**9, seed=seed) for seed in range(60)]
    t = np.stack([deviations(found.ntk, found.standard_error.ntk, theta)[np.triu_indices(3)] for found in many])
    # The six entries of a seed are correlated. Its mean square has mean 15/13 and, by its fourth moment, a standard
    # deviation below 2: that of 60 seeds is within 4·2/√60 of the mean, and biased ones are not centred.
    assert abs(np.mean(t**2) - 15 / 13) < 4 * 2 / 60**0.5
    assert np.abs(t.mean(axis=0)).max() < 4 * (15 / 13 / 60) ** 0.5
    # The spread of the estimates is what they report.
    ratio = np.std([found.ntk for found in many], axis=0) / np.mean(
        [found.standard_error.ntk for found in many], axis=0
    )
    # The standard deviation of 60 numbers is known to 1/√120.
    assert np.all(np.abs(ratio - 1) < 4 / 120**0.5)


CALIBRATED = {
    "deep": (lstm, (3, 3, 2), {}),
    "float32": (lstm, (3, 3, 2), {"dtype": jnp.float32}),
    "pairs": (lstm, (3, 2, 2), {"tile_size": 3}),
    "batch norm": (batch_norm_mlp(depth=2), (7, 8), {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALIBRATED)
def test_standard_errors_are_calibrated_where_vectors_depend_on_vectors(name):
    """Against a limit of 128 times as many samples, over 60 seeds: t with 15 degrees of freedom."""
    program, shape, options = CALIBRATED[name]
    options = dict(options)
    x = jnp.asarray(np.random.default_rng(5).normal(size=shape), options.pop("dtype", jnp.float64))
    expected = infinite(program, x, samples=2**17, seed=1000, **options)
    many = [infinite(program, x, samples=2**10, seed=seed, **options) for seed in range(60)]
    for kernel in ("ntk", "nngp"):
        limit, entries = np.asarray(getattr(expected, kernel)), np.triu_indices(len(x))
        t = np.stack([((getattr(k, kernel) - limit) / getattr(k.standard_error, kernel))[entries] for k in many])
        # Its mean square has mean 15/13, and for each seed a standard deviation below 2, however correlated.
        assert abs(np.mean(t**2) - 15 / 13) < 4 * 2 / 60**0.5, kernel
        assert np.abs(t.mean(axis=0)).max() < 4.5 * (15 / 13 / 60) ** 0.5, kernel


def test_chained_functions():
    """f = v·relu(y)²/√n: D is E (2 relu(y))(2 relu(ȳ)), which is 2 E y² for one input; chained it would be 1."""

    @tensor_program
    def squared(net, x):
        rectified = net.phi("relu")(net.watch("y", net.input_matrix("U") @ x))
        return net.output("v") @ (rectified * rectified)

    x = np.asarray(inputs(3, 4))
    found = infinite(squared, x)
    variance = np.sum(x**2, axis=1) / 4
    D, error = np.diagonal(found.D["y"]), np.diagonal(found.standard_error.D["y"])
    assert np.abs((D - 2 * variance) / error).max() < 6
    assert error.max() < 1e-2
    # Σ = E relu(y)⁴ = 3 q²/2.
    nngp_error = np.diagonal(found.standard_error.nngp)
    assert np.abs((np.diagonal(found.nngp) - 1.5 * variance**2) / nngp_error).max() < 6


def test_deep_programs_mix_exact_and_sampled():
    """Gates between exact layers: a linear network around them has Σ and Θ in closed form."""

    @tensor_program
    def program(net, x):
        W, h = net.matrix("W", 0.9), net.input_matrix("U") @ x
        a, b = net.matrix("A") @ h, net.matrix("B") @ h
        z = W @ (a * b)
        return net.output("v") @ (z + W @ z)

    x = np.asarray(inputs(3, 4))
    K = x @ x.T / 4
    C = K**2
    # τ of a and b is 2K, of their product 2·(2K·K).
    tau = 0.81 * (C + 4 * C)
    z = 0.81 * C
    # W z is independent of z, although W is the same.
    found = infinite(program, x)
    expected = z + 0.81 * z, z + 0.81 * z + tau + 0.81 * (z + tau)
    assert np.abs(deviations(found.nngp, found.standard_error.nngp, expected[0])).max() < 6
    assert np.abs(deviations(found.ntk, found.standard_error.ntk, expected[1])).max() < 6


def test_duplicates_and_zeros():
    """Singular covariances: an input twice, and one that is zero."""
    x = np.array(inputs(3, 2, 2))
    x[2] = 0
    found = infinite(lstm, x, samples=2**10)
    ntk_matrix = np.asarray(found.ntk)
    assert np.all(np.isfinite(ntk_matrix))
    # The root of a singular covariance is off by √ε of its size.
    np.testing.assert_allclose(ntk_matrix[0], ntk_matrix[1], rtol=1e-8)
    assert float(found.smallest_eigenvalue) > -CLOSED_FORM["float64"] * np.trace(ntk_matrix)


@pytest.mark.slow
def test_one_input_of_one_step():
    """At the first step h = σ(o) tanh(σ(i) tanh(g)): no more than 1."""
    found = infinite(lstm, inputs(2, 1, 2)[:1], samples=2**10)
    assert found.ntk.shape == (1, 1)
    assert 0 < float(found.nngp[0, 0]) < 1


def test_a_seed_gives_the_same_numbers():
    x = inputs(3, 3)
    first, again, other = (infinite(zoo.gated, x, samples=256, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.ntk, again.ntk)
    assert np.all(np.asarray(first.ntk)[2] != np.asarray(other.ntk)[2])
    assert first.samples == 256
    single = infinite(zoo.gated, x.astype(jnp.float32), samples=256, seed=1)
    assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {jnp.dtype("float32")}
    # The points agree to 23 bits. The outermost ones differ most.
    np.testing.assert_allclose(single.ntk, first.ntk, rtol=1e-3)


def test_tiles_of_pairs():
    """Pair by pair the result does not depend on the tiles or the order of a pair."""
    x = inputs(5, 3)
    small = infinite(zoo.gated, x, samples=2**10, tile_size=2)
    assert not small.joint
    np.testing.assert_array_equal(small.ntk, small.ntk.T)
    nngp, theta, D = gated_limits(np.asarray(x), np.asarray(x))
    assert np.abs(deviations(small.ntk, small.standard_error.ntk, theta)).max() < 6
    assert np.abs(deviations(small.D["u"], small.standard_error.D["u"], D)).max() < 6
    assert np.abs(deviations(small.nngp, small.standard_error.nngp, nngp)).max() < 6
    between = infinite(zoo.gated, x[:2], x[2:], samples=2**10, tile_size=3)
    np.testing.assert_allclose(between.ntk, np.asarray(small.ntk)[:2, 2:], rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(between.standard_error.nngp, small.standard_error.nngp[:2, 2:], rtol=SOLVED["float64"])
    with pytest.raises(ValueError, match="tile_size is 2; expected None for a program with batch means"):
        infinite(batch_norm_mlp, x, tile_size=2)


def test_rtol_doubles_the_samples():
    x = inputs(3, 3)

    def relative_error(found):
        return float(found.standard_error.ntk.max() / found.ntk.max())

    coarse = infinite(zoo.gated, x, samples=256)
    rtol = 0.4 * relative_error(coarse)
    fine = infinite(zoo.gated, x, samples=256, rtol=rtol)
    half = infinite(zoo.gated, x, samples=fine.samples // 2)
    assert fine.samples in (512, 1024, 2048)
    assert relative_error(fine) <= rtol < relative_error(half)
    with pytest.raises(ValueError, match=r"rtol is 0.1; expected a positive number, and concrete arguments"):
        jax.jit(lambda x: infinite(zoo.gated, x, rtol=0.1).ntk)(x)
