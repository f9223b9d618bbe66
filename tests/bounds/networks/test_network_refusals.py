"""Bad arguments of norms and margins of networks: one sentence names the argument, its value and what is expected."""

import jax
import jax.numpy as jnp
import numpy as np
from refusals import COUNT, assert_refused, rows

import ntk

X = jnp.ones((4, 3), jnp.float32)
GRAM = jnp.eye(4, dtype=jnp.float32)
COLUMN = np.ones((3, 1))
LABELS = jnp.arange(4) % 3


def identity(params, x):
    return x


REFUSED = [
    (
        "ramp_risk: gamma",
        lambda bounds: bounds.ramp_risk(X[0], 0.0),
        ValueError,
        "gamma is 0.0; expected a positive number",
    ),
    (
        "weight_matrices: 0",
        lambda bounds: bounds.weight_matrices([X * jnp.nan]),
        ValueError,
        "0 holds 12 entries that are NaN or infinite; expected finite",
    ),
    (
        "path_norm: path_norm",
        lambda bounds: bounds.path_norm([1e38 * X]),
        ValueError,
        "path_norm exceeds 3.4e.38, the range of float32",
    ),
    (
        "layer_norms: frobenius",
        lambda bounds: bounds.layer_norms([1e38 * X]),
        ValueError,
        "frobenius exceeds 3.4e.38, the range of float32",
    ),
    (
        "lipschitz_upper_bound: lipschitz_upper_bound",
        lambda bounds: bounds.lipschitz_upper_bound([1e30 * GRAM, 1e30 * GRAM]),
        ValueError,
        "lipschitz_upper_bound exceeds 3.4e.38",
    ),
    (
        "lipschitz_upper_bound: activation_lipschitz",
        lambda bounds: bounds.lipschitz_upper_bound([X], -1.0),
        ValueError,
        "activation_lipschitz is -1.0; expected a finite number that",
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
        "complexity is 0.0; expected a positive number",
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
        lambda bounds: bounds.golowich_margin_bound(X[:, 0] * 1j, [COLUMN], X, 1.0, 0.1),
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

# What does not depend on values is refused under jit too, where x and gram are tracers.
REFUSED_UNDER_JIT = [
    (
        "layer_norms: params",
        lambda bounds, x, gram: bounds.layer_norms([jnp.ones((3, 4)), jnp.ones((5, 2))]),
        ValueError,
        r"params has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    (
        "spectral_complexity: weights",
        lambda bounds, x, gram: bounds.spectral_complexity([jnp.ones((3, 4)), jnp.ones((5, 2))]),
        ValueError,
        r"weights has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    (
        "weight_matrices: params",
        lambda bounds, x, gram: bounds.weight_matrices({"b": x[0]}),
        ValueError,
        "params has no weight matrix among b; expected at least one",
    ),
    (
        "weight_matrices: params",
        lambda bounds, x, gram: bounds.weight_matrices({}),
        ValueError,
        "params has no weight matrix among no leaves; expected at least one",
    ),
    (
        "weight_matrices: params",
        lambda bounds, x, gram: bounds.weight_matrices([x], lambda path: False),
        ValueError,
        "params has no weight matrix among 0; expected",
    ),
    (
        "weight_matrices: 0",
        lambda bounds, x, gram: bounds.weight_matrices([x.astype("bfloat16")]),
        TypeError,
        "0 has dtype bfloat16; expected float32 or float64",
    ),
    (
        "weight_matrices: k",
        lambda bounds, x, gram: bounds.weight_matrices({"k": x[None, :0]}),
        ValueError,
        r"k has shape \(1, 0, 3\); expected \(…, in, out\) with no",
    ),
    (
        "ntk_weight_matrices: net",
        lambda bounds, x, gram: bounds.ntk_weight_matrices("relu", {}),
        TypeError,
        "net is 'relu'; expected an ntk.MLP",
    ),
    (
        "ntk_weight_matrices: params",
        lambda bounds, x, gram: bounds.ntk_weight_matrices(ntk.MLP(depth=1), {}),
        ValueError,
        "params has no 'w1'; expected the parameters of an MLP",
    ),
    (
        "spectral_norm: matrix",
        lambda bounds, x, gram: bounds.spectral_norm(x[0]),
        ValueError,
        r"matrix has shape \(3,\); expected \(in, out\)",
    ),
    (
        "spectral_norm: tolerance",
        lambda bounds, x, gram: bounds.spectral_norm(x, tolerance=0.0),
        ValueError,
        "tolerance is 0.0; expected a positive finite number",
    ),
    (
        "spectral_norm: tolerance",
        lambda bounds, x, gram: bounds.spectral_norm(x, tolerance=True),
        TypeError,
        "tolerance is True; expected a positive finite number",
    ),
    (
        "spectral_norm: max_steps",
        lambda bounds, x, gram: bounds.spectral_norm(x, max_steps=0),
        ValueError,
        f"max_steps is 0; {COUNT}",
    ),
    ("layer_norms: params", lambda bounds, x, gram: bounds.layer_norms({}), ValueError, "params has no weight matrix"),
    ("path_norm: p", lambda bounds, x, gram: bounds.path_norm([x], p=3), ValueError, "p is 3; expected one of 1, 2"),
    (
        "path_norm: params",
        lambda bounds, x, gram: bounds.path_norm([x, x]),
        ValueError,
        r"params has 0 \(4, 3\), 1 \(4, 3\); expected matrices .* fitting the one before",
    ),
    (
        "path_norm: params",
        lambda bounds, x, gram: bounds.path_norm({"in": gram, "out": gram}),
        ValueError,
        "params has in .*, out .*; expected .* in one order only: num",
    ),
    (
        "path_norm: params",
        lambda bounds, x, gram: bounds.path_norm({"c": np.ones((2, 3, 3))}),
        ValueError,
        "params has a convolution, c; expected dense layers",
    ),
    (
        "lipschitz_upper_bound: params",
        lambda bounds, x, gram: bounds.lipschitz_upper_bound({"kernel": x, "bias": x[0], "scale": x[0]}),
        ValueError,
        "params has scale; expected weights and biases alone",
    ),
    (
        "lipschitz_upper_bound: activation_lipschitz",
        lambda bounds, x, gram: bounds.lipschitz_upper_bound([x], "relu"),
        TypeError,
        "activation_lipschitz is 'relu'; expected one real number",
    ),
    (
        "lipschitz_lower_estimate: f",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(None, {}, x),
        TypeError,
        "f is None; expected a function",
    ),
    (
        "lipschitz_lower_estimate: x",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(identity, {}, x.astype(int)),
        TypeError,
        "x has dtype int64; expected a real floating",
    ),
    (
        "lipschitz_lower_estimate: x",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(identity, {}, x[:0]),
        ValueError,
        r"x has shape \(0, 3\); expected \(N, …\) with no",
    ),
    (
        "lipschitz_lower_estimate: x",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(identity, {}, x.astype("float16")),
        TypeError,
        "x has dtype float16; expected float32 or",
    ),
    (
        "lipschitz_lower_estimate: f",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(lambda p, x: x.sum(), {}, x),
        ValueError,
        r"f returns \(\) for x .*; expected one array \(4, …\)",
    ),
    (
        "lipschitz_lower_estimate: f",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(lambda p, x: (x, x), {}, x),
        ValueError,
        r"f returns \(\(4, 3\), .*; expected one array",
    ),
    (
        "lipschitz_lower_estimate: num_steps",
        lambda bounds, x, gram: bounds.lipschitz_lower_estimate(identity, {}, x, 0),
        ValueError,
        f"num_steps is 0; {COUNT}",
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
    assert_refused(lambda: call(plain_bounds, X, GRAM), exception, sentence)
    traced = jax.jit(lambda x, gram: call(plain_bounds, x, gram) and None)
    assert_refused(lambda: traced(X, GRAM), exception, sentence)
