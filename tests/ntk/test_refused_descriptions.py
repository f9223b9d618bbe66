"""Bad networks, activations, covariances and parameters: one sentence names argument, value and what is expected."""

import jax
import jax.numpy as jnp
from refusals import assert_refused, rows
from refused import answer, assert_always_refused, things

# These calls are refused under jit too, where x and s are tracers, since no values are needed.
ALWAYS = [
    ("MLP: depth", lambda ntk: ntk.MLP(depth=-1), ValueError, "depth is -1; expected an integer of at least 0"),
    ("MLP: depth", lambda ntk: ntk.MLP(depth=2.0), ValueError, "depth is 2.0; expected an integer"),
    ("MLP: depth", lambda ntk: ntk.MLP(depth="3"), ValueError, "depth is '3'; expected an integer"),
    ("MLP: depth", lambda ntk: ntk.MLP(depth=True), ValueError, "depth is True; expected an integer"),
    ("MLP: w_std", lambda ntk: ntk.MLP(depth=2, w_std="big"), TypeError, "w_std is 'big'; expected a real number"),
    ("MLP: b_std", lambda ntk: ntk.MLP(depth=2, b_std=None), TypeError, "b_std is None; expected a real number"),
    ("MLP: v_std", lambda ntk: ntk.MLP(depth=2, v_std=1j), TypeError, "v_std is 1j; expected a real number"),
    ("RNN: u_std", lambda ntk: ntk.RNN(u_std=[1.0]), TypeError, r"u_std is \[1.0\]; expected a real number"),
    (
        "RNN: pooling",
        lambda ntk: ntk.RNN(pooling="max"),
        ValueError,
        "pooling is 'max'; expected one of 'last', 'mean'",
    ),
    (
        "MLP: activation",
        lambda ntk: ntk.MLP(depth=2, activation="rleu"),
        ValueError,
        "activation is 'rleu'; expected one of abs, .* tanh",
    ),
    (
        "activation: activation",
        lambda ntk: ntk.activation(3),
        TypeError,
        "activation is 3; expected a name or a function",
    ),
    (
        "RNN: activation",
        lambda ntk: ntk.RNN(activation=jnp.sum),
        ValueError,
        r"activation sum .*; expected .* \(2, 3\) to \(\)",
    ),
    (
        "activation: activation",
        lambda ntk: ntk.activation(jax.nn.softmax),
        ValueError,
        "activation softmax of one number fails with .*; expected a function that acts on each entry alone",
    ),
    (
        "activation: breakpoints",
        lambda ntk: ntk.activation(jnp.tanh, breakpoints=()),
        ValueError,
        r"breakpoints is \(\); expected a tuple",
    ),
    (
        "activation: breakpoints",
        lambda ntk: ntk.activation(jnp.tanh, breakpoints=1.0),
        ValueError,
        "breakpoints is 1.0; expected a tuple",
    ),
    (
        "activation: breakpoints",
        lambda ntk: ntk.activation(jnp.tanh, breakpoints=(jnp.nan,)),
        ValueError,
        r"breakpoints is \(nan,\); expected a tuple",
    ),
    ("dual: q11", lambda erf: erf.dual(None, 0, 1), TypeError, "q11 is None; expected"),
    ("dual: q12", lambda erf: erf.dual(1, 1j, 1), TypeError, "q12 is .*1.*j.*; expected a real number"),
    (
        "dual_derivative: q11",
        lambda erf, x: erf.dual_derivative(x, x[:, :2], x),
        ValueError,
        r"q11, q12, q22 have shapes .*\(4, 2\).*; expected shapes",
    ),
    (
        "finite: net",
        lambda ntk: ntk.finite("relu", 8),
        TypeError,
        "net is 'relu'; expected an ntk.MLP, an ntk.RNN or an ntk.tensor_program",
    ),
    ("finite: width", lambda ntk, mlp: ntk.finite(mlp, 0), ValueError, "width is 0; expected an integer of at least 1"),
    ("finite: width", lambda ntk, mlp: ntk.finite(mlp, 8.5), ValueError, "width is 8.5; expected an integer"),
    (
        "finite: outputs",
        lambda ntk, mlp: ntk.finite(mlp, 8, 0),
        ValueError,
        "outputs is 0; expected an integer of at least 1",
    ),
    (
        "MLP: w_std",
        lambda ntk: ntk.MLP(depth=2, w_std=jnp.ones(4)),
        ValueError,
        "w_std is .*; expected one real number",
    ),
    (
        "apply: x",
        lambda ntk, mlp, x: ntk.finite(mlp, 8).apply({}, x[0]),
        ValueError,
        r"x has shape \(3,\); expected \(N, d\)",
    ),
    (
        "apply: lengths",
        lambda ntk, rnn, s: ntk.finite(rnn, 8).apply({}, s, [1] * 3),
        ValueError,
        r"lengths is int64 of .*\(3,\); expected 4 integers",
    ),
    (
        "apply: params",
        lambda ntk, params, mlp, x: ntk.finite(mlp, 8).apply(params(mlp, x.astype(float)), x),
        TypeError,
        "'w1'.* float64; expected float32",
    ),
    (
        "apply: params",
        lambda ntk, params, rnn, s: ntk.finite(rnn, 8).apply(params(rnn, s.astype(float)), s),
        TypeError,
        "'w'.* float64; expected float32",
    ),
    (
        "empirical_kernels: params",
        lambda ntk, mlp, x: ntk.empirical_kernels(mlp, None, x),
        ValueError,
        r"params has no 'params/v'; expected what",
    ),
    (
        "empirical_kernels: params",
        lambda measured, mlp, x: measured(mlp, x, v=jnp.float32(1)),
        ValueError,
        r"params 'params/v' has shape \(\); expected \(n,\) or \(n, O\)",
    ),
    (
        "empirical_kernels: params",
        lambda measured, mlp, x: measured(mlp, x, w2=jnp.ones((8, 7))),
        ValueError,
        r"params 'params/w2' has .* \(8, 7\); expected \(8, 8\) for MLP of width 8",
    ),
    (
        "empirical_kernels: params",
        lambda measured, mlp, x: measured(mlp, x, w1=3.0),
        ValueError,
        r"params 'params/w1' has shape \(\); expected \(3, 8\)",
    ),
    (
        "empirical_kernels: params",
        lambda ntk, params, mlp, x: ntk.empirical_kernels(ntk.MLP(depth=3), params(mlp, x), x),
        ValueError,
        r"params 'params/b3' has .*; expected \(8,\) for MLP",
    ),
    (
        "empirical_kernels: params",
        lambda ntk, params, mlp, x: ntk.empirical_kernels(mlp, params(mlp, x), x[:, :2]),
        ValueError,
        r"params 'params/w1' has .* \(3, 8\); expected \(2, 8\)",
    ),
    (
        "empirical_kernels: params",
        lambda ntk, params, mlp, x: ntk.empirical_kernels(mlp, params(mlp, x), x.astype(float)),
        TypeError,
        "params 'params/b1' has .* float32; expected float64",
    ),
]

