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
    ("r.empirical_rademacher(x, key)", TypeError, "(?s)function_class is .*; expected a class such as KernelBall"),
    ("r.empirical_rademacher(r.LinearBall, key)", TypeError, "function_class is <class .*; expected a class such as"),
    ("r.empirical_rademacher(r.LinearBall('x'), key)", TypeError, "x is 'x'; expected an array of real"),
    ("r.empirical_rademacher(r.LinearBall(x.astype(int)), key)", TypeError, "x has dtype int64; expected a real"),
    (
        "r.empirical_rademacher(r.LinearBall(x.astype('float16')), key)",
        TypeError,
        "x has dtype float16; expected float32",
    ),
    ("r.empirical_rademacher(r.LinearBall(x[0]), key)", ValueError, r"x has shape \(3,\); expected \(m, d\) with no"),
    (
        "r.empirical_rademacher(r.LinearBall(x[:0]), key)",
        ValueError,
        r"x has shape \(0, 3\); expected \(m, d\) with no",
    ),
    ("r.empirical_rademacher(r.LinearBall(x, norm=3), key)", ValueError, "norm is 3; expected one of 1, 2, inf"),
    ("r.empirical_rademacher(r.LinearBall(x, radius='1'), key)", TypeError, "radius is '1'; expected a finite number"),
    ("r.empirical_rademacher(r.LinearBall(x, radius=1j), key)", TypeError, "radius is 1j; expected a finite number"),
    ("r.empirical_rademacher(r.LinearBall(x, radius=[1.0]), key)", ValueError, r"radius is .*1.*; expected one real"),
    ("r.KernelBall(jnp.ones((6, 2)))", ValueError, r"gram has shape \(6, 2\); expected \(m, m\) with m at least 1"),
    ("r.KernelBall(jnp.ones((3, 6, 2)))", ValueError, r"gram has shape \(3, 6, 2\); expected \(m, m\) with m at least"),
    ("r.KernelBall(jnp.ones(6))", ValueError, r"gram has shape \(6,\); expected \(m, m\) with no empty axis"),
    ("r.KernelBall('gram')", TypeError, "gram is 'gram'; expected an array of real floating-point numbers"),
    ("r.LinearBall(jnp.ones(3))", ValueError, r"x has shape \(3,\); expected \(m, d\)"),
    ("r.NetworkBall(x, x[0], key, width=0)", ValueError, "width is 0; expected an integer of at least 1"),
    (
        "n.layer_norms([jnp.ones((3, 4)), jnp.ones((5, 2))])",
        ValueError,
        r"params has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    (
        "mar.spectral_complexity([jnp.ones((3, 4)), jnp.ones((5, 2))])",
        ValueError,
        r"weights has 0 \(3, 4\), 1 \(5, 2\); expected matrices \(in, out\), each fitting the one before",
    ),
    ("r.empirical_rademacher(r.KernelBall(x), key)", ValueError, r"gram has shape \(4, 3\); expected \(m, m\)"),
    (
        "r.empirical_rademacher(r.FiniteClass(x[0]), key)",
        ValueError,
        "predictions has shape .*; expected .*functions, m",
    ),
    ("r.empirical_rademacher(r.KernelBall(gram), 0)", TypeError, "key is 0; expected one PRNG key"),
    ("r.empirical_rademacher(r.KernelBall(gram), keys)", TypeError, "(?s)key is .*; expected one PRNG key"),
    (
        "r.empirical_rademacher(r.KernelBall(gram), key, 1)",
        ValueError,
        "num_draws is 1; expected an integer of at least 2",
    ),
    ("r.exact_rademacher(r.KernelBall(jnp.eye(17)))", ValueError, "function_class has 17 points; expected at most 16"),
    ("r.rademacher_upper_bound(None)", TypeError, "function_class is None; expected a class"),
    ("r.rademacher_complexity(None, key)", TypeError, "draw_class is None; expected a function"),
    ("r.rademacher_complexity(lambda key: key, key)", TypeError, "(?s)function_class is .*; expected a class"),
    ("r.rademacher_complexity(r.LinearBall, None)", TypeError, "key is None; expected one PRNG key"),
    (
        "r.rademacher_complexity(r.LinearBall, key, 1)",
        ValueError,
        "num_resamples is 1; expected an integer of at least 2",
    ),
    (
        "r.rademacher_complexity(r.LinearBall, key, 2, 0)",
        ValueError,
        "num_draws is 0; expected an integer of at least 1",
    ),
    (
        "r.rademacher_bound([0.5], 0.1, 2, 0.1)",
        ValueError,
        r"empirical_risk has shape \(1,\); expected a number or \(2,\)",
    ),
    ("r.rademacher_bound(1.5, 0.1, 2, 0.1)", ValueError, "empirical_risk is 1.5; expected a number from 0 to 1"),
    ("r.rademacher_bound(0.5, -0.1, 2, 0.1)", ValueError, "complexity is -0.1; expected a finite number of at least 0"),
    ("r.rademacher_bound(0.5, 0.1, 0, 0.1)", ValueError, "num_samples is 0; expected an integer of at least 1"),
    ("r.rademacher_bound(0.5, 0.1, 2, 1.0)", ValueError, "delta is 1.0; expected a number between 0 and 1"),
    ("r.rademacher_monte_carlo_epsilon(0, 2, 0.1)", ValueError, "num_draws is 0; expected an integer of at least 1"),
    ("r.rademacher_monte_carlo_epsilon(2, 2, 0.0)", ValueError, "delta is 0.0; expected a number between 0 and 1"),
    ("r.contracted_rademacher(0.1, -1.0)", ValueError, "lipschitz is -1.0; expected a finite number of at least 0"),
    ("r.contracted_rademacher(float('nan'), 1.0)", ValueError, "complexity is nan; expected a finite number"),
    ("w.weight_matrices({'b': x[0]})", ValueError, "params has no weight matrix among b; expected at least one"),
    ("w.weight_matrices({})", ValueError, "params has no weight matrix among no leaves; expected at least one"),
    ("w.weight_matrices([x], lambda path: False)", ValueError, "params has no weight matrix among 0; expected"),
    ("w.weight_matrices([x.astype('bfloat16')])", TypeError, "0 has dtype bfloat16; expected float32 or float64"),
    ("w.weight_matrices({'k': x[None, :0]})", ValueError, r"k has shape \(1, 0, 3\); expected \(…, in, out\) with no"),
    ("w.ntk_weight_matrices('relu', {})", TypeError, "net is 'relu'; expected an ntk.MLP"),
    (
        "w.ntk_weight_matrices(ntk.MLP(depth=1), {})",
        ValueError,
        "params has no 'w1'; expected the parameters of an MLP",
    ),
    ("n.spectral_norm(x[0])", ValueError, r"matrix has shape \(3,\); expected \(in, out\)"),
    ("n.spectral_norm(x, tolerance=0.0)", ValueError, "tolerance is 0.0; expected a positive finite number"),
    ("n.spectral_norm(x, tolerance=True)", TypeError, "tolerance is True; expected a positive finite number"),
    ("n.spectral_norm(x, max_steps=0)", ValueError, "max_steps is 0; expected an integer of at least 1"),
    ("n.layer_norms({})", ValueError, "params has no weight matrix"),
    ("n.path_norm([x], p=3)", ValueError, "p is 3; expected one of 1, 2"),
    (
        "n.path_norm([x, x])",
        ValueError,
        r"params has 0 \(4, 3\), 1 \(4, 3\); expected matrices .* fitting the one before",
    ),
    (
        "n.path_norm({'in': gram, 'out': gram})",
        ValueError,
        r"params has in .*, out .*; expected .* in one order only: num",
    ),
    ("n.path_norm({'c': np.ones((2, 3, 3))})", ValueError, "params has a convolution, c; expected dense layers"),
    (
        "lip.lipschitz_upper_bound({'kernel': x, 'bias': x[0], 'scale': x[0]})",
        ValueError,
        "params has scale; expected weights and biases alone",
    ),
    ("lip.lipschitz_upper_bound([x], 'relu')", TypeError, "activation_lipschitz is 'relu'; expected one real number"),
    ("lip.lipschitz_lower_estimate(None, {}, x)", TypeError, "f is None; expected a function"),
    ("lip.lipschitz_lower_estimate(f, {}, x.astype(int))", TypeError, "x has dtype int64; expected a real floating"),
    ("lip.lipschitz_lower_estimate(f, {}, x[:0])", ValueError, r"x has shape \(0, 3\); expected \(N, …\) with no"),
    ("lip.lipschitz_lower_estimate(f, {}, x.astype('float16'))", TypeError, "x has dtype float16; expected float32 or"),
    (
        "lip.lipschitz_lower_estimate(lambda p, x: x.sum(), {}, x)",
        ValueError,
        r"f returns \(\) for x .*; expected one array \(4, …\)",
    ),
    (
        "lip.lipschitz_lower_estimate(lambda p, x: (x, x), {}, x)",
        ValueError,
        r"f returns \(\(4, 3\), .*; expected one array",
    ),
    ("lip.lipschitz_lower_estimate(f, {}, x, 0)", ValueError, "num_steps is 0; expected an integer of at least 1"),
    (
        "mar.classification_margins(x, labels[:2])",
        ValueError,
        r"labels has shape \(2,\); expected \(4,\), one for each row of outputs",
    ),
    (
        "mar.classification_margins(x, x[:, 0])",
        ValueError,
        "outputs has shape .* labels dtype float32; expected two classes or more",
    ),
    (
        "mar.classification_margins(x[:, :1], labels)",
        ValueError,
        r"outputs has shape \(4, 1\) .*; expected two classes or more",
    ),
    ("mar.classification_margins(x[None], labels)", ValueError, r"outputs has shape \(1, 4, 3\); expected \(N, C\)"),
    ("mar.ramp_risk(x, 1.0)", ValueError, r"margins has shape \(4, 3\); expected \(N,\)"),
    ("mar.normalized_margins(x[0], 1.0, x)", ValueError, "margins has 3 entries; expected 4 as x has rows"),
    (
        "mar.spectral_complexity([x], [gram])",
        ValueError,
        r"references has .*\(4, 4\).*; expected .*\(4, 3\).* as weights",
    ),
    (
        "mar.spectral_complexity([x], None, np.ones(2))",
        ValueError,
        r"activation_lipschitz has shape \(2,\); expected \(\) or \(1,\)",
    ),
    ("mar.golowich_rademacher([x], gram)", ValueError, r"weights has .* \(4, 3\); expected \(4, 1\) for x of"),
    ("m.ntk_complexity(x, x[:, 0])", ValueError, r"H has shape \(4, 3\); expected \(m, m\)"),
    ("m.ntk_complexity(gram, x[0])", ValueError, "y has 3 rows; expected 4 as H has"),
    ("m.ntk_complexity(gram, x[0, 0])", ValueError, r"y has shape \(\); expected \(n,\) with no empty axis"),
    ("m.ntk_complexity(gram, labels)", TypeError, "y has dtype int.*; expected a real floating-point array"),
    ("m.ntk_complexity(gram, x[:, 0], 'small')", TypeError, "ridge is 'small'; expected one real number"),
]

