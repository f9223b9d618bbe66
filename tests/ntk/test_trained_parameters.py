"""The NTK of some parameters: the parts of Θ, and Θ with a learning rate for each parameter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, REORDERED, SAME_FORMULA

import ntk
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import unrolled
from ntk.programs.options import numbers_as
from ntk.programs.rates import rates_of_program, unrolled_rates

X = np.random.default_rng(0).normal(size=(3, 4))
SEQUENCES = np.random.default_rng(1).normal(size=(3, 3, 2))
MLP = ntk.MLP(depth=3, activation="erf", w_std=1.3, b_std=0.4, v_std=0.8)
RNN = ntk.RNN(activation="erf", w_std=1.1, u_std=0.9, b_std=0.4, v_std=0.8, pooling="mean")


@ntk.tensor_program
def shared(net, x, *, b_std=0.4):
    """One matrix and one bias at two layers, and an output weight that reads the input too."""
    W, b, phi = net.matrix("W", 1.2), net.bias("b", b_std), net.phi("erf")
    z = phi(net.input_matrix("U", 0.9) @ x + b)
    return net.output("v", 0.8) @ phi(W @ phi(W @ z + b)) + net.output("skip", 0.6) @ x


@ntk.tensor_program
def convolutional(net, x, *, shared=True):
    """Convolutions, biases at all and at each position, and an output weight at each position."""
    phi, window = net.phi("erf"), {"padding": "same", "shared": shared}
    z = phi(net.convolution("w1", (2,), 1.2, **window) @ x + net.input_matrix("u", 0.7) @ x + net.bias("b1", 0.3))
    z = phi(net.convolution("w2", (2,), 0.9, **window) @ z + net.bias("b2", 0.5, axes=(len(x),)))
    return net.output("v", 0.8) @ z


@ntk.tensor_program
def gated(net, x):
    u = net.input_matrix("U", 1.1) @ x + net.bias("b", 0.3)
    z = net.phi("sigmoid")(u) * net.phi("tanh")(net.matrix("W", 0.9) @ net.phi("erf")(u))
    return net.output("v", 0.8) @ z


CASES = {
    "MLP": (MLP, X, {}),
    "RNN, mean": (RNN, SEQUENCES, {"lengths1": np.array([3, 1, 2])}),
    "RNN, last": (ntk.RNN(b_std=0.4, v_std=0.8), SEQUENCES, {}),
    "shared": (shared, X, {}),
    "convolutional": (convolutional, SEQUENCES, {}),
    "convolutional, not shared": (convolutional(shared=False), SEQUENCES, {}),
    "rnn": (ntk.architectures.rnn(activation="erf", pooling="mean"), SEQUENCES, {}),
    "gated": (gated, X, {"samples": 256}),
    "gated, pair by pair": (gated, X, {"samples": 256, "tile_size": 2}),
    "lstm of two lengths": (
        ntk.architectures.lstm(),
        SEQUENCES[:2, :2],
        {"samples": 256, "lengths1": np.array([2, 1])},
    ),
    "lstm": (ntk.architectures.lstm(), SEQUENCES[:, :2], {"samples": 256}),
    "batch norm": (ntk.architectures.batch_norm_mlp(depth=1, epsilon=0.1), X, {"samples": 256}),
}
FAST = ("gated",)
every_case = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)


@functools.cache
def names_of(name):
    """The names of all parameters, those of the parameters of finite networks."""
    net, x, _ = CASES[name]
    params = ntk.finite(net, width=2).init(jax.random.key(0), x)
    return [f"params/{key}" for key in params["params"]] if "params" in params else list(params)


@pytest.mark.slow
@every_case
def test_parts_sum_to_the_whole(name):
    net, x, options = CASES[name]
    whole = ntk.infinite_ntk(net, x, **options)
    parts = [np.asarray(ntk.infinite_ntk(net, x, trained=part, **options)) for part in names_of(name)]
    np.testing.assert_allclose(sum(parts), whole, rtol=0, atol=REORDERED["float64"] * np.max(np.abs(whole)))
    # None is lost in rounding. At the first step of an LSTM its forget gate has no effect.
    assert all(np.max(np.abs(part)) > 1e-6 * np.max(np.abs(whole)) for part in parts)


def test_parts_of_described_networks_are_terms_of_theory():
    """Of forward recursions: each part is its D ∘ σ²C (theory.md 1.5 and 2.5). That of v is the NNGP."""
    k, close = ntk.infinite_kernels(MLP, X), {"rtol": 0, "atol": CLOSED_FORM["float64"]}
    w, b = 1.3**2 * k.D * k.C[:-1], 0.4**2 * k.D
    for layer in range(3):
        np.testing.assert_allclose(ntk.infinite_ntk(MLP, X, trained=f"params/w{layer + 1}"), w[layer], **close)
    biases = ntk.infinite_kernels(MLP, X, trained=lambda path: path.startswith("params/b"))
    np.testing.assert_allclose(ntk.infinite_ntk(MLP, X, trained=lambda path: "/b" in path), b.sum(axis=0), **close)
    np.testing.assert_allclose(biases.ntk, b.sum(axis=0), **close)
    for of_biases, of_all in ((biases.nngp, k.nngp), (biases.C, k.C), (biases.D, k.D)):
        np.testing.assert_array_equal(of_biases, of_all)
    np.testing.assert_allclose(ntk.infinite_ntk(MLP, X, trained={"params/v"}), k.nngp, **close)
    k = ntk.infinite_kernels(RNN, SEQUENCES)
    recurrent = 1.1**2 * np.sum(k.D[:, 1:, :, 1:] * k.C[:, :-1, :, :-1], axis=(1, 3))
    np.testing.assert_allclose(ntk.infinite_ntk(RNN, SEQUENCES, trained="params/w"), recurrent, **close)
    np.testing.assert_allclose(ntk.infinite_ntk(RNN, SEQUENCES, trained="params/v"), k.nngp, **close)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared", "convolutional", "rnn", "gated", "lstm"])
def test_parts_of_wide_networks_tend_to_their_limits(name):
    """Every part of the empirical NTK, the mean over random networks."""
    net, x, options = CASES[name]
    x, width, seeds = x[:2], 128, 32
    model = ntk.finite(net, width)

    def parts(key):
        params = model.init(key, x)
        return ntk.empirical_ntk(model.apply, params, x, per_layer=True)

    found = jax.lax.map(parts, jax.random.split(jax.random.key(2), seeds), batch_size=16)
    options = {"samples": 2**14} if options else {}
    for part, values in found.items():
        limit = ntk.infinite_kernels(net, x, trained=part, **options)
        spread = np.asarray(values).var(axis=0, ddof=1) / seeds + limit.standard_error.ntk**2
        # The bias of a part is of order 1/n. Three times its largest entry over n is a few standard errors at most.
        assert np.all(np.abs(values.mean(axis=0) - limit.ntk) < 5 * np.sqrt(spread) + 3 / width * np.max(limit.ntk))
        assert np.max(np.sqrt(spread)) < 0.1 * np.max(limit.ntk)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MLP", "RNN, last", "shared", "lstm"])
def test_measured_kernels_are_those_of_empirical_ntk(name):
    net, x, _ = CASES[name]
    model, chosen = ntk.finite(net, width=5), names_of(name)[-2:]
    params = model.init(jax.random.key(3), x)
    found = ntk.empirical_kernels(net, params, x, trained=chosen)
    expected = ntk.empirical_ntk(model.apply, params, x, param_filter=chosen.__contains__)
    np.testing.assert_allclose(found.ntk, expected, rtol=0, atol=CLOSED_FORM["float64"] * np.max(np.abs(expected)))
    whole = ntk.empirical_kernels(net, params, x)
    np.testing.assert_array_equal(found.nngp, whole.nngp)
    rates = {chosen[0]: 2.0, chosen[1]: 0.5}
    parts = [ntk.empirical_kernels(net, params, x, trained=part).ntk for part in chosen]
    found = ntk.empirical_kernels(net, params, x, trained=rates).ntk
    np.testing.assert_allclose(found, 2 * parts[0] + parts[1] / 2, rtol=SAME_FORMULA["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MLP", "shared", "rnn", "lstm"])
def test_derivatives_in_learning_rates_are_parts(name):
    net, x, options = CASES[name]
    rates = {part: 0.5 + number for number, part in enumerate(names_of(name)[1:])}

    def theta(rates):
        return ntk.infinite_ntk(net, x, trained=rates, **options)

    for part, derivative in jax.jacfwd(jax.jit(theta))(rates).items():
        expected = ntk.infinite_ntk(net, x, trained=part, **options)
        np.testing.assert_allclose(derivative, expected, rtol=0, atol=CLOSED_FORM["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("shares", [True, False])
def test_fields_are_as_position_by_position(shares):
    """Matrices of an unrolled convolution have 1/k of its variance; in standard parameterization too."""
    program, x = convolutional(shared=shares), SEQUENCES[:2]
    written = program.record(x.shape[1:])
    forms, dtype = forms_of(unrolled(written)), jnp.dtype("float64")
    for trained in (["u", "b2"], ntk.StandardParameterization(width=7.0)):
        found = ntk.infinite_ntk(program, x, trained=trained)
        rates = unrolled_rates(rates_of_program(trained, [written], dtype), written, forms.recording)
        flat = jnp.asarray(x.reshape(2, -1))
        expected = exact_limits(forms, True, 4, numbers_as(program, dtype), flat, None, rates).ntk
        np.testing.assert_allclose(found, expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_two_lengths():
    """Blocks between inputs of different lengths have the same parts as all together."""
    program, lengths = ntk.architectures.rnn(activation="erf", pooling="mean"), np.array([3, 2])
    found = ntk.infinite_ntk(program, SEQUENCES[:2], lengths1=lengths, trained="w")
    expected = ntk.infinite_ntk(
        ntk.RNN(activation="erf", pooling="mean"), SEQUENCES[:2], lengths1=lengths, trained="params/w"
    )
    np.testing.assert_allclose(found, expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("program", [shared, gated], ids=["shared", "gated"])
def test_corrected_kernels(program):
    """Without a matrix and its transpose they are the limits, within their standard errors, part by part."""
    parts = list(ntk.finite(program, width=1).init(jax.random.key(0), X))
    whole = ntk.corrected_kernels(program, X, samples=4096).ntk
    total = jnp.zeros_like(whole)
    for part in parts:
        found = ntk.corrected_kernels(program, X, samples=4096, trained=part)
        exact = ntk.infinite_kernels(program, X, trained=part, samples=2**14)
        error = np.hypot(found.standard_error.ntk, exact.standard_error.ntk)
        assert np.all(np.abs(found.ntk - exact.ntk) < 5 * error + CLOSED_FORM["float64"])
        total += found.ntk
    np.testing.assert_allclose(total, whole, rtol=0, atol=REORDERED["float64"] * np.max(whole))


@pytest.mark.slow
def test_extremes():
    """Parameters without effect have no part; float32 stays; a learning rate of 0 is no training."""
    biases = [f"params/b{layer}" for layer in (1, 2, 3)]
    silent = ntk.MLP(depth=3, activation="erf", w_std=1.3, b_std=0.0, v_std=0.8)
    np.testing.assert_array_equal(ntk.infinite_ntk(silent, X, trained=biases), np.zeros((3, 3)))
    np.testing.assert_array_equal(ntk.infinite_ntk(MLP, X, trained={"params/w1": 0.0}), np.zeros((3, 3)))
    x = X.astype("float32")
    half = ntk.infinite_ntk(MLP, x, trained={"params/w1": np.float64(0.5)})
    assert half.dtype == jnp.float32
    whole = ntk.infinite_ntk(MLP, X, trained="params/w1")
    np.testing.assert_allclose(half, whole / 2, rtol=CLOSED_FORM["float32"])
    double = np.concatenate([X, X[:1], -X[:1], 0 * X[:1]])
    part = ntk.infinite_ntk(MLP, X, double, trained="params/w2")
    np.testing.assert_array_equal(part[:, 3], part[:, 0])  # a duplicate
    np.testing.assert_allclose(part[:, :3], ntk.infinite_ntk(MLP, X, trained="params/w2"), rtol=CLOSED_FORM["float64"])
    assert np.all(np.isfinite(part))


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        ("w1", r"trained has 'w1'; expected names among 'params/w1', 'params/b1', 'params/v'\."),
        (["params/v", 3], r"trained has 3; expected names among"),
        (["params/v", ["params/w1"]], r"trained has \['params/w1'\]; expected names among"),
        ([], r"trained has none of 'params/w1', 'params/b1', 'params/v'; expected at least one"),
        (lambda path: False, r"trained has none of 'params/w1'"),
        (lambda path: "yes", r"trained\('params/w1'\) returns 'yes'; expected .* True or False"),
        (3, r"trained is 3; expected names of parameters, a function of a name"),
        ({"params/v": -1.0}, r"trained\['params/v'\] is -1.0; expected one finite number that is not negative"),
        ({"params/v": "fast"}, r"trained\['params/v'\] is 'fast'; expected one finite number"),
    ],
)
def test_refusals(plain, trained, message):
    net = plain.MLP(depth=1)
    with pytest.raises((TypeError, ValueError), match=message):
        plain.infinite_ntk(net, X, trained=trained)


def test_refusals_of_other_readings(plain):
    x = X[:, :2]
    params = plain.finite(plain.architectures.mlp(depth=1), width=2).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="trained has 'w3'; expected names among 'w1', 'b1', 'v'"):
        plain.empirical_kernels(plain.architectures.mlp(depth=1), params, x, trained="w3")
    with pytest.raises(ValueError, match="trained has 'w3'"):
        plain.infinite_kernels(plain.architectures.mlp(depth=1), x, trained=["v", "w3"])
    with pytest.raises(ValueError, match="trained has 'w3'"):
        plain.corrected_kernels(plain.architectures.mlp(depth=1), x, trained="w3")
