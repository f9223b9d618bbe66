"""Bad arguments of kernels of any function: one sentence names the argument, its value and what is expected."""

import jax.numpy as jnp
from refusals import assert_refused, rows
from refused import answer, assert_always_refused, things


class Unhashable:
    __hash__ = None

    def __call__(self, params, x):
        return x @ params

    def __repr__(self):
        return "Unhashable()"


# These calls are refused under jit too, where x and s are tracers, since no values are needed.
ALWAYS = [
    (
        "empirical_ntk: f",
        lambda ntk, w, x: ntk.empirical_ntk(None, w, x),
        TypeError,
        "f is None; expected a .*function",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, w, x: ntk.empirical_ntk(Unhashable(), w, x),
        TypeError,
        r"f is Unhashable\(\).*; expected",
    ),
    (
        "empirical_ntk: params",
        lambda ntk, linear, x: ntk.empirical_ntk(linear, {}, x),
        ValueError,
        "params has no leaves; expected a pytree with at least one floating",
    ),
    (
        "empirical_ntk: params",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w.astype(int), x),
        ValueError,
        "params has leaves of int.*; expected a pytree with at",
    ),
    (
        "empirical_ntk: method",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, method="fast"),
        ValueError,
        "method is 'fast'; expected one of 'auto', 'l",
    ),
    (
        "empirical_ntk: batch_size",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, batch_size=0),
        ValueError,
        "batch_size is 0; expected an integer of at least",
    ),
    (
        "empirical_ntk: batch_size",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, batch_size="all"),
        ValueError,
        "batch_size is 'all'; expected one of 'auto'",
    ),
    (
        "empirical_ntk: param_filter",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, param_filter="w"),
        TypeError,
        "param_filter is 'w'; expected a function of a",
    ),
    (
        "empirical_ntk: param_filter",
        lambda ntk, w, x: ntk.empirical_ntk(lambda p, x: x @ p["w"], {"w": w}, x, param_filter=lambda path: False),
        ValueError,
        "param_filter is false for all of w; expected it to be true for some",
    ),
    (
        "empirical_ntk: batch_size",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, batch_dependent=True, batch_size=2),
        ValueError,
        "batch_size is 2 with batch_dependent=True; expected None",
    ),
    (
        "empirical_ntk: method",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, method="vector_products", per_layer=True),
        ValueError,
        "method is 'vector_products' with per_layer or batch_dependent; expected another method",
    ),
    (
        "explain_empirical: method",
        lambda ntk, linear, w, x: ntk.explain_empirical(linear, w, x, method="vector_products"),
        ValueError,
        "method is 'vector_products'; expected one with a rule for every parameter",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, looping, x: ntk.empirical_ntk(looping, 1.0, x),
        ValueError,
        "f has a loop of unknown length, .* expected lax.scan",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, looping, x: ntk.empirical_ntk(looping, 1.0, x, method="vector_products"),
        ValueError,
        "f has a loop of unknown length, .* expected lax.scan",
    ),
    (
        "ntk_vector_product: f",
        lambda ntk, looping, x: ntk.ntk_vector_product(looping, 1.0, x, None, x[:, 0]),
        ValueError,
        "f has a loop of unknown length, .* expected lax.scan",
    ),
    (
        "empirical_ntk: x2",
        lambda ntk, w, x: ntk.empirical_ntk(lambda p, x: x["a"] @ p, w, {"a": x}, {"a": x, "b": x}),
        ValueError,
        r"x2 has the structure .*'b'.*; expected .* as x1",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, w, x: ntk.empirical_ntk(lambda p, x: x @ p[:, :0], w, x),
        ValueError,
        r"^f\(params, x1\) returns outputs of shape \(0,\); expected at",
    ),
    (
        "ntk_diagonal: trace_axes",
        lambda ntk, linear, w, x: ntk.ntk_diagonal(linear, w, x, trace_axes=(1,)),
        ValueError,
        r"trace_axes is \(1,\); expected axes of an output",
    ),
    (
        "empirical_ntk: batch_size",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, batch_size=2.5),
        ValueError,
        "batch_size is 2.5; expected an integer",
    ),
    (
        "empirical_ntk: trace_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, trace_axes=(1,)),
        ValueError,
        r"trace_axes is \(1,\); expected .* \(2,\), the b",
    ),
    (
        "empirical_ntk: trace_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, trace_axes=-1),
        ValueError,
        "trace_axes is -1; expected a tuple",
    ),
    (
        "empirical_ntk: trace_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, trace_axes=None),
        ValueError,
        "trace_axes is None; expected a tuple",
    ),
    (
        "empirical_ntk: trace_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, trace_axes=(0.5,)),
        ValueError,
        r"trace_axes is \(0.5,\); expected a tuple",
    ),
    (
        "empirical_ntk: trace_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, trace_axes=(0, -1)),
        ValueError,
        r"trace_axes is \(0, -1\); expected each axis",
    ),
    (
        "empirical_ntk: diagonal_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, diagonal_axes=(0, 0)),
        ValueError,
        r"diagonal_axes is \(0, 0\); expected each",
    ),
    (
        "empirical_ntk: diagonal_axes",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w[:, 0], x, diagonal_axes=(0,)),
        ValueError,
        r"diagonal_axes is \(0,\); expected",
    ),
    (
        "empirical_ntk: x1",
        lambda ntk, linear, w: ntk.empirical_ntk(linear, w, None),
        ValueError,
        r"x1 has shapes \[\]; expected arrays with one leading axis",
    ),
    (
        "empirical_ntk: x1",
        lambda ntk, linear, w: ntk.empirical_ntk(linear, w, "abc"),
        TypeError,
        "x1 is 'abc'; expected an array",
    ),
    (
        "empirical_ntk: x1",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x[:0]),
        ValueError,
        r"x1 has shapes \[\(0, 3\)\]; expected arrays with one",
    ),
    (
        "empirical_ntk: x2",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, (x, x[:2])),
        ValueError,
        r"x2 has shapes .*\(2, 3\)\]; expected arrays with one",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, x: ntk.empirical_ntk(lambda p, x: x.sum() * p, 1.0, x),
        ValueError,
        r"^f\(params, x1\) returns .* 4 inputs; expected one a",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, x: ntk.empirical_ntk(lambda p, x: (x * p, x), 1.0, x),
        ValueError,
        r"^f\(params, x1\) returns .* 4 inputs; expected one a",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, w, x: ntk.empirical_ntk(lambda p, x: x.argmax(1), w, x),
        TypeError,
        r"f\(params, x1\) has dtype int64; expected a real",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, s: ntk.empirical_ntk(lambda p, s: s.sum(2) * p, jnp.float32(1), s, s[:, :3]),
        ValueError,
        r"f returns .*\(3,\) for x2; expected \(5,\)",
    ),
]

# These calls are refused if values can be checked.
VALUES = [
    (
        "empirical_ntk: x2",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, x, x * jnp.inf),
        ValueError,
        "x2 holds 12 entries that are NaN or infinite; expected",
    ),
    (
        "empirical_ntk: range",
        lambda ntk, linear, w, x: ntk.empirical_ntk(linear, w, 1e30 * x),
        ValueError,
        r"exceeds 3.4e\+38, the range of float32; expected",
    ),
    (
        "empirical_ntk: f",
        lambda ntk, x: ntk.empirical_ntk(lambda p, x: x - p * x[:1], jnp.float32(2), x),
        ValueError,
        "f mixes the inputs .*; expected a function",
    ),
]


@rows(ALWAYS)
def test_always_refused(plain, call, exception, sentence):
    assert_always_refused(plain, call, exception, sentence)


@rows(VALUES)
def test_values_refused(plain, call, exception, sentence):
    assert_refused(lambda: answer(call, things(plain)), exception, sentence)