VALUES = [
    (
        "m.ntk_complexity(gram, x[:, 0], -1.0)",
        ValueError,
        "ridge is -1.0; expected a finite number that is not negative",
    ),
    (
        "m.ntk_complexity(gram - 0.5, x[:, 0])",
        ValueError,
        "H has the eigenvalue -1, and 1 at the other end; expected a",
    ),
    (
        "m.ntk_complexity(no_kernel, x[:, 0])",
        ValueError,
        "H has the eigenvalue -0.46, and 2.5 at the other end; expected",
    ),
    (
        "r.local_rademacher(no_kernel, 1.0)",
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the other end; expecte",
    ),
    (
        "r.local_fixed_point(no_kernel)",
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the other end; expected a",
    ),
    ("mar.ramp_risk(x[0], 0.0)", ValueError, "gamma is 0.0; expected a positive number"),
    ("w.weight_matrices([x * jnp.nan])", ValueError, "0 holds 12 entries that are NaN or infinite; expected finite"),
    ("n.path_norm([1e38 * x])", ValueError, "path_norm exceeds 3.4e.38, the range of float32"),
    ("n.layer_norms([1e38 * x])", ValueError, "frobenius exceeds 3.4e.38, the range of float32"),
    ("lip.lipschitz_upper_bound([1e30 * gram, 1e30 * gram])", ValueError, "lipschitz_upper_bound exceeds 3.4e.38"),
    ("lip.lipschitz_upper_bound([x], -1.0)", ValueError, "activation_lipschitz is -1.0; expected a finite number that"),
    ("mar.classification_margins(x, labels + 1)", ValueError, "labels holds 3; expected classes from 0 to 2"),
    ("mar.classification_margins(x[:, 0], labels)", ValueError, "labels holds 0; expected -1 or 1"),
    ("mar.spectral_complexity([x], None, -1.0)", ValueError, "activation_lipschitz is -1.0; expected a finite number"),
    ("mar.normalized_margins(x[:, 0], 0.0, x)", ValueError, "complexity is 0.0; expected a positive number"),
    ("r.exact_rademacher(r.LinearBall(x.at[0, 0].set(jnp.nan)))", ValueError, "x holds 1 entries that are NaN"),
    ("r.exact_rademacher(r.LinearBall(x, radius=-1.0))", ValueError, "radius is -1.0; expected a finite number that"),
    ("r.exact_rademacher(r.KernelBall(gram.at[0, 1].add(1.0)))", ValueError, "gram differs from its transpose by 1,"),
    ("r.exact_rademacher(r.KernelBall(-gram))", ValueError, "gram has -1 on its diagonal; expected a positive semidef"),
    (
        "r.exact_rademacher(r.KernelBall(gram + 9.0 * (1.0 - jnp.eye(len(gram)))))",
        ValueError,
        r"gram has an entry K_ij with .K_ij. beyond sqrt\(K_ii K_jj\) by 8; expected a positive semidefinite matrix",
    ),
    ("r.rademacher_upper_bound(r.FiniteClass(x * jnp.inf))", ValueError, "predictions holds 12 entries that are NaN"),
    ("r.exact_rademacher(r.NetworkBall(x, -x[0], key))", ValueError, "(?s)radii is .*; expected .* not negative"),
    ("r.local_rademacher(gram, -1.0)", ValueError, "r is -1.0; expected a finite number that is not negative"),
    ("r.local_fixed_point(gram, jnp.inf)", ValueError, "radius is inf; expected a finite number"),
    (
        "r.rademacher_upper_bound(r.LinearBall(1e38 * x, radius=100.0))",
        ValueError,
        "upper_bound exceeds 3.4e.38, the range of float32",
    ),
]


@pytest.fixture(scope="module")
def names(plain_bounds):
    """Good arguments, and the modules under their short names."""
    loaded = plain_bounds(*MODULES.values())
    modules = {short: loaded[name] for short, name in MODULES.items()}
    keys = jax.random.split(jax.random.key(0), 2)
    arrays = {"key": keys[0], "keys": keys, "labels": jnp.arange(4) % 3}
    # No entry is beyond what its diagonal allows, and still there is a negative eigenvalue.
    no_kernel = np.eye(4) + 0.9 * (np.diag([1.0, 1.0, 1.0], 1) + np.diag([1.0, 1.0, 1.0], -1))
    arrays["no_kernel"] = no_kernel
    return {"jax": jax, "jnp": jnp, "np": np, "ntk": ntk, "f": lambda params, x: x, **arrays, **modules}


MODULES = {
    **{"r": "rademacher", "w": "weights", "n": "norms", "lip": "lipschitz"},
    **{"mar": "margins", "m": "ntk_measures"},
}
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
