"""Bad arguments of concentration inequalities: one sentence names the argument, its value and what is expected."""

import jax
import numpy as np
from refusals import COUNT, DELTA, assert_refused, rows

REFUSED = [
    ("binary_kl: q", lambda bounds: bounds.binary_kl(1.5, 0.5), ValueError, "q is 1.5; expected a number from 0 to 1"),
    (
        "binary_kl: p",
        lambda bounds: bounds.binary_kl(0.5, float("nan")),
        ValueError,
        "p is nan; expected a number from 0 to 1",
    ),
    (
        "binary_kl: q",
        lambda bounds: bounds.binary_kl("half", 0.5),
        TypeError,
        "q is 'half'; expected a number from 0 to 1",
    ),
    (
        "kl_inverse_upper: c",
        lambda bounds: bounds.kl_inverse_upper(0.5, -1.0),
        ValueError,
        "c is -1.0; expected a number of at least 0",
    ),
    (
        "kl_inverse_lower: q",
        lambda bounds: bounds.kl_inverse_lower([0.5, -0.5], 1.0),
        ValueError,
        "q is -0.5; expected a number from 0 to 1",
    ),
    (
        "hoeffding_epsilon: num_samples",
        lambda bounds: bounds.hoeffding_epsilon(0, 0.05),
        ValueError,
        f"num_samples is 0; {COUNT}",
    ),
    (
        "hoeffding_epsilon: num_samples",
        lambda bounds: bounds.hoeffding_epsilon(10.5, 0.05),
        ValueError,
        f"num_samples is 10.5; {COUNT}",
    ),
    (
        "hoeffding_epsilon: num_samples",
        lambda bounds: bounds.hoeffding_epsilon(np.ones(2), 0.05),
        TypeError,
        "num_samples has dtype float64; expected",
    ),
    (
        "hoeffding_epsilon: num_samples",
        lambda bounds: bounds.hoeffding_epsilon(np.array([4, 0]), 0.05),
        ValueError,
        f"num_samples is 0; {COUNT}",
    ),
    (
        "hoeffding_epsilon: delta",
        lambda bounds: bounds.hoeffding_epsilon(10, 0.0),
        ValueError,
        f"delta is 0.0; {DELTA}",
    ),
    (
        "hoeffding_epsilon: delta",
        lambda bounds: bounds.hoeffding_epsilon(10, [0.1, 1.0]),
        ValueError,
        f"delta is 1.0; {DELTA}",
    ),
    (
        "hoeffding_epsilon: delta",
        lambda bounds: bounds.hoeffding_epsilon(10, 0.05j),
        TypeError,
        f"delta is 0.05j; {DELTA}",
    ),
    (
        "hoeffding_epsilon: delta",
        lambda bounds: bounds.hoeffding_epsilon(10, None),
        TypeError,
        f"delta is None; {DELTA}",
    ),
    (
        "hoeffding_epsilon: num_hypotheses",
        lambda bounds: bounds.hoeffding_epsilon(10, 0.05, 0),
        ValueError,
        f"num_hypotheses is 0; {COUNT}",
    ),
    (
        "hoeffding_epsilon: delta",
        lambda bounds: jax.jit(lambda d: bounds.hoeffding_epsilon(10, d))(0.1),
        TypeError,
        "delta is traced by JAX; expected",
    ),
    (
        "hoeffding_sample_size: epsilon",
        lambda bounds: bounds.hoeffding_sample_size(0.0, 0.05),
        ValueError,
        "epsilon is 0.0; expected a positive finite number",
    ),
    (
        "hoeffding_delta: epsilon",
        lambda bounds: bounds.hoeffding_delta(10, -0.1),
        ValueError,
        "epsilon is -0.1; expected a positive finite number",
    ),
    (
        "mcdiarmid_epsilon: differences",
        lambda bounds: bounds.mcdiarmid_epsilon([-1.0], 0.1),
        ValueError,
        "differences is -1.0; expected a finite number of at",
    ),
    (
        "mcdiarmid_epsilon: differences",
        lambda bounds: bounds.mcdiarmid_epsilon(1.0, 0.1),
        ValueError,
        r"differences has shape \(\); expected \(m,\)",
    ),
    (
        "mcdiarmid_delta: epsilon",
        lambda bounds: bounds.mcdiarmid_delta([1.0], 0.0),
        ValueError,
        "epsilon is 0.0; expected a positive finite number",
    ),
    (
        "empirical_bernstein_epsilon: num_samples",
        lambda bounds: bounds.empirical_bernstein_epsilon(0.1, 1, 0.1),
        ValueError,
        "num_samples is 1; expected .* at least 2",
    ),
    (
        "empirical_bernstein_epsilon: variance",
        lambda bounds: bounds.empirical_bernstein_epsilon(0.3, 10, 0.1),
        ValueError,
        "variance is 0.3; expected at most N/",
    ),
    (
        "empirical_bernstein_epsilon: variance",
        lambda bounds: bounds.empirical_bernstein_epsilon(-0.3, 10, 0.1),
        ValueError,
        "variance is -0.3; expected a finite",
    ),
    (
        "chernoff_upper: risk",
        lambda bounds: bounds.chernoff_upper(-0.1, 10, 0.1),
        ValueError,
        "risk is -0.1; expected a number from 0 to 1",
    ),
    ("chernoff_lower: delta", lambda bounds: bounds.chernoff_lower(0.1, 10, 1.1), ValueError, f"delta is 1.1; {DELTA}"),
    (
        "binomial_tail_inversion: num_errors",
        lambda bounds: bounds.binomial_tail_inversion(11, 10, 0.1),
        ValueError,
        "num_errors is 11 of 10 samples; expected",
    ),
    (
        "binomial_tail_inversion: num_errors",
        lambda bounds: bounds.binomial_tail_inversion(-1, 10, 0.1),
        ValueError,
        "num_errors is -1; expected an integer",
    ),
    (
        "clopper_pearson: num_errors",
        lambda bounds: bounds.clopper_pearson(0.5, 10, 0.1),
        ValueError,
        "num_errors is 0.5; expected an integer",
    ),
    (
        "hoeffding_epsilon: two_sided",
        lambda bounds: bounds.hoeffding_epsilon(5, 0.1, two_sided="no"),
        TypeError,
        "two_sided is 'no'; expected True or False",
    ),
    (
        "hoeffding_sample_size: epsilon",
        lambda bounds: bounds.hoeffding_sample_size([0.1, 0.2], 0.1),
        ValueError,
        r"epsilon has shape \(2,\); expected one number",
    ),
    (
        "empirical_bernstein_epsilon: variance",
        lambda bounds: bounds.empirical_bernstein_epsilon([0.1, 0.2], [10, 20, 30], 0.1),
        ValueError,
        r"variance has shape \(2,\), num_samples has shape \(3,\), .*; expected shapes that broadcast",
    ),
    (
        "hoeffding_epsilon: num_samples",
        lambda bounds: bounds.hoeffding_epsilon([10, 20], [0.1] * 3),
        ValueError,
        r"num_samples has shape \(2,\), delta has shape",
    ),
    (
        "hoeffding_delta: num_samples",
        lambda bounds: bounds.hoeffding_delta([10, 20], [0.1] * 3),
        ValueError,
        r"num_samples has shape \(2,\), epsilon has sha",
    ),
    (
        "chernoff_upper: risk",
        lambda bounds: bounds.chernoff_upper([0.1, 0.2], [10] * 3, 0.1),
        ValueError,
        r"risk has shape \(2,\), num_samples has sh",
    ),
    (
        "clopper_pearson: num_errors",
        lambda bounds: bounds.clopper_pearson([1, 2], [10] * 3, 0.1),
        ValueError,
        r"num_errors has shape \(2,\), num_samples has",
    ),
    (
        "binary_kl: q",
        lambda bounds: bounds.binary_kl([0.1, 0.2], [0.1] * 3),
        ValueError,
        r"q has shape \(2,\), p has shape \(3,\); expected shapes that",
    ),
    (
        "hoeffding_epsilon: num_samples",
        lambda bounds: bounds.hoeffding_epsilon(2**2000, 0.1),
        ValueError,
        "num_samples has 2001 bits; expected at most 1023",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)
