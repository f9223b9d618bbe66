"""Bad weights and arguments of their norms: one sentence names the argument, its value and what is expected."""

import functools

import jax.numpy as jnp
import numpy as np
from refusals import COUNT, assert_refused, assert_refused_under_jit_too, rows

import ntk

X = jnp.ones((4, 3), jnp.float32)
GRAM = jnp.eye(4, dtype=jnp.float32)


def identity(params, x):
    return x


REFUSED = [
    (
        "weight_matrices: param_filter fails",
        lambda bounds: bounds.weight_matrices({"w": X}, lambda path: path.missing),
        ValueError,
        r"param_filter\('w'\) fails with AttributeError: .*missing.*; expected a function of a path that returns",
    ),
    (
        "weight_matrices: param_filter returns",
        lambda bounds: bounds.weight_matrices({"w": X}, lambda path: None),
        TypeError,
        r"param_filter\('w'\) returns None; expected a function of a path that returns True or False",
    ),
    (
        "weight_matrices: param_filter",
        lambda bounds: bounds.weight_matrices({"w": X}, "kernel"),
        TypeError,
        "param_filter is 'kernel'; expected a function of a path such as 'params/w'",
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
        "activation_lipschitz is -1.0; expected one finite number that",
    ),
]

# These calls are refused under jit too, where x and gram are tracers, since no values are needed.
REFUSED_UNDER_JIT = [
    (
        "layer_norms: params",
        lambda bounds, x, gram: bounds.layer_norms([jnp.ones((3, 4)), jnp.ones((5, 2))]),
        ValueError,
        r"params has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
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
        "activation_lipschitz is 'relu'; expected one finite number that is not negative",
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
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)


@rows(REFUSED_UNDER_JIT)
def test_refused_under_jit_too(plain_bounds, call, exception, sentence):
    assert_refused_under_jit_too(functools.partial(call, plain_bounds), (X, GRAM), exception, sentence)
