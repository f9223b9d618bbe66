"""Bad arguments of what is estimated from data: one sentence names the argument, its value and what is expected.

Each row is a call in which the names of `names` stand for good arguments.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk

# What does not depend on values is refused under jit too, where x and gram are tracers.
ALWAYS = [
    ("b.empirical_rademacher(x, key)", TypeError, "(?s)function_class is .*; expected a class such as KernelBall"),
    ("b.empirical_rademacher(b.LinearBall, key)", TypeError, "function_class is <class .*; expected a class such as"),
    ("b.empirical_rademacher(b.LinearBall('x'), key)", TypeError, "x is 'x'; expected an array of real"),
    ("b.empirical_rademacher(b.LinearBall(x.astype(int)), key)", TypeError, "x has dtype int64; expected a real"),
    (
        "b.empirical_rademacher(b.LinearBall(x.astype('float16')), key)",
        TypeError,
        "x has dtype float16; expected float32",
    ),
    ("b.empirical_rademacher(b.LinearBall(x[0]), key)", ValueError, r"x has shape \(3,\); expected \(m, d\) with no"),
    (
        "b.empirical_rademacher(b.LinearBall(x[:0]), key)",
        ValueError,
        r"x has shape \(0, 3\); expected \(m, d\) with no",
    ),
    ("b.empirical_rademacher(b.LinearBall(x, norm=3), key)", ValueError, "norm is 3; expected one of 1, 2, inf"),
    ("b.empirical_rademacher(b.LinearBall(x, radius='1'), key)", TypeError, "radius is '1'; expected a finite number"),
    ("b.empirical_rademacher(b.LinearBall(x, radius=1j), key)", TypeError, "radius is 1j; expected a finite number"),
    ("b.empirical_rademacher(b.LinearBall(x, radius=[1.0]), key)", ValueError, r"radius is .*1.*; expected one real"),
    ("b.KernelBall(jnp.ones((6, 2)))", ValueError, r"gram has shape \(6, 2\); expected \(m, m\) with m at least 1"),
    ("b.KernelBall(jnp.ones((3, 6, 2)))", ValueError, r"gram has shape \(3, 6, 2\); expected \(m, m\) with m at least"),
    ("b.KernelBall(jnp.ones(6))", ValueError, r"gram has shape \(6,\); expected \(m, m\) with no empty axis"),
    ("b.KernelBall('gram')", TypeError, "gram is 'gram'; expected an array of real floating-point numbers"),
    ("b.LinearBall(jnp.ones(3))", ValueError, r"x has shape \(3,\); expected \(m, d\)"),
    ("b.NetworkBall(x, x[0], key, width=0)", ValueError, "width is 0; expected an integer of at least 1"),
    (
        "b.layer_norms([jnp.ones((3, 4)), jnp.ones((5, 2))])",
        ValueError,
        r"params has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    (
        "b.spectral_complexity([jnp.ones((3, 4)), jnp.ones((5, 2))])",
        ValueError,
        r"weights has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    ("b.empirical_rademacher(b.KernelBall(x), key)", ValueError, r"gram has shape \(4, 3\); expected \(m, m\)"),
    (
        "b.empirical_rademacher(b.FiniteClass(x[0]), key)",
        ValueError,
        "predictions has shape .*; expected .*functions, m",
    ),
    ("b.empirical_rademacher(b.KernelBall(gram), 0)", TypeError, "key is 0; expected one PRNG key"),
    ("b.empirical_rademacher(b.KernelBall(gram), keys)", TypeError, "(?s)key is .*; expected one PRNG key"),
    (
        "b.empirical_rademacher(b.KernelBall(gram), key, 1)",
        ValueError,
        "num_draws is 1; expected an integer of at least 2",
    ),
    ("b.exact_rademacher(b.KernelBall(jnp.eye(17)))", ValueError, "function_class has 17 points; expected at most 16"),
    ("b.rademacher_upper_bound(None)", TypeError, "function_class is None; expected a class"),
    ("b.rademacher_complexity(None, key)", TypeError, "draw_class is None; expected a function"),
    ("b.rademacher_complexity(lambda key: key, key)", TypeError, "(?s)function_class is .*; expected a class"),
    ("b.rademacher_complexity(b.LinearBall, None)", TypeError, "key is None; expected one PRNG key"),
    (
        "b.rademacher_complexity(b.LinearBall, key, 1)",
        ValueError,
        "num_resamples is 1; expected an integer of at least 2",
    ),
    (
        "b.rademacher_complexity(b.LinearBall, key, 2, 0)",
        ValueError,
        "num_draws is 0; expected an integer of at least 1",
    ),
    (
        "b.rademacher_bound([0.5], 0.1, 2, 0.1)",
        ValueError,
        r"empirical_risk has shape \(1,\); expected a number or \(2,\)",
    ),
    ("b.rademacher_bound(1.5, 0.1, 2, 0.1)", ValueError, "empirical_risk is 1.5; expected a number from 0 to 1"),
    ("b.rademacher_bound(0.5, -0.1, 2, 0.1)", ValueError, "complexity is -0.1; expected a finite number of at least 0"),
    ("b.rademacher_bound(0.5, 0.1, 0, 0.1)", ValueError, "num_samples is 0; expected an integer of at least 1"),
    ("b.rademacher_bound(0.5, 0.1, 2, 1.0)", ValueError, "delta is 1.0; expected a number between 0 and 1"),
    ("b.rademacher_monte_carlo_epsilon(0, 2, 0.1)", ValueError, "num_draws is 0; expected an integer of at least 1"),
    ("b.rademacher_monte_carlo_epsilon(2, 2, 0.0)", ValueError, "delta is 0.0; expected a number between 0 and 1"),
    ("b.contracted_rademacher(0.1, -1.0)", ValueError, "lipschitz is -1.0; expected a finite number of at least 0"),
    ("b.contracted_rademacher(float('nan'), 1.0)", ValueError, "complexity is nan; expected a finite number"),
    ("b.weight_matrices({'b': x[0]})", ValueError, "params has no weight matrix among b; expected at least one"),
    ("b.weight_matrices({})", ValueError, "params has no weight matrix among no leaves; expected at least one"),
    ("b.weight_matrices([x], lambda path: False)", ValueError, "params has no weight matrix among 0; expected"),
    ("b.weight_matrices([x.astype('bfloat16')])", TypeError, "0 has dtype bfloat16; expected float32 or float64"),
    ("b.weight_matrices({'k': x[None, :0]})", ValueError, r"k has shape \(1, 0, 3\); expected \(…, in, out\) with no"),
    ("b.ntk_weight_matrices('relu', {})", TypeError, "net is 'relu'; expected an ntk.MLP"),
    (
        "b.ntk_weight_matrices(ntk.MLP(depth=1), {})",
        ValueError,
        "params has no 'w1'; expected the parameters of an MLP",
    ),
    ("b.spectral_norm(x[0])", ValueError, r"matrix has shape \(3,\); expected \(in, out\)"),
    ("b.spectral_norm(x, tolerance=0.0)", ValueError, "tolerance is 0.0; expected a positive finite number"),
    ("b.spectral_norm(x, tolerance=True)", TypeError, "tolerance is True; expected a positive finite number"),
    ("b.spectral_norm(x, max_steps=0)", ValueError, "max_steps is 0; expected an integer of at least 1"),
    ("b.layer_norms({})", ValueError, "params has no weight matrix"),
    ("b.path_norm([x], p=3)", ValueError, "p is 3; expected one of 1, 2"),
    (
        "b.path_norm([x, x])",
        ValueError,
        r"params has 0 \(4, 3\), 1 \(4, 3\); expected matrices .* fitting the one before",
    ),
    (
        "b.path_norm({'in': gram, 'out': gram})",
        ValueError,
        r"params has in .*, out .*; expected .* in one order only: num",
    ),
    ("b.path_norm({'c': np.ones((2, 3, 3))})", ValueError, "params has a convolution, c; expected dense layers"),
    (
        "b.lipschitz_upper_bound({'kernel': x, 'bias': x[0], 'scale': x[0]})",
        ValueError,
        "params has scale; expected weights and biases alone",
    ),
    ("b.lipschitz_upper_bound([x], 'relu')", TypeError, "activation_lipschitz is 'relu'; expected one real number"),
    ("b.lipschitz_lower_estimate(None, {}, x)", TypeError, "f is None; expected a function"),
    ("b.lipschitz_lower_estimate(f, {}, x.astype(int))", TypeError, "x has dtype int64; expected a real floating"),
    ("b.lipschitz_lower_estimate(f, {}, x[:0])", ValueError, r"x has shape \(0, 3\); expected \(N, …\) with no"),
    ("b.lipschitz_lower_estimate(f, {}, x.astype('float16'))", TypeError, "x has dtype float16; expected float32 or"),
    (
        "b.lipschitz_lower_estimate(lambda p, x: x.sum(), {}, x)",
        ValueError,
        r"f returns \(\) for x .*; expected one array \(4, …\)",
    ),
    (
        "b.lipschitz_lower_estimate(lambda p, x: (x, x), {}, x)",
        ValueError,
        r"f returns \(\(4, 3\), .*; expected one array",
    ),
    ("b.lipschitz_lower_estimate(f, {}, x, 0)", ValueError, "num_steps is 0; expected an integer of at least 1"),
    (
        "b.classification_margins(x, labels[:2])",
        ValueError,
        r"labels has shape \(2,\); expected \(4,\), one for each row of outputs",
    ),
    (
        "b.classification_margins(x, x[:, 0])",
        ValueError,
        "outputs has shape .* labels dtype float32; expected two classes or more",
    ),
    (
        "b.classification_margins(x[:, :1], labels)",
        ValueError,
        r"outputs has shape \(4, 1\) .*; expected two classes or more",
    ),
    ("b.classification_margins(x[None], labels)", ValueError, r"outputs has shape \(1, 4, 3\); expected \(N, C\)"),
    ("b.ramp_risk(x, 1.0)", ValueError, r"margins has shape \(4, 3\); expected \(N,\)"),
    ("b.normalized_margins(x[0], 1.0, x)", ValueError, "margins has 3 entries; expected 4 as x has rows"),
    (
        "b.spectral_complexity([x], [gram])",
        ValueError,
        r"references has .*\(4, 4\).*; expected .*\(4, 3\).* as weights",
    ),
    (
        "b.spectral_complexity([x], None, np.ones(2))",
        ValueError,
        r"activation_lipschitz has shape \(2,\); expected \(\) or \(1,\)",
    ),
    ("b.golowich_rademacher([x], gram)", ValueError, r"weights has .* \(4, 3\); expected \(4, 1\) for x of"),
    ("b.ntk_complexity(x, x[:, 0])", ValueError, r"H has shape \(4, 3\); expected \(m, m\)"),
    ("b.ntk_complexity(gram, x[0])", ValueError, "y has 3 rows; expected 4 as H has"),
    ("b.ntk_complexity(gram, x[0, 0])", ValueError, r"y has shape \(\); expected \(n,\) with no empty axis"),
    ("b.ntk_complexity(gram, labels)", TypeError, "y has dtype int.*; expected a real floating-point array"),
    ("b.ntk_complexity(gram, x[:, 0], 'small')", TypeError, "ridge is 'small'; expected one real number"),
]

VALUES = [
    (
        "b.ntk_complexity(gram, x[:, 0], -1.0)",
        ValueError,
        "ridge is -1.0; expected a finite number that is not negative",
    ),
    (
        "b.ntk_complexity(gram - 0.5, x[:, 0])",
        ValueError,
        "H has the eigenvalue -1, and 1 at the other end; expected a",
    ),
    (
        "b.ntk_complexity(no_kernel, x[:, 0])",
        ValueError,
        "H has the eigenvalue -0.46, and 2.5 at the other end; expected",
    ),
    (
        "b.local_rademacher(no_kernel, 1.0)",
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the other end; expecte",
    ),
    (
        "b.local_fixed_point(no_kernel)",
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the other end; expected a",
    ),
    ("b.ramp_risk(x[0], 0.0)", ValueError, "gamma is 0.0; expected a positive number"),
    ("b.weight_matrices([x * jnp.nan])", ValueError, "0 holds 12 entries that are NaN or infinite; expected finite"),
    ("b.path_norm([1e38 * x])", ValueError, "path_norm exceeds 3.4e.38, the range of float32"),
    ("b.layer_norms([1e38 * x])", ValueError, "frobenius exceeds 3.4e.38, the range of float32"),
    ("b.lipschitz_upper_bound([1e30 * gram, 1e30 * gram])", ValueError, "lipschitz_upper_bound exceeds 3.4e.38"),
    ("b.lipschitz_upper_bound([x], -1.0)", ValueError, "activation_lipschitz is -1.0; expected a finite number that"),
    ("b.classification_margins(x, labels + 1)", ValueError, "labels holds 3; expected classes from 0 to 2"),
    ("b.classification_margins(x[:, 0], labels)", ValueError, "labels holds 0; expected -1 or 1"),
    ("b.spectral_complexity([x], None, -1.0)", ValueError, "activation_lipschitz is -1.0; expected a finite number"),
    ("b.normalized_margins(x[:, 0], 0.0, x)", ValueError, "complexity is 0.0; expected a positive number"),
    ("b.exact_rademacher(b.LinearBall(x.at[0, 0].set(jnp.nan)))", ValueError, "x holds 1 entries that are NaN"),
    ("b.exact_rademacher(b.LinearBall(x, radius=-1.0))", ValueError, "radius is -1.0; expected a finite number that"),
    ("b.exact_rademacher(b.KernelBall(gram.at[0, 1].add(1.0)))", ValueError, "gram differs from its transpose by 1,"),
    ("b.exact_rademacher(b.KernelBall(-gram))", ValueError, "gram has -1 on its diagonal; expected a positive semidef"),
    (
        "b.exact_rademacher(b.KernelBall(gram + 9.0 * (1.0 - jnp.eye(len(gram)))))",
        ValueError,
        r"gram has an entry K_ij with .K_ij. beyond sqrt\(K_ii K_jj\) by 8; expected a positive semidefinite matrix",
    ),
    ("b.rademacher_upper_bound(b.FiniteClass(x * jnp.inf))", ValueError, "predictions holds 12 entries that are NaN"),
    ("b.exact_rademacher(b.NetworkBall(x, -x[0], key))", ValueError, "(?s)radii is .*; expected .* not negative"),
    ("b.local_rademacher(gram, -1.0)", ValueError, "r is -1.0; expected a finite number that is not negative"),
    ("b.local_fixed_point(gram, jnp.inf)", ValueError, "radius is inf; expected a finite number"),
    (
        "b.rademacher_upper_bound(b.LinearBall(1e38 * x, radius=100.0))",
        ValueError,
        "upper_bound exceeds 3.4e.38, the range of float32",
    ),
]


@pytest.fixture(scope="module")
def names(plain_bounds):
    """Good arguments, and the modules under their short names."""
    keys = jax.random.split(jax.random.key(0), 2)
    arrays = {"key": keys[0], "keys": keys, "labels": jnp.arange(4) % 3}
    # No entry is beyond what its diagonal allows, and still there is a negative eigenvalue.
    no_kernel = np.eye(4) + 0.9 * (np.diag([1.0, 1.0, 1.0], 1) + np.diag([1.0, 1.0, 1.0], -1))
    arrays["no_kernel"] = no_kernel
    return {"jax": jax, "jnp": jnp, "np": np, "ntk": ntk, "f": lambda params, x: x, **arrays, "b": plain_bounds}


X, GRAM = jnp.ones((4, 3), jnp.float32), jnp.eye(4, dtype=jnp.float32)


def rows(table):
    return pytest.mark.parametrize(("code", "exception", "sentence"), table, ids=[row[0] for row in table])


def assert_refused(call, exception, sentence):
    with pytest.raises(exception, match=sentence) as refusal:
        call()
    assert refusal.type is exception
    assert str(refusal.value).endswith(".")


@rows(ALWAYS)
def test_always_refused(names, code, exception, sentence):
    def call(x, gram):
        eval(code, names | {"x": x, "gram": gram})

    assert_refused(lambda: call(X, GRAM), exception, sentence)
    assert_refused(lambda: jax.jit(call)(X, GRAM), exception, sentence)


@rows(VALUES)
def test_values_refused(names, code, exception, sentence):
    assert_refused(lambda: eval(code, names | {"x": X, "gram": GRAM}), exception, sentence)
