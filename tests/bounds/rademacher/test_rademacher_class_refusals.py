"""Bad classes and estimates of their complexity: one sentence names the argument, its value and what is expected."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from refusals import COUNT, assert_refused, assert_refused_under_jit_too, rows

KEY = jax.random.key(0)
KEYS = jax.random.split(jax.random.key(0), 2)
X = jnp.ones((4, 3), jnp.float32)
GRAM = jnp.eye(4, dtype=jnp.float32)
# No entry exceeds √(K_ii K_jj), and yet one eigenvalue is negative.
NO_KERNEL = np.eye(4) + 0.9 * (np.diag([1.0, 1.0, 1.0], 1) + np.diag([1.0, 1.0, 1.0], -1))

REFUSED = [
    (
        "local_rademacher: gram",
        lambda bounds: bounds.local_rademacher(NO_KERNEL, 1.0),
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the other end; expecte",
    ),
    (
        "local_fixed_point: gram",
        lambda bounds: bounds.local_fixed_point(NO_KERNEL),
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the other end; expected a",
    ),
    (
        "exact_rademacher: x",
        lambda bounds: bounds.exact_rademacher(bounds.LinearBall(X.at[0, 0].set(jnp.nan))),
        ValueError,
        "x holds 1 entries that are NaN",
    ),
    (
        "exact_rademacher: radius",
        lambda bounds: bounds.exact_rademacher(bounds.LinearBall(X, radius=-1.0)),
        ValueError,
        "radius is -1.0; expected a finite number that",
    ),
    (
        "exact_rademacher: gram",
        lambda bounds: bounds.exact_rademacher(bounds.KernelBall(GRAM.at[0, 1].add(1.0))),
        ValueError,
        "gram differs from its transpose by 1,",
    ),
    (
        "exact_rademacher: gram",
        lambda bounds: bounds.exact_rademacher(bounds.KernelBall(-GRAM)),
        ValueError,
        "gram has -1 on its diagonal; expected a positive semidef",
    ),
    (
        "exact_rademacher: gram",
        lambda bounds: bounds.exact_rademacher(bounds.KernelBall(GRAM + 9.0 * (1.0 - GRAM))),
        ValueError,
        r"gram has an entry K_ij with .K_ij. beyond sqrt\(K_ii K_jj\) by 8; expected a positive semidefinite matrix",
    ),
    (
        "rademacher_upper_bound: predictions",
        lambda bounds: bounds.rademacher_upper_bound(bounds.FiniteClass(X * jnp.inf)),
        ValueError,
        "predictions holds 12 entries that are NaN",
    ),
    (
        "exact_rademacher: radii",
        lambda bounds: bounds.exact_rademacher(bounds.NetworkBall(X, -X[0], KEY)),
        ValueError,
        "radii is .*; expected .* not negative",
    ),
    (
        "local_rademacher: r",
        lambda bounds: bounds.local_rademacher(GRAM, -1.0),
        ValueError,
        "r is -1.0; expected one finite number that is not negative",
    ),
    (
        "local_fixed_point: radius",
        lambda bounds: bounds.local_fixed_point(GRAM, jnp.inf),
        ValueError,
        "radius is inf; expected one finite number",
    ),
    (
        "rademacher_upper_bound: upper_bound",
        lambda bounds: bounds.rademacher_upper_bound(bounds.LinearBall(1e38 * X, radius=100.0)),
        ValueError,
        "upper_bound exceeds 3.4e.38, the range of float32",
    ),
]

# These calls are refused under jit too, where x and gram are tracers, since no values are needed.
REFUSED_UNDER_JIT = [
    (
        "empirical_rademacher: function_class",
        lambda bounds, x, gram: bounds.empirical_rademacher(x, KEY),
        TypeError,
        "function_class is .*; expected a class such as KernelBall",
    ),
    (
        "empirical_rademacher: function_class",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall, KEY),
        TypeError,
        "function_class is <class .*; expected a class such as",
    ),
    (
        "empirical_rademacher: x",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall("x"), KEY),
        TypeError,
        "x is 'x'; expected an array of real",
    ),
    (
        "empirical_rademacher: x",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x.astype(int)), KEY),
        TypeError,
        "x has dtype int64; expected a real",
    ),
    (
        "empirical_rademacher: x",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x.astype("float16")), KEY),
        TypeError,
        "x has dtype float16; expected float32",
    ),
    (
        "empirical_rademacher: x",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x[0]), KEY),
        ValueError,
        r"x has shape \(3,\); expected \(m, d\) with no",
    ),
    (
        "empirical_rademacher: x",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x[:0]), KEY),
        ValueError,
        r"x has shape \(0, 3\); expected \(m, d\) with no",
    ),
    (
        "empirical_rademacher: norm",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x, norm=3), KEY),
        ValueError,
        "norm is 3; expected one of 1, 2, inf",
    ),
    (
        "empirical_rademacher: radius",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x, radius="1"), KEY),
        TypeError,
        "radius is '1'; expected a finite number",
    ),
    (
        "empirical_rademacher: radius",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x, radius=1j), KEY),
        TypeError,
        "radius is 1j; expected a finite number",
    ),
    (
        "empirical_rademacher: radius",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.LinearBall(x, radius=[1.0]), KEY),
        ValueError,
        r"radius has shape \(1,\); expected one finite number",
    ),
    (
        "KernelBall: gram",
        lambda bounds, x, gram: bounds.KernelBall(jnp.ones((6, 2))),
        ValueError,
        r"gram has shape \(6, 2\); expected \(m, m\) with m at least 1",
    ),
    (
        "KernelBall: gram",
        lambda bounds, x, gram: bounds.KernelBall(jnp.ones((3, 6, 2))),
        ValueError,
        r"gram has shape \(3, 6, 2\); expected \(m, m\) with m at least",
    ),
    (
        "KernelBall: gram",
        lambda bounds, x, gram: bounds.KernelBall(jnp.ones(6)),
        ValueError,
        r"gram has shape \(6,\); expected \(m, m\) with no empty axis",
    ),
    (
        "KernelBall: gram",
        lambda bounds, x, gram: bounds.KernelBall("gram"),
        TypeError,
        "gram is 'gram'; expected an array of real floating-point numbers",
    ),
    (
        "LinearBall: x",
        lambda bounds, x, gram: bounds.LinearBall(jnp.ones(3)),
        ValueError,
        r"x has shape \(3,\); expected \(m, d\)",
    ),
    (
        "NetworkBall: width",
        lambda bounds, x, gram: bounds.NetworkBall(x, x[0], KEY, width=0),
        ValueError,
        f"width is 0; {COUNT}",
    ),
    (
        "empirical_rademacher: gram",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.KernelBall(x), KEY),
        ValueError,
        r"gram has shape \(4, 3\); expected \(m, m\)",
    ),
    (
        "empirical_rademacher: predictions",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.FiniteClass(x[0]), KEY),
        ValueError,
        "predictions has shape .*; expected .*functions, m",
    ),
    (
        "empirical_rademacher: key",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.KernelBall(gram), 0),
        TypeError,
        "key is 0; expected one PRNG key",
    ),
    (
        "empirical_rademacher: key",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.KernelBall(gram), KEYS),
        TypeError,
        "key is .*; expected one PRNG key",
    ),
    (
        "empirical_rademacher: num_draws",
        lambda bounds, x, gram: bounds.empirical_rademacher(bounds.KernelBall(gram), KEY, 1),
        ValueError,
        "num_draws is 1; expected an integer of at least 2",
    ),
    (
        "exact_rademacher: function_class",
        lambda bounds, x, gram: bounds.exact_rademacher(bounds.KernelBall(jnp.eye(17))),
        ValueError,
        "function_class has 17 points; expected at most 16",
    ),
    (
        "rademacher_upper_bound: function_class",
        lambda bounds, x, gram: bounds.rademacher_upper_bound(None),
        TypeError,
        "function_class is None; expected a class",
    ),
    (
        "rademacher_complexity: draw_class",
        lambda bounds, x, gram: bounds.rademacher_complexity(None, KEY),
        TypeError,
        "draw_class is None; expected a function",
    ),
    (
        "rademacher_complexity: function_class",
        lambda bounds, x, gram: bounds.rademacher_complexity(lambda k: k, KEY),
        TypeError,
        "function_class is .*; expected a class",
    ),
    (
        "rademacher_complexity: key",
        lambda bounds, x, gram: bounds.rademacher_complexity(bounds.LinearBall, None),
        TypeError,
        "key is None; expected one PRNG key",
    ),
    (
        "rademacher_complexity: num_resamples",
        lambda bounds, x, gram: bounds.rademacher_complexity(bounds.LinearBall, KEY, 1),
        ValueError,
        "num_resamples is 1; expected an integer of at least 2",
    ),
    (
        "rademacher_complexity: num_draws",
        lambda bounds, x, gram: bounds.rademacher_complexity(bounds.LinearBall, KEY, 2, 0),
        ValueError,
        f"num_draws is 0; {COUNT}",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)


@rows(REFUSED_UNDER_JIT)
def test_refused_under_jit_too(plain_bounds, call, exception, sentence):
    assert_refused_under_jit_too(functools.partial(call, plain_bounds), (X, GRAM), exception, sentence)
