"""Bad arguments of bounds on the risk: one sentence names the argument, its value and what is expected."""

import functools

import jax
import jax.numpy as jnp
from refusals import COUNT, assert_refused, assert_refused_under_jit_too, rows

KEY = jax.random.key(0)
X = jnp.ones((4, 3), jnp.float32)
GRAM = jnp.eye(4, dtype=jnp.float32)

REFUSED = [
    (
        "rademacher_bound: delta",
        lambda bounds: bounds.rademacher_bound(0.1, 0.1, 10, [0.1, 0.2]),
        ValueError,
        r"delta has shape \(2,\); expected one number",
    ),
    (
        "rademacher_bound: empirical",
        lambda bounds: bounds.rademacher_bound(0.1, 0.1, 10, 0.1, empirical="no"),
        TypeError,
        "empirical is 'no'; expected True or",
    ),
    (
        "rademacher_bound: complexity",
        lambda bounds: bounds.rademacher_bound(0.1, bounds.Estimate(0.1, 0.01), 10, 0.1),
        TypeError,
        "complexity is an Estimate, which may lie below .*; expected a number, or rademacher_monte_carlo_bound",
    ),
    (
        "rademacher_monte_carlo_epsilon: delta",
        lambda bounds: bounds.rademacher_monte_carlo_epsilon(10, 10, [0.1]),
        ValueError,
        r"delta has shape \(1,\); expected one numb",
    ),
    (
        "rademacher_monte_carlo_bound: function_class",
        lambda bounds: bounds.rademacher_monte_carlo_bound(0.1, bounds.NetworkBall(X, X[0], KEY), KEY, 0.1),
        ValueError,
        "function_class is a NetworkBall, whose supremum is a lower estimate; expected a class",
    ),
]

# These calls are refused under jit too, where x and gram are tracers, since no values are needed.
REFUSED_UNDER_JIT = [
    (
        "rademacher_bound: empirical_risk",
        lambda bounds, x, gram: bounds.rademacher_bound([0.5], 0.1, 2, 0.1),
        ValueError,
        r"empirical_risk has shape \(1,\); expected a number or \(2,\)",
    ),
    (
        "rademacher_bound: empirical_risk",
        lambda bounds, x, gram: bounds.rademacher_bound(1.5, 0.1, 2, 0.1),
        ValueError,
        "empirical_risk is 1.5; expected a number from 0 to 1",
    ),
    (
        "rademacher_bound: complexity",
        lambda bounds, x, gram: bounds.rademacher_bound(0.5, -0.1, 2, 0.1),
        ValueError,
        "complexity is -0.1; expected a finite number of at least 0",
    ),
    (
        "rademacher_bound: num_samples",
        lambda bounds, x, gram: bounds.rademacher_bound(0.5, 0.1, 0, 0.1),
        ValueError,
        f"num_samples is 0; {COUNT}",
    ),
    (
        "rademacher_bound: delta",
        lambda bounds, x, gram: bounds.rademacher_bound(0.5, 0.1, 2, 1.0),
        ValueError,
        "delta is 1.0; expected a number between 0 and 1",
    ),
    (
        "rademacher_monte_carlo_epsilon: num_draws",
        lambda bounds, x, gram: bounds.rademacher_monte_carlo_epsilon(0, 2, 0.1),
        ValueError,
        f"num_draws is 0; {COUNT}",
    ),
    (
        "rademacher_monte_carlo_epsilon: delta",
        lambda bounds, x, gram: bounds.rademacher_monte_carlo_epsilon(2, 2, 0.0),
        ValueError,
        "delta is 0.0; expected a number between 0 and 1",
    ),
    (
        "contracted_rademacher: lipschitz",
        lambda bounds, x, gram: bounds.contracted_rademacher(0.1, -1.0),
        ValueError,
        "lipschitz is -1.0; expected a finite number of at least 0",
    ),
    (
        "contracted_rademacher: complexity",
        lambda bounds, x, gram: bounds.contracted_rademacher(float("nan"), 1.0),
        ValueError,
        "complexity is nan; expected a finite number",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)


@rows(REFUSED_UNDER_JIT)
def test_refused_under_jit_too(plain_bounds, call, exception, sentence):
    assert_refused_under_jit_too(functools.partial(call, plain_bounds), (X, GRAM), exception, sentence)
