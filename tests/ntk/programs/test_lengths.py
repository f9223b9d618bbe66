"""Inputs that are padded to one length, each with a length of its own: what lies beyond it does not count.

The kernel between inputs of two lengths has an independent truth. A program of one shape reads both in one sequence,
f(ξ₁) + c f(ξ₂), and its kernels at c = ±1 give Θ(ξ₁, ξ̄₂) + Θ(ξ₂, ξ̄₁).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import assert_refused, rows
from tolerances import CLOSED_FORM, DERIVATIVE, DIFFERENCE, REORDERED, SAME_FORMULA

import ntk
from ntk import architectures
from ntk.programs import infinite_ntk
from ntk.programs.limit.evaluation import forms_of
from ntk.programs.limit.loops.kernels import samples_loops

SHORT, LONG = 3, 4
LENGTHS = np.array([LONG, SHORT, SHORT, LONG])
RNG = np.random.default_rng(0)


def padded(x, lengths, value=np.nan):
    """The inputs with some value beyond their lengths."""
    return np.where(np.arange(x.shape[1])[None, :, None] < lengths[:, None, None], x, value)


X = RNG.normal(size=(4, LONG, 3))
X[1, :2] = X[0, :2]  # equal beginnings: the states there have the correlation 1 exactly
RAGGED = padded(X, LENGTHS)


@ntk.tensor_program
def positions(net, x):
    """A perceptron of its own at each position, on x of any length."""
    h = net.convolution("w", (1,), padding="valid", shared=False) @ x + net.bias("b", axes=(len(x),))
    z = net.watch("all", net.phi("relu")(h))
    first = net.watch("first", z[0])
    return net.output("v") @ (first[None].padded((0, len(x) - 1)) + z[1:].padded((1, 0)))


@functools.cache
def of_perceptrons():
    """Θ and C of a perceptron between equal positions of all inputs, (4, 4, T)."""
    k = ntk.infinite_kernels(ntk.MLP(depth=1), X.reshape(-1, 3))
    return [np.einsum("itjt->ijt", np.reshape(kernel, (4, LONG, 4, LONG))) for kernel in (k.ntk, k.C[1])]


def perceptrons(lengths1, lengths2):
    """Θ of it: at each position that both inputs have, that of a perceptron, over √(T T̄)."""
    both = np.minimum(lengths1[:, None], lengths2[None])[..., None]
    met = np.where(np.arange(LONG) < both, of_perceptrons()[0], 0.0)
    return met.sum(-1) / np.sqrt(lengths1[:, None] * lengths2[None])


def test_positions_that_both_have_meet():
    """Every entry, and C and D of a watched vector; x2 = None is symmetric."""
    k = ntk.infinite_kernels(positions, RAGGED, lengths1=LENGTHS)
    np.testing.assert_allclose(k.ntk, perceptrons(LENGTHS, LENGTHS), rtol=CLOSED_FORM["float64"])
    np.testing.assert_array_equal(k.ntk, k.ntk.T)
    np.testing.assert_allclose(k.C["first"], of_perceptrons()[1][..., 0], rtol=CLOSED_FORM["float64"])
    D = 1.0 / np.sqrt(LENGTHS[:, None] * LENGTHS)
    np.testing.assert_allclose(k.D["first"], D, rtol=SAME_FORMULA["float64"])
    both = np.arange(LONG) < np.minimum(LENGTHS[:, None], LENGTHS)[..., None]
    each = np.stack([ntk.infinite_kernels(ntk.MLP(depth=1), X[:, t]).C[1] for t in range(LONG)], axis=-1)
    np.testing.assert_allclose(k.C["all"], np.where(both, each, 0.0), rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(k.D["all"], np.where(both, D[..., None], 0.0), rtol=SAME_FORMULA["float64"])
    assert k.one_batch
    assert k.samples == 0


@pytest.mark.slow
def test_two_batches():
    others = np.full(4, SHORT)
    found = ntk.infinite_ntk(positions, RAGGED, padded(X, others), lengths1=LENGTHS, lengths2=others)
    np.testing.assert_allclose(found, perceptrons(LENGTHS, others), rtol=CLOSED_FORM["float64"])
    found = ntk.infinite_ntk(positions, X, X[:, :SHORT])
    np.testing.assert_allclose(found, perceptrons(np.full(4, LONG), others), rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_transformations():
    """jit, vmap, lowering and derivatives in the inputs; those in what does not count are 0, whatever stands there."""

    def kernel(x):
        return ntk.infinite_ntk(positions, x, lengths1=LENGTHS)

    def entry(x):
        return kernel(x)[0, 2]

    expected = perceptrons(LENGTHS, LENGTHS)
    for dtype in ("float64", "float32"):
        x = RAGGED.astype(dtype)
        for found in (jax.jit(kernel)(x), jax.vmap(kernel)(x[None])[0]):
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol=CLOSED_FORM[dtype])
    jax.export.export(jax.jit(kernel), platforms=("cpu", "cuda", "tpu"))(RAGGED)

    slope, eager = jax.jit(jax.grad(entry)), jax.grad(entry)(jnp.asarray(RAGGED))
    counts = np.arange(LONG)[None, :, None] < LENGTHS[:, None, None]
    assert not np.any(np.where(counts, 0.0, eager))
    np.testing.assert_allclose(slope(jnp.asarray(X)), eager, rtol=SAME_FORMULA["float64"])
    narrow = slope(jnp.asarray(RAGGED, "float32"))
    np.testing.assert_allclose(narrow, eager, rtol=DERIVATIVE["float32"], atol=DERIVATIVE["float32"])
    step, direction = 1e-5, padded(RNG.normal(size=X.shape), LENGTHS, 0.0)
    ends = X + step * direction, X - step * direction
    difference = (entry(ends[0]) - entry(ends[1])) / (2 * step)
    np.testing.assert_allclose(np.sum(eager * direction), difference, rtol=DIFFERENCE["float64"])
    second = jax.jit(lambda x: jax.jvp(jax.grad(entry), (x,), (jnp.asarray(direction),))[1])(jnp.asarray(X))
    difference = (slope(ends[0]) - slope(ends[1])) / (2 * step)
    np.testing.assert_allclose(np.sum(second * direction), np.sum(difference * direction), rtol=DIFFERENCE["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_recurrent_network(pooling):
    """Every entry is that of `ntk.RNN`, also where sequences begin alike, and so are kernels at finite width."""
    net, program = ntk.RNN(activation="relu", pooling=pooling), architectures.rnn(activation="relu", pooling=pooling)
    given = {"lengths1": LENGTHS}
    np.testing.assert_allclose(
        ntk.infinite_ntk(program, RAGGED, **given),
        ntk.infinite_ntk(net, RAGGED, **given),
        rtol=SAME_FORMULA["float64"],
    )
    variables = ntk.finite(net, width=8).init(jax.random.key(0), X)
    params = variables["params"]
    np.testing.assert_allclose(
        ntk.finite(program, width=8).apply(params, RAGGED, LENGTHS),
        ntk.finite(net, width=8).apply(variables, RAGGED, LENGTHS),
        rtol=REORDERED["float64"],
    )
    for side2 in ({}, {"x2": RAGGED[1:3], "lengths2": LENGTHS[1:3]}):
        measured = ntk.empirical_kernels(program, params, RAGGED, **given, **side2)
        expected = ntk.empirical_kernels(net, variables, RAGGED, **given, **side2)
        np.testing.assert_allclose(measured.ntk, expected.ntk, rtol=REORDERED["float64"])
        np.testing.assert_allclose(measured.nngp, expected.nngp, rtol=REORDERED["float64"])


def test_finite_width_reads_the_positions_that_an_input_has():
    """With parameters of each position: the formula, in NumPy."""
    model = ntk.finite(positions, width=5, outputs=2)
    params = model.init(jax.random.key(0), X)
    assert params["b"].shape == (LONG, 5)
    w, b, v = (np.asarray(params[name]) for name in "wbv")
    h = np.einsum("itd,tdn->itn", X, w[:, 0]) / 3**0.5 + b
    each = np.einsum("itn,tno->ito", np.maximum(h, 0.0), v) / 5**0.5
    expected = [each[i, :length].sum(0) / length**0.5 for i, length in enumerate(LENGTHS)]
    np.testing.assert_allclose(model.apply(params, RAGGED, LENGTHS), expected, rtol=REORDERED["float64"])


@pytest.mark.slow
def test_measured_kernels_are_those_of_the_jacobian():
    params = ntk.finite(positions, width=5).init(jax.random.key(0), X)
    found = ntk.empirical_kernels(positions, params, RAGGED, lengths1=LENGTHS).ntk
    slopes = jax.jacobian(lambda params: ntk.finite(positions, width=5).apply(params, RAGGED, LENGTHS))(params)
    flat = np.concatenate([leaf.reshape(4, -1) for leaf in jax.tree.leaves(slopes)], axis=1)
    np.testing.assert_allclose(found, flat @ flat.T, rtol=REORDERED["float64"])


@ntk.tensor_program
def stacked(net, x):
    """Gated layers, the second one backwards over the states of the first, and steps with a scalar of the input."""
    last = net.input_matrix("last") @ x[-1]
    gain = net.scalar(jnp.tanh)((last * last).mean())

    def gated(name, product):
        def step(h, entries):
            z = net.phi("sigmoid")(net.matrix(f"v{name}", 0.8) @ h + product(f"y{name}", 0.7) @ entries)
            h = z * h + gain * net.phi("erf")(net.matrix(f"w{name}") @ h + product(f"u{name}") @ entries + b)
            return h, h

        b = net.bias(f"b{name}", 0.5)
        return step

    states = net.scan(gated("1", net.input_matrix), net.zero(), x)[1]
    final, states = net.scan(gated("2", net.matrix), net.zero(), states, reverse=True)
    return net.output("v") @ net.phi("erf")(net.matrix("m") @ states).pooled() + net.output("q") @ final


@ntk.tensor_program
def length_in_a_step(net, x):
    """A loop that is another one at another length, and so is sampled position by position."""

    def step(h, entries):
        h = net.phi("sigmoid")(net.input_matrix("u") @ entries) * (h + len(x) * net.phi("erf")(net.matrix("w") @ h + b))
        return h, h

    b = net.bias("b")
    return net.output("v") @ net.scan(step, net.zero(), x)[0]


PROGRAMS = {
    "rnn": architectures.rnn(activation="erf"),
    "rnn mean": architectures.rnn(pooling="mean"),
    "bidirectional": architectures.bidirectional_rnn(pooling="mean"),
    "lstm": architectures.lstm(pooling="mean"),
    "gru": architectures.gru(),
    "stacked": stacked,
    "length in a step": length_in_a_step,
    "convolutions": architectures.cnn_1d(depth=1, pool_size=2),
    "attention": architectures.self_attention(),
    "transformer": architectures.transformer(epsilon=1e-3),
}


def both_in_one(program):
    """f(ξ₁) + c f(ξ₂) of two inputs in one sequence, the short one first."""

    @ntk.tensor_program
    def together(net, x, *, c=1.0):
        options = program.numbers | program.choices
        first, second = (program.fn(net, part, **options) for part in (x[:SHORT], x[SHORT:]))
        return first + c * second

    return together


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_padding_is_no_padding(name):
    """Inputs of one length have the kernel that they have alone, and those of two lengths that of one program."""
    program = PROGRAMS[name]
    k = ntk.infinite_kernels(program, RAGGED, lengths1=LENGTHS)
    groups = [np.flatnonzero(length == LENGTHS) for length in (SHORT, LONG)]
    alone = [ntk.infinite_kernels(program, X[group, : LENGTHS[group[0]]]) for group in groups]
    sequences = np.concatenate([X[groups[0], :SHORT], X[groups[1]]], axis=1)
    plus, minus = (ntk.infinite_kernels(both_in_one(program)(c=c), sequences) for c in (1.0, -1.0))
    for kernel in ("ntk", "nngp"):
        found, error = getattr(k, kernel), getattr(k.standard_error, kernel)

        def close(entries, expected, errors):
            """Within rounding, or within 4 joint standard errors."""
            bound = 4 * np.sqrt(sum(each**2 for each in errors)) + CLOSED_FORM["float64"] * abs(expected)
            np.testing.assert_array_less(abs(entries - expected), bound)

        for group, apart in zip(groups, alone, strict=True):
            block = np.ix_(group, group)
            close(found[block], getattr(apart, kernel), [error[block], getattr(apart.standard_error, kernel)])
        block = np.ix_(*groups)
        errors = [error[block], error[block].T, *(getattr(each.standard_error, kernel) / 2 for each in (plus, minus))]
        close(found[block] + found[block].T, (getattr(plus, kernel) - getattr(minus, kernel)) / 2, errors)


def test_loops_of_two_lengths_are_walked_together():
    """Whether they are one loop is told by what their steps do."""

    def walks(program):
        return samples_loops(forms_of(program.record((SHORT, 3), (LONG, 3))))

    assert [walks(each) for each in (PROGRAMS["lstm"], stacked, length_in_a_step)] == [True, True, False]


@ntk.tensor_program
def batch_mean(net, x):
    z = net.phi("relu")(net.input_matrix("u") @ x[0])
    return net.output("v") @ (z - z.batch_mean())


@rows(
    [
        (
            "no length",
            lambda: infinite_ntk(positions, X, lengths1=np.array([0, 1, 2, 3])),
            ValueError,
            "lengths1 goes from 0 to 3; expected lengths from 1 to T = 4",
        ),
        (
            "a length beyond the input",
            lambda: ntk.infinite_ntk(positions, X, X, lengths2=np.array([1, 2, 3, 5])),
            ValueError,
            "lengths2 goes from 1 to 5; expected lengths from 1 to T = 4",
        ),
        (
            "lengths of another shape",
            lambda: infinite_ntk(positions, X, lengths1=np.array([1, 2])),
            ValueError,
            r"lengths1 is int64 of shape \(2,\); expected 4 integers, one for each input of x1",
        ),
        (
            "lengths that are not integers",
            lambda: infinite_ntk(positions, X, X, lengths2=np.ones(4)),
            ValueError,
            r"lengths2 is float64 of shape \(4,\); expected 4 integers, one for each input of x2",
        ),
        (
            "lengths of no batch",
            lambda: ntk.infinite_ntk(positions, X, lengths2=LENGTHS),
            ValueError,
            "lengths2 is given without x2",
        ),
        (
            "inputs without positions",
            lambda: ntk.empirical_kernels(architectures.mlp, {}, X[:, 0], lengths1=LENGTHS),
            ValueError,
            r"lengths1 is given for x1 of shape \(4, 3\); expected \(N, T, …\)",
        ),
        (
            "a number that counts and is none",
            lambda: ntk.infinite_ntk(positions, RAGGED, lengths1=np.full(4, LONG)),
            ValueError,
            "x1 holds 6 entries that are NaN or infinite",
        ),
        (
            "traced lengths",
            lambda: jax.jit(lambda lengths: ntk.infinite_ntk(positions, X, lengths1=lengths))(LENGTHS),
            ValueError,
            "expected concrete integers: shapes depend on them",
        ),
        (
            "means over a batch of several lengths",
            lambda: ntk.infinite_ntk(batch_mean, X, lengths1=LENGTHS),
            ValueError,
            r"inputs have shapes \(3, 3\) and \(4, 3\); expected one shape for a program with batch means",
        ),
        (
            "means over a batch at finite width",
            lambda: ntk.finite(batch_mean, width=2).apply({}, X, LENGTHS),
            ValueError,
            "lengths differ; expected inputs of one length for a program with batch means",
        ),
        (
            "a matrix that reads all positions",
            lambda: ntk.infinite_ntk(
                ntk.tensor_program(lambda net, x: net.output("v") @ (net.input_matrix("u") @ x.reshape(-1))),
                X,
                lengths1=LENGTHS,
            ),
            ValueError,
            "parameter 'u' is another one for inputs of another shape",
        ),
    ]
)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)