# These calls are refused if values can be checked.
VALUES = [
    (
        "MLP: w_std",
        lambda ntk: ntk.MLP(depth=2, w_std=-1.0),
        ValueError,
        "w_std is -1.0; expected a finite number that is not negative",
    ),
    (
        "MLP: b_std",
        lambda ntk: ntk.MLP(depth=2, b_std=jnp.nan),
        ValueError,
        "b_std is nan; expected a finite number that is not negative",
    ),
    (
        "RNN: v_std",
        lambda ntk: ntk.RNN(v_std=jnp.inf),
        ValueError,
        "v_std is inf; expected a finite number that is not negative",
    ),
    (
        "RNN: u_std",
        lambda ntk: ntk.RNN(u_std=jnp.array(-2.0)),
        ValueError,
        r"u_std is .*-2\..*; expected a finite number that is not negative",
    ),
    (
        "dual: q11",
        lambda erf: erf.dual(-1.0, 0.0, 1.0),
        ValueError,
        r"q11 is .*-1\..*; expected a finite number that is not negative",
    ),
    (
        "dual: q22",
        lambda erf: erf.dual(1.0, 0.0, jnp.nan),
        ValueError,
        "q22 is .*nan.*; expected a finite number that is not negative",
    ),
    ("dual: q12", lambda erf: erf.dual(1.0, jnp.nan, 1.0), ValueError, "q12 .*NaN.*; expected finite numbers"),
    (
        "dual_derivative: q12",
        lambda erf: erf.dual_derivative(1.0, 2.0, 1.0),
        ValueError,
        r"q12 is 2.0; expected .* at most sqrt\(q11\*q22\) = 1.0",
    ),
    (
        "error_estimate: q12",
        lambda erf: erf.error_estimate(1.0, -2.0, 1.0),
        ValueError,
        "q12 is -2.0; expected a covariance of at most",
    ),
    (
        "dual: range",
        lambda ntk: ntk.activation("exp").dual(1e3, 1e3, 1e3),
        ValueError,
        r"dual exceeds 1.8e\+308, the range of float64; expected",
    ),
    (
        "apply: x",
        lambda ntk, mlp, x: ntk.finite(mlp, 8).apply({}, x * jnp.nan),
        ValueError,
        "x holds 12 entries that are NaN or infinite; expected",
    ),
    (
        "apply: lengths",
        lambda ntk, rnn, s: ntk.finite(rnn, 8).apply({}, s, [1, 2, 0, 5]),
        ValueError,
        "lengths goes from 0 to 5; expected .* 1 to T = 5",
    ),
    (
        "empirical_kernels: params",
        lambda measured, mlp, x: measured(mlp, x, w2=jnp.full((8, 8), jnp.nan, x.dtype)),
        ValueError,
        "params 'params/w2' holds 64 entries .*; expected fin",
    ),
    (
        "empirical_kernels: range",
        lambda measured, mlp, x: measured(mlp, x, w2=jnp.full((8, 8), 1e30, x.dtype)),
        ValueError,
        r"C exceeds 3.4e\+38, .* float32; expected",
    ),
    (
        "infinite_ntk: range",
        lambda ntk, cubes, x: ntk.infinite_ntk(cubes, 9 * x.astype(float)),
        ValueError,
        r"ntk exceeds 1.8e\+308, .* float64; expected",
    ),
]


@rows(ALWAYS)
def test_always_refused(plain, call, exception, sentence):
    assert_always_refused(plain, call, exception, sentence)


@rows(VALUES)
def test_values_refused(plain, call, exception, sentence):
    assert_refused(lambda: answer(call, things(plain)), exception, sentence)
