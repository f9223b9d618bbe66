"""Bad arguments of margins and margin bounds: one sentence names the argument, its value and what is expected."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from refusals import assert_refused, assert_refused_under_jit_too, rows

X = jnp.ones((4, 3), jnp.float32)
GRAM = jnp.eye(4, dtype=jnp.float32)
COLUMN = np.ones((3, 1))
LABELS = jnp.arange(4) % 3

REFUSED = [
    (
        "ramp_risk: gamma",
        lambda bounds: bounds.ramp_risk(X[0], 0.0),
        ValueError,
        "gamma is 0.0; expected one finite positive number",
    ),
    (
        "classification_margins: labels",
        lambda bounds: bounds.classification_margins(X, LABELS + 1),
        ValueError,
        "labels holds 3; expected classes from 0 to 2",
    ),
    (
        "classification_margins: labels",
        lambda bounds: bounds.classification_margins(X[:, 0], LABELS),
        ValueError,
        "labels holds 0; expected -1 or 1",
    ),
    (
        "spectral_complexity: activation_lipschitz",
        lambda bounds: bounds.spectral_complexity([X], None, -1.0),
        ValueError,
        "activation_lipschitz is -1.0; expected a finite number",
    ),
    (
        "normalized_margins: complexity",
        lambda bounds: bounds.normalized_margins(X[:, 0], 0.0, X),
        ValueError,
        "complexity is 0.0; expected one finite positive number",
    ),
    (
        "golowich_margin_bound: x",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN], GRAM, 1.0, 0.1),
        ValueError,
        "x has 4 features; expected 3, the",
    ),
    (
        "golowich_margin_bound: weights",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [X, COLUMN[:2]], X, 1.0, 0.1),
        ValueError,
        "weights has 0 .*; expected matrices",
    ),
    (
        "golowich_margin_bound: gamma",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN], X, [1.0, 2.0], 0.1),
        ValueError,
        r"gamma has shape \(2,\); expected one number",
    ),
    (
        "golowich_margin_bound: gamma",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN], X, 1e-310, 0.1),
        ValueError,
        "gamma is 1e-310, and norms divided by it leave",
    ),
    (
        "spectral_margin_bound: by",
        lambda bounds: bounds.spectral_margin_bound(X[:, 0], [COLUMN], X, 1e-310, 0.1),
        ValueError,
        "and norms divided by it leave the range",
    ),
    (
        "spectral_margin_bound: weights",
        lambda bounds: bounds.spectral_margin_bound(X[:, 0], {"a": GRAM, "b": GRAM}, GRAM, 1.0, 0.1),
        ValueError,
        "weights has a .* one order",
    ),
    (
        "golowich_margin_bound: weights",
        lambda bounds: bounds.golowich_margin_bound(X[0], [X], X, 1.0, 0.1),
        ValueError,
        "weights has 3 outputs; expected 1, whose sign",
    ),
    (
        "golowich_margin_bound: margins",
        lambda bounds: bounds.golowich_margin_bound(X[0], [COLUMN], X, 1.0, 0.1),
        ValueError,
        "margins has 3 entries; expected 4 as x has",
    ),
    (
        "golowich_margin_bound: margins",
        lambda bounds: bounds.golowich_margin_bound(X, [COLUMN], X, 1.0, 0.1),
        ValueError,
        r"margins has shape \(4, 3\); expected \(m,\)",
    ),
    (
        "golowich_margin_bound: margins",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0].astype("complex64"), [COLUMN], X, 1.0, 0.1),
        TypeError,
        "margins has dtype complex64; expected",
    ),
    (
        "golowich_margin_bound: x",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN], X * jnp.inf, 1.0, 0.1),
        ValueError,
        "x holds entries that are NaN",
    ),
    (
        "golowich_margin_bound: gamma",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN], X, 0.0, 0.1),
        ValueError,
        "gamma is 0.0; expected a positive finite",
    ),
    (
        "golowich_margin_bound: delta",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN], X, 1.0, 1.0),
        ValueError,
        "delta is 1.0; expected a number between",
    ),
    (
        "golowich_margin_bound: weights",
        lambda bounds: bounds.golowich_margin_bound(X[:, 0], [COLUMN, X[0]], X, 1.0, 0.1),
        ValueError,
        "weights has leaves .*, 1; expected",
    ),
    (
        "spectral_margin_bound: weights",
        lambda bounds: bounds.spectral_margin_bound(X[:, 0], {"c": np.ones((2, 3, 3))}, X, 1.0, 0.1),
        ValueError,
        "weights has a convolution, c; exp",
    ),
    (
        "spectral_margin_bound: references",
        lambda bounds: bounds.spectral_margin_bound(X[:, 0], [X], X, 1.0, 0.1, [GRAM]),
        ValueError,
        "references has matrices of shapes .*; ",
    ),
    (
        "spectral_margin_bound: activation_lipschitz",
        lambda bounds: bounds.spectral_margin_bound(X[:, 0], [X], X, 1.0, 0.1, None, [1, 1]),
        ValueError,
        r"activation_lipschitz has shape \(2,\)",
    ),
    (
        "spectral_margin_bound: margins",
        lambda bounds: jax.jit(lambda v: bounds.spectral_margin_bound(v, [X], X, 1.0, 0.1))(X[:, 0]),
        TypeError,
        "margins is traced by JAX; expected .* this is computed on the host",
    ),
]

# These calls are refused under jit too, where x and gram are tracers, since no values are needed.
REFUSED_UNDER_JIT = [
    (
        "spectral_complexity: weights",
        lambda bounds, x, gram: bounds.spectral_complexity([jnp.ones((3, 4)), jnp.ones((5, 2))]),
        ValueError,
        r"weights has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    (
        "classification_margins: labels",
        lambda bounds, x, gram: bounds.classification_margins(x, LABELS[:2]),
        ValueError,
        r"labels has shape \(2,\); expected \(4,\), one for each row of outputs",
    ),
    (
        "classification_margins: outputs",
        lambda bounds, x, gram: bounds.classification_margins(x, x[:, 0]),
        ValueError,
        "outputs has shape .* labels dtype float32; expected two classes or more",
    ),
    (
        "classification_margins: outputs",
        lambda bounds, x, gram: bounds.classification_margins(x[:, :1], LABELS),
        ValueError,
        r"outputs has shape \(4, 1\) .*; expected two classes or more",
    ),
    (
        "classification_margins: outputs",
        lambda bounds, x, gram: bounds.classification_margins(x[None], LABELS),
        ValueError,
        r"outputs has shape \(1, 4, 3\); expected \(N, C\)",
    ),
    (
        "ramp_risk: margins",
        lambda bounds, x, gram: bounds.ramp_risk(x, 1.0),
        ValueError,
        r"margins has shape \(4, 3\); expected \(N,\)",
    ),
    (
        "normalized_margins: margins",
        lambda bounds, x, gram: bounds.normalized_margins(x[0], 1.0, x),
        ValueError,
        "margins has 3 entries; expected 4 as x has rows",
    ),
    (
        "spectral_complexity: references",
        lambda bounds, x, gram: bounds.spectral_complexity([x], [gram]),
        ValueError,
        r"references has .*\(4, 4\).*; expected .*\(4, 3\).* as weights",
    ),
    (
        "spectral_complexity: activation_lipschitz",
        lambda bounds, x, gram: bounds.spectral_complexity([x], None, np.ones(2)),
        ValueError,
        r"activation_lipschitz has shape \(2,\); expected \(\) or \(1,\)",
    ),
    (
        "golowich_rademacher: weights",
        lambda bounds, x, gram: bounds.golowich_rademacher([x], gram),
        ValueError,
        r"weights has .* \(4, 3\); expected \(4, 1\) for x of",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)


@rows(REFUSED_UNDER_JIT)
def test_refused_under_jit_too(plain_bounds, call, exception, sentence):
    assert_refused_under_jit_too(functools.partial(call, plain_bounds), (X, GRAM), exception, sentence)
