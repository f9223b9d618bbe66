"""Bad arguments of bounds from kernels: one sentence names the argument, its value and what is expected."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from refusals import assert_refused, assert_refused_under_jit_too, rows

X = jnp.ones((4, 3), jnp.float32)
GRAM = jnp.eye(4, dtype=jnp.float32)
LABELS = jnp.arange(4) % 3
ALMOST = np.array([[1.0, 0.009], [0.0, 1.0]])
# No entry exceeds √(K_ii K_jj), and yet one eigenvalue is negative.
NO_KERNEL = np.eye(4) + 0.9 * (np.diag([1.0, 1.0, 1.0], 1) + np.diag([1.0, 1.0, 1.0], -1))
REFUSED = [
    (
        "ntk_complexity: ridge",
        lambda bounds: bounds.ntk_complexity(GRAM, X[:, 0], -1.0),
        ValueError,
        "ridge is -1.0; expected one finite number that is not negative",
    ),
    (
        "ntk_complexity: H",
        lambda bounds: bounds.ntk_complexity(GRAM - 0.5, X[:, 0]),
        ValueError,
        "H has the eigenvalue -1, and 1 at the other end; expected a",
    ),
    (
        "ntk_complexity: H",
        lambda bounds: bounds.ntk_complexity(NO_KERNEL, X[:, 0]),
        ValueError,
        "H has the eigenvalue -0.46, and 2.5 at the other end; expected",
    ),
    (
        "kernel_ridge_margin_bound: gram",
        lambda bounds: bounds.kernel_ridge_margin_bound(X, X[:, 0], 1.0, 0.1),
        ValueError,
        r"gram has shape \(4, 3\); expected \(m, m\)",
    ),
    (
        "kernel_ridge_margin_bound: y",
        lambda bounds: bounds.kernel_ridge_margin_bound(GRAM, X[0], 1.0, 0.1),
        ValueError,
        r"y has shape \(3,\) .*; expected 4 of -1 and 1",
    ),
    (
        "kernel_ridge_margin_bound: y",
        lambda bounds: bounds.kernel_ridge_margin_bound(GRAM, LABELS, 1.0, 0.1),
        ValueError,
        "y has shape .* up to 2; expected 4 of -1 and 1",
    ),
    (
        "kernel_ridge_margin_bound: ridge",
        lambda bounds: bounds.kernel_ridge_margin_bound(GRAM, X[:, 0], 0.0, 0.1),
        ValueError,
        "ridge is 0.0; expected a positive finite num",
    ),
    (
        "kernel_ridge_margin_bound: delta",
        lambda bounds: bounds.kernel_ridge_margin_bound(GRAM, X[:, 0], 1.0, 2.0),
        ValueError,
        "delta is 2.0; expected a number between 0",
    ),
    (
        "kernel_ridge_margin_bound: gamma",
        lambda bounds: bounds.kernel_ridge_margin_bound(GRAM, X[:, 0], 1.0, 0.1, -1),
        ValueError,
        "gamma is -1; expected a positive",
    ),
    (
        "kernel_ridge_risk_bound: noise_std",
        lambda bounds: bounds.kernel_ridge_risk_bound(GRAM, 1.0, -1.0, 1.0),
        ValueError,
        "noise_std is -1.0; expected a finite number of at",
    ),
    (
        "kernel_ridge_risk_bound: gram",
        lambda bounds: bounds.kernel_ridge_risk_bound(GRAM.at[0, 1].set(3.0), 1.0, 1.0, 1.0),
        ValueError,
        "gram differs from its transpose",
    ),
    (
        "kernel_ridge_risk_bound: gram",
        lambda bounds: jax.jit(lambda K: bounds.kernel_ridge_risk_bound(K, 1, 1, 1))(GRAM),
        TypeError,
        "gram is traced by JAX; expected",
    ),
    (
        "kernel_ridge_margin_bound: ridge",
        lambda bounds: bounds.kernel_ridge_margin_bound(GRAM, X[:, 0], [1.0, 2.0], 0.1),
        ValueError,
        r"ridge has shape \(2,\); expected one",
    ),
    (
        "kernel_ridge_margin_bound: gram",
        lambda bounds: bounds.kernel_ridge_margin_bound(NO_KERNEL, X[:, 0], 1.0, 0.1),
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at",
    ),
    (
        "kernel_ridge_risk_bound: gram",
        lambda bounds: bounds.kernel_ridge_risk_bound(NO_KERNEL, 1.0, 1.0, 1.0),
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the",
    ),
    (
        "kernel_ridge_risk_bound: gram",
        lambda bounds: bounds.kernel_ridge_risk_bound(ALMOST, 1.0, 1.0, 1.0),
        ValueError,
        "gram differs from its transpose by 0.009, with en",
    ),
]

# These calls are refused under jit too, where x and gram are tracers, since no values are needed.
REFUSED_UNDER_JIT = [
    (
        "ntk_complexity: H",
        lambda bounds, x, gram: bounds.ntk_complexity(x, x[:, 0]),
        ValueError,
        r"H has shape \(4, 3\); expected \(m, m\)",
    ),
    (
        "ntk_complexity: y",
        lambda bounds, x, gram: bounds.ntk_complexity(gram, x[0]),
        ValueError,
        "y has 3 rows; expected 4 as H has",
    ),
    (
        "ntk_complexity: y",
        lambda bounds, x, gram: bounds.ntk_complexity(gram, x[0, 0]),
        ValueError,
        r"y has shape \(\); expected \(n,\) with no empty axis",
    ),
    (
        "ntk_complexity: y",
        lambda bounds, x, gram: bounds.ntk_complexity(gram, LABELS),
        TypeError,
        "y has dtype int.*; expected a real floating-point array",
    ),
    (
        "ntk_complexity: ridge",
        lambda bounds, x, gram: bounds.ntk_complexity(gram, x[:, 0], "small"),
        TypeError,
        "ridge is 'small'; expected one finite number that is not negative",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)


@rows(REFUSED_UNDER_JIT)
def test_refused_under_jit_too(plain_bounds, call, exception, sentence):
    assert_refused_under_jit_too(functools.partial(call, plain_bounds), (X, GRAM), exception, sentence)
