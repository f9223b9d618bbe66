"""What cannot be written down as a program is refused while it is recorded, with the line in question."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import assert_refused, rows

import ntk
from ntk.programs import architectures, infinite, tensor_program

X = np.array([[1.0, 2.0], [0.5, -1.0]])


def record(fn):
    return tensor_program(fn).record((3,))


def reading(read):
    """The program that reads a hidden vector h, and what is made of it, x and net."""
    return record(lambda net, x: net.output("v") @ read(net, x, net.input_matrix("u") @ x))


def two_kinds(net, x, h):
    net.bias("W")
    return net.matrix("W") @ h


def negative_root(net, x, h):
    return ((net.one().mean() * 0.0 - 1.0) ** 0.5) * h


def watched_twice(net, x, h):
    return net.watch("u", net.watch("u", h))


DIFFERENT = r"parameter '\w' is asked for as a different one at test_language_refusals.py, line .*; expected the same"

REFUSED = [
    (
        "a vector is returned",
        lambda: record(lambda net, x: net.input_matrix("u") @ x),
        TypeError,
        r"returns a vector at test_language_refusals.py, line \d+: lambda",
    ),
    ("two kinds", lambda: reading(two_kinds), ValueError, DIFFERENT),
    ("two stds", lambda: reading(lambda net, x, h: h + net.input_matrix("u", 2.0) @ x), ValueError, DIFFERENT),
    ("two sizes", lambda: reading(lambda net, x, h: h + net.input_matrix("u") @ x[:2]), ValueError, DIFFERENT),
    (
        "nothing of the input",
        lambda: reading(lambda net, x, h: net.input_matrix("U") @ x[:0]),
        ValueError,
        r"input matrix 'U' is applied to shape \(0,\); expected a part of the input",
    ),
    (
        "an array",
        lambda: reading(lambda net, x, h: np.ones(3) * h),
        ValueError,
        r"uses an array of shape \(3,\) and dtype float64; expected one real number",
    ),
    (
        "a negative std",
        lambda: reading(lambda net, x, h: net.matrix("W", -1.0) @ h),
        ValueError,
        "std of 'W' is -1.0; expected a finite number that is not negative",
    ),
    (
        "a std of the input",
        lambda: record(lambda net, x: net.output("v", (net.input_matrix("u") @ x).mean()) @ x),
        ValueError,
        "std of 'v' depends on the input; expected a number or an option",
    ),
    ("a name watched twice", lambda: reading(watched_twice), ValueError, "watch is given the name 'u' twice"),
    (
        "a matrix on the input",
        lambda: reading(lambda net, x, h: net.matrix("w") @ x),
        TypeError,
        r"uses the input, of shape \(3,\), which is for an input_matrix or an output weight to read",
    ),
    (
        "division by zero",
        lambda: reading(lambda net, x, h: h / 0),
        ValueError,
        r"computes truediv\(1.0, 0.0\) at test_language_refusals.py",
    ),
    ("a root of -1", lambda: reading(negative_root), ValueError, r"computes pow\(-1.0, 0.5\) at"),
    (
        "break points of a name",
        lambda: reading(lambda net, x, h: net.phi("relu", breakpoints=(1.0,))(h)),
        ValueError,
        r"breakpoints is \(1.0,\); expected none for an activation",
    ),
    (
        "a function of two vectors on one",
        lambda: reading(lambda net, x, h: net.phi(lambda a, b: a * b)(h)),
        TypeError,
        "of 1 number fails with TypeError: .*missing 1 required positional argument.*; expected a function of 1 number",
    ),
    (
        "a function of whole vectors",
        lambda: reading(lambda net, x, h: net.phi(lambda a: jnp.stack([a, a]))(h)),
        ValueError,
        r"gives an array of shape \(2,\) at one coordinate; expected a number",
    ),
    (
        "an option without a default",
        lambda: tensor_program(lambda net, x, depth: x),
        TypeError,
        "expected a function of net, x and options with defaults",
    ),
    (
        "a traced number",
        lambda: jax.jit(lambda s: infinite(tensor_program(lambda net, x: net.output("v", s) @ x), X).ntk)(1.0),
        TypeError,
        "traced array; expected it among the program's options",
    ),
    (
        "samples of an MLP",
        lambda: ntk.infinite_ntk(ntk.MLP(depth=1), X, samples=16),
        TypeError,
        r"samples is given for an ntk\.MLP; expected lengths1, lengths2",
    ),
    (
        "jnp.tanh of a vector",
        lambda: reading(lambda net, x, h: jnp.tanh(h)),
        TypeError,
        r"a vector of a program at .*expected net.phi\(function\)\(vector\)",
    ),
    (
        "jax.nn.relu of a vector",
        lambda: reading(lambda net, x, h: jax.nn.relu(h)),
        TypeError,
        r"a vector of a program at .*jax.nn.relu.*; expected net.phi",
    ),
    (
        "a stack of vectors",
        lambda: reading(lambda net, x, h: jnp.stack([h])),
        TypeError,
        "a vector of a program at .*; expected net.phi",
    ),
    (
        "jnp.sqrt of a scalar",
        lambda: reading(lambda net, x, h: jnp.sqrt(h.mean()) * h),
        TypeError,
        r"a scalar of a program at .*expected net.scalar\(function\)",
    ),
    (
        "jnp.tanh of the input",
        lambda: reading(lambda net, x, h: jnp.tanh(x)),
        TypeError,
        r"the input of a program at .*expected net.input_matrix\(name\) @ input",
    ),
    (
        "jnp.tanh of an output weight",
        lambda: reading(lambda net, x, h: jnp.tanh(net.output("v"))),
        TypeError,
        "an output weight of a program at",
    ),
    (
        "jnp.tanh of an output",
        lambda: reading(lambda net, x, h: jnp.tanh(net.output("v") @ h)),
        TypeError,
        "an output of a program at",
    ),
    *[
        (name, call, ValueError, sentence)
        for name, call, sentence in (
            (
                "depth of a tied network",
                lambda: architectures.tied_mlp(depth=1).record((3,)),
                "depth is 1; expected an integer of at least 2",
            ),
            (
                "pooling",
                lambda: architectures.rnn(pooling="max").record((2, 3)),
                "pooling is 'max'; expected one of 'last', 'mean'",
            ),
            (
                "combination",
                lambda: architectures.bidirectional_rnn(combination="both").record((2, 3)),
                "combination is 'both'; expected one of",
            ),
            (
                "scaling",
                lambda: architectures.self_attention(scaling="n").record((2, 3)),
                "scaling is 'n'; expected one of '1/n', '1/sqrt",
            ),
            (
                "padding",
                lambda: architectures.cnn_1d(padding="none").record((2, 3)),
                "padding is 'none'; expected one of 'same', 'valid'",
            ),
            (
                "too many axes",
                lambda: architectures.cnn_1d.record((4, 2, 3)),
                r"an input has shape \(4, 2, 3\); expected axes of positions, channels",
            ),
            (
                "too few positions",
                lambda: architectures.cnn_1d(padding="valid").record((4, 3)),
                "convolution 'w2' reads 3 positions of an axis of 2; expected a window that fits, or padding",
            ),
            ("no parts", lambda: architectures.mixture(), "programs is empty"),
            (
                "too few weights",
                lambda: architectures.mixture(architectures.mlp, architectures.rnn, weights=(1.0,)),
                r"weights is \(1.0,\); expected 2 finite numbers that are not negative",
            ),
        )
    ],
]


@rows(REFUSED)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)


def test_comparisons_of_vectors_are_refused():
    with pytest.raises(TypeError, match="'>' not supported") as found:
        reading(lambda net, x, h: jnp.where(h > 0, 1.0, 0.0))
    assert "abstract" not in str(found.value)


def test_choices_are_told_apart_by_type(plain):
    mlp = plain.architectures.mlp
    assert mlp(depth=1).record((3,)) is mlp(depth=1).record((3,))
    for depth in (1.0, True):
        with pytest.raises(ValueError, match=re.escape(f"depth is {depth!r}; expected an integer")):
            mlp(depth=depth).record((3,))


def test_only_programs_are_read(plain):
    net, x = plain.MLP(depth=2), np.ones((2, 3))
    for read in (
        lambda: plain.programs.finite(net, 5),
        lambda: plain.programs.infinite(net, x),
        lambda: plain.programs.measured(net, {}, x),
        lambda: plain.corrected_kernels(net, x),
        lambda: plain.check_gia(net, x),
    ):
        assert_refused(read, TypeError, "program is MLP; expected a tensor_program")
    parts = plain.architectures.mlp, lambda net, x: x
    assert_refused(lambda: plain.architectures.mixture(*parts), TypeError, "programs holds <function .*; expected tens")


def test_exponents_that_are_vectors():
    """2^u and u^w are functions of vectors like any other."""
    recording = reading(lambda net, x, h: 2.0**h + h ** net.phi("abs")(h))
    assert sum(type(node).__name__ == "Nonlin" for node in recording.nodes) == 3
