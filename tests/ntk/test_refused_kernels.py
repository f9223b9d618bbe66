"""Bad networks, inputs and lengths, which every function `k` of a description refuses."""

import jax
import jax.numpy as jnp
import pytest
from refusals import assert_refused, rows
from refused import KERNELS, answer, assert_always_refused, things

# These calls are refused under jit too, where x and s are tracers, since no values are needed.
ALWAYS = [
    ("kernels: net", lambda k, x: k("relu", x), TypeError, "net is 'relu'; expected an ntk.MLP"),
    ("kernels: net", lambda k, ntk, x: k(ntk.MLP, x), TypeError, "net is <class .*MLP.>; expected an ntk.MLP"),
    ("kernels: x1", lambda k, mlp: k(mlp, None), TypeError, "x1 is None; expected an array"),
    ("kernels: x1", lambda k, mlp: k(mlp, "abc"), TypeError, "x1 is 'abc'; expected an array"),
    ("kernels: x1", lambda k, mlp: k(mlp, [[1.0], [1.0, 2.0]]), TypeError, r"x1 is \[\[1.0\].*; expected an array"),
    (
        "kernels: x1",
        lambda k, mlp, x: k(mlp, x.astype(int)),
        TypeError,
        "x1 has dtype int64; expected a real floating-point array",
    ),
    (
        "kernels: x2",
        lambda k, mlp, x: k(mlp, x, x.astype(complex)),
        TypeError,
        "x2 has dtype complex.*; expected a real floating-point array",
    ),
    ("kernels: x1", lambda k, mlp, x: k(mlp, x[0]), ValueError, r"x1 has shape \(3,\); expected \(N, d\)"),
    ("kernels: x1", lambda k, mlp, s: k(mlp, s), ValueError, r"x1 has shape \(4, 5, 3\); expected \(N, d\)"),
    (
        "kernels: x2",
        lambda k, mlp, x: k(mlp, x, x[:0]),
        ValueError,
        r"x2 has shape \(0, 3\); expected \(N, d\) with no empty axis",
    ),
    ("kernels: x1", lambda k, rnn, x: k(rnn, x), ValueError, r"x1 has shape \(4, 3\); expected \(N, T, d\)"),
    (
        "kernels: x2",
        lambda k, rnn, s: k(rnn, s, s[:, :0]),
        ValueError,
        r"x2 has shape \(4, 0, 3\); expected \(N, T, d\) with no empty axis",
    ),
    ("kernels: x2", lambda k, mlp, x: k(mlp, x, x[:, :2]), ValueError, "x2 has 2 features; expected 3 as in x1"),
    (
        "kernels: lengths1",
        lambda k, mlp, x: k(mlp, x, lengths1=[1] * 4),
        ValueError,
        "lengths1 is given; expected none, an MLP reads no sequences",
    ),
    (
        "kernels: lengths2",
        lambda k, rnn, s: k(rnn, s, lengths2=[1] * 4),
        ValueError,
        "lengths2 is given without x2; expected lengths1 alone",
    ),
    (
        "kernels: lengths1",
        lambda k, rnn, s: k(rnn, s, lengths1=[1] * 3),
        ValueError,
        r"lengths1 is int64 of shape \(3,\); expected 4 integers",
    ),
    (
        "kernels: lengths2",
        lambda k, rnn, s: k(rnn, s, s, lengths2=[1.0] * 4),
        ValueError,
        r"lengths2 is float64 of shape \(4,\); expected 4 integers",
    ),
    (
        "kernels: lengths1",
        lambda k, rnn, s: k(rnn, s, lengths1="abc"),
        TypeError,
        "lengths1 is 'abc'; expected an array",
    ),
]

# These calls are refused if values can be checked.
VALUES = [
    (
        "kernels: w_std",
        lambda k, mlp, x: k(jax.tree.map(jnp.negative, mlp), x),
        ValueError,
        r"w_std is .*-1\..*; expected a finite number that is not negative",
    ),
    (
        "kernels: x1",
        lambda k, mlp, x: k(mlp, x * jnp.nan),
        ValueError,
        "x1 holds 12 entries that are NaN or infinite; expected finite numbers",
    ),
    (
        "kernels: x2",
        lambda k, rnn, s: k(rnn, s, s + jnp.inf),
        ValueError,
        "x2 holds 60 entries that are NaN or infinite; expected finite numbers",
    ),
    (
        "kernels: lengths1",
        lambda k, rnn, s: k(rnn, s, lengths1=[1, 2, 3, 6]),
        ValueError,
        "lengths1 goes from 1 to 6; expected lengths from 1 to T = 5",
    ),
    (
        "kernels: lengths2",
        lambda k, rnn, s: k(rnn, s, s[:, :4], lengths2=[1, 0, 3, 4]),
        ValueError,
        "lengths2 goes from 0 to 4; expected .* 1 to T = 4",
    ),
    (
        "kernels: range",
        lambda k, ntk, x: k(ntk.MLP(depth=2, w_std=1e30), x),
        ValueError,
        r"exceeds 3.4e\+38, the range of float32; expected",
    ),
]


@pytest.mark.parametrize("kernel", KERNELS)
@rows(ALWAYS)
def test_always_refused(plain, kernel, call, exception, sentence):
    assert_always_refused(plain, call, exception, sentence, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@rows(VALUES)
def test_values_refused(plain, kernel, call, exception, sentence):
    given = things(plain)
    assert_refused(lambda: answer(call, given | {"k": given[kernel]}), exception, sentence)
