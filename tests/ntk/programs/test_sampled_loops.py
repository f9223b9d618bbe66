"""Loops that are sampled step by step: their kernels are those of the same steps sampled one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, DIFFERENCE

import ntk
from ntk.programs.limit.draws.points import points_for
from ntk.programs.limit.evaluation import forms_of, sampled_limits
from ntk.programs.limit.loops.kernels import samples_loops
from ntk.programs.limit.unrolling import unrolled
from ntk.programs.options import numbers_as


def gated(net, name, inner="u"):
    """h ↦ z h + (1 − z) φ(W h + U ξ), with a gate z."""
    W, V = net.matrix(f"w{name}", 1.2), net.matrix(f"v{name}", 0.8)
    U, Y = (
        (net.input_matrix(f"u{name}"), net.input_matrix(f"y{name}", 0.7))
        if inner == "u"
        else (net.matrix(f"u{name}"), net.matrix(f"y{name}", 0.7))
    )
    sigmoid, erf, b = net.phi("sigmoid"), net.phi("erf"), net.bias(f"b{name}", 0.5)

    def step(h, x):
        z = sigmoid(V @ h + Y @ x)
        h = z * h + (1.0 - z) * erf(W @ h + U @ x + b)
        return h, h

    return step


@ntk.tensor_program
def stacked(net, x):
    """A second loop over the states of the first, backwards, and functions of matrices of all its states."""
    states = net.scan(gated(net, "1"), net.zero(), x)[1]
    final, states = net.scan(gated(net, "2", "states"), net.zero(), states, reverse=True)
    return net.output("v") @ net.phi("erf")(net.matrix("m") @ states).pooled() + net.output("q") @ final


@ntk.tensor_program
def above_a_simple_one(net, x):
    """A loop in closed form, of which the sampled one reads the states; both are read out."""
    W, U, erf = net.matrix("w"), net.input_matrix("u"), net.phi("erf")

    def step(s, entries):
        s = erf(W @ s + U @ entries + 0.2)
        return s, s

    states = net.scan(step, net.zero(), x)[1]
    final = net.scan(gated(net, "2", "states"), net.zero(), states)[0]
    return net.output("v") @ states.pooled() + net.output("q") @ final


@ntk.tensor_program
def both_ways(net, x):
    """Two loops added, which share nothing."""
    one, two = (net.scan(gated(net, str(way)), net.zero(), x, reverse=way)[1] for way in (False, True))
    return net.output("v") @ (one + 0.5 * two + 0.3).pooled()


@ntk.tensor_program
def multiplicative(net, x):
    """A state that is read by matrices alone, one of which is used twice; and one that counts coordinates."""
    W, U, R = net.matrix("w"), net.input_matrix("u"), net.matrix("r", 0.6)
    tanh, relu, c = net.phi("tanh"), net.phi("relu"), net.bias("c", 0.4)

    def step(states, entries):
        h, k = states["h"], states["k"]
        w = W @ h
        g = tanh(w + U @ entries)
        h, k = g * relu(R @ h + 0.5 + c), 0.5 * k + g * tanh(w)
        return {"h": h, "k": k}, (h + k, w)

    _, (sums, read) = net.scan(step, {"h": net.zero(), "k": net.zero()}, x)
    return net.output("v") @ sums.pooled() + net.output("q") @ read[-1]


@ntk.tensor_program
def with_scalars(net, x):
    """A gate that reads a mean over coordinates."""
    W, U, tanh = net.matrix("w"), net.input_matrix("u"), net.phi("tanh")

    def step(h, entries):
        scale = net.scalar(jnp.tanh)(1.0 + (h * h).mean())
        h = scale * h + tanh(W @ h + U @ entries) * tanh(h) + scale * tanh(U @ entries)
        return h, h

    return net.output("v") @ net.scan(step, net.zero(), x)[0]


CASES = {
    "lstm": (ntk.architectures.lstm(pooling="mean"), (3, 3, 2)),
    "gru": (ntk.architectures.gru, (3, 3, 2)),
    "one step": (ntk.architectures.lstm, (3, 1, 2)),
    "stacked": (stacked, (2, 2, 2)),
    "above a simple one": (above_a_simple_one, (2, 2, 2)),
    "both ways": (both_ways, (2, 3, 2)),
    "multiplicative": (multiplicative, (3, 3, 2)),
    "with scalars": (with_scalars, (3, 3, 2)),
}
SLOW = "lstm", "gru", "one step", "both ways", "stacked", "above a simple one", "multiplicative"
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]


def inputs(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    x[-1] = x[0]  # a duplicate
    return x


@pytest.mark.parametrize("name", NAMES)
def test_a_loop_has_the_kernels_of_its_steps(name):
    """Within four of their joint standard errors, which are below a percent of the kernels."""
    program, shape = CASES[name]
    x, samples = inputs(shape), 2**14
    assert samples_loops(forms_of(program.record(shape[1:])))
    found = ntk.infinite_kernels(program, x, samples=samples)
    forms = forms_of(unrolled(program.record(shape[1:])))
    expected = sampled_limits(
        forms,
        True,
        points_for(samples, len(x) * len(forms.drawn), 1),
        numbers_as(program, jnp.dtype("float64")),
        jnp.asarray(x).reshape(len(x), -1),
        None,
    )
    for kernel in ("ntk", "nngp"):
        values, errors = getattr(found, kernel), getattr(found.standard_error, kernel)
        error = np.hypot(errors, getattr(expected.error, kernel))
        assert np.all(error < 0.01 * np.max(values))
        assert np.all(abs(values - getattr(expected.mean, kernel)) < 4 * error)
        np.testing.assert_allclose(values[-1], values[0], rtol=1e-6)  # one input twice: what rounding leaves of a root
        assert np.linalg.eigvalsh(values)[0] > -1e-12


@pytest.mark.slow
def test_tiles_and_two_batches_are_estimates_of_the_same():
    x1, x2 = inputs((3, 3, 2)), inputs((2, 3, 2), seed=1)
    whole = ntk.infinite_kernels(ntk.architectures.gru, np.concatenate([x1, x2]))
    for found in (
        ntk.infinite_kernels(ntk.architectures.gru, x1, x2),
        ntk.infinite_kernels(ntk.architectures.gru, x1, x2, tile_size=2),
    ):
        error = np.hypot(found.standard_error.ntk, whole.standard_error.ntk[:3, 3:])
        assert np.all(abs(found.ntk - whole.ntk[:3, 3:]) < 4 * error)


@pytest.mark.slow
def test_moments_of_watched_states_are_those_of_each_step():
    """The same samples, so that they agree to rounding."""

    def watching(place):
        @ntk.tensor_program
        def program(net, x):
            states = net.scan(gated(net, "1"), net.zero(), x)[1]
            if place is None:
                states = net.watch("h", states)
            read = (
                states.pooled()
                if place is None
                else (1 / 3) * (sum((states[t] for t in range(3) if t != place), net.watch("h", states[place])))
            )
            return net.output("v") @ read

        return ntk.infinite_kernels(program, inputs((2, 3, 2)), samples=256)

    found = watching(None)
    for place in range(3):
        expected = watching(place)
        for of, part in ((found.C, expected.C), (found.D, expected.D)):
            np.testing.assert_allclose(of["h"][..., place], part["h"], rtol=CLOSED_FORM["float64"])
    assert found.standard_error.C["h"].shape == (2, 2, 3)


def test_one_step_of_an_lstm_is_known():
    """h = o tanh(i g): by quadrature over three independent Gaussian gates."""
    net, x = ntk.architectures.lstm, np.array([[[0.6, -1.1]]])
    variance = 1.0 + np.mean(x**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights, nodes = weights / np.sqrt(2 * np.pi), nodes * variance**0.5
    sigmoid, g = 1 / (1 + np.exp(-nodes)), np.tanh(nodes)
    slope, h = sigmoid * (1 - sigmoid), np.tanh(np.outer(sigmoid, g))

    def mean(values):
        return np.einsum("i,g,ig->", weights, weights, values)

    nngp = weights @ sigmoid**2 * mean(h**2)
    in_o = weights @ slope**2 * mean(h**2)
    in_i = weights @ sigmoid**2 * mean(((1 - h**2) * np.outer(slope, g)) ** 2)
    in_g = weights @ sigmoid**2 * mean(((1 - h**2) * np.outer(sigmoid, 1 - g**2)) ** 2)
    found = ntk.infinite_kernels(net, x, samples=2**15)
    expected = nngp + variance * (in_o + in_i + in_g)
    assert abs(found.nngp[0, 0] - nngp) < 4 * found.standard_error.nngp[0, 0]
    assert abs(found.ntk[0, 0] - expected) < 4 * found.standard_error.ntk[0, 0]
    assert found.standard_error.ntk[0, 0] < 1e-3 * expected


def test_gates_that_share_a_matrix_are_correlated():
    """h = o g with o = σ(u ξ₂) and g = tanh(W a + u ξ₁), where g is written first: by quadrature over u and W a."""

    @ntk.tensor_program
    def program(net, x):
        W, V, U, Y = net.matrix("w"), net.matrix("v0"), net.input_matrix("u", 1.5), net.input_matrix("y")
        tanh, sigmoid = net.phi("tanh"), net.phi("sigmoid")

        def step(h, entries):
            g = tanh(W @ tanh(Y @ entries) + U @ entries[:1])
            h = sigmoid(V @ h + U @ entries[1:]) * g
            return h, h

        return net.output("v") @ net.scan(step, net.zero(), x)[0]

    x = np.array([[[0.6, -1.1]]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / np.sqrt(2 * np.pi)
    variance = weights @ np.tanh(nodes * np.mean(x**2) ** 0.5) ** 2  # of W a
    u = 1.5 * nodes[:, None]
    h = np.tanh(variance**0.5 * nodes + 0.6 * u) / (1 + np.exp(1.1 * u))
    expected = np.einsum("i,j,ij->", weights, weights, h**2)
    found = ntk.infinite_kernels(program, x, samples=2**12)
    assert abs(found.nngp[0, 0] - expected) < 4 * found.standard_error.nngp[0, 0]
    assert found.standard_error.nngp[0, 0] < 0.01 * expected


@pytest.mark.slow
def test_derivatives_in_standard_deviations():
    """On the same points the estimate is a smooth function of them."""
    x = jnp.asarray(inputs((2, 2, 2)))[:1]

    def kernel(w_std):
        return ntk.infinite_kernels(ntk.architectures.gru(w_std=w_std), x, samples=256).ntk[0, 0]

    step = 1e-5
    slope = (kernel(1.1 + step) - kernel(1.1 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(kernel))(1.1), slope, rtol=DIFFERENCE["float64"])
    np.testing.assert_allclose(jax.jit(kernel)(1.1), kernel(1.1), rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_single_precision_stays():
    x = inputs((3, 3, 2)).astype(np.float32)
    found = ntk.infinite_kernels(ntk.architectures.gru, x, samples=1024)
    wide = ntk.infinite_kernels(ntk.architectures.gru, x.astype(np.float64), samples=1024)
    assert found.ntk.dtype == np.float32
    errors = np.hypot(np.asarray(found.standard_error.ntk), np.asarray(wide.standard_error.ntk))
    assert np.all(abs(np.asarray(found.ntk) - np.asarray(wide.ntk)) < 4 * errors)


def test_what_does_not_fit_into_memory_is_refused(plain):
    sentence = r"samples of 8 inputs take about .* GiB; expected at most .* GiB: fewer samples"
    with pytest.raises(ValueError, match=sentence):
        plain.infinite_ntk(plain.architectures.lstm, np.ones((4, 512, 2), np.float32), samples=2**24, tile_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_standard_errors_of_64_steps_are_calibrated(name):
    """Sixteen estimates of few samples each beside one of many: squared z-scores have the mean of t² for 15 degrees."""
    program, x = getattr(ntk.architectures, name)(pooling="mean"), inputs((3, 64, 4)).astype(np.float32)
    many = ntk.infinite_kernels(program, x, samples=2**17, seed=99)
    few = [ntk.infinite_kernels(program, x, samples=2**13, seed=seed) for seed in range(16)]
    scores = [(each.ntk - many.ntk) / np.hypot(each.standard_error.ntk, many.standard_error.ntk) for each in few]
    squares = np.mean(np.square(scores), axis=(1, 2))
    # 15/13 = E t². The entries of one estimate move together: the error of the mean is taken over the estimates.
    assert abs(np.mean(squares) - 15 / 13) < 4 * np.std(squares, ddof=1) / 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_networks_of_64_steps_tend_to_the_limit(name):
    program, x = getattr(ntk.architectures, name)(pooling="mean"), inputs((3, 64, 4)).astype(np.float32)
    limit, model = ntk.infinite_kernels(program, x, samples=2**16), ntk.finite(program, 256)

    @jax.jit
    def measured(key):
        params = model.init(key, x)
        return ntk.programs.measured(program, params, x).ntk, jnp.outer(*[model.apply(params, x)] * 2)

    found = [jax.tree.map(np.asarray, measured(key)) for key in jax.random.split(jax.random.key(3), 48)]
    for values, kernel in zip(map(np.stack, zip(*found, strict=True)), ("ntk", "nngp"), strict=True):
        expected, known = (np.asarray(getattr(kernels, kernel)) for kernels in (limit, limit.standard_error))
        error = np.hypot(np.std(values, axis=0, ddof=1) / len(values) ** 0.5, known)
        # Θ of width n differs from the limit by order 1/n on average, here taken to be 2/n.
        bias = 2 / 256 * np.max(expected) if kernel == "ntk" else 0.0
        assert np.all(abs(np.mean(values, axis=0) - expected) < 4 * error + bias)
