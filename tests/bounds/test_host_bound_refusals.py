"""Bad arguments of bounds that read data on the host: one sentence names the argument, its value, what is expected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

CASES = [
    ("b.golowich_margin_bound(x[:, 0], [column], gram, 1.0, 0.1)", ValueError, "x has 4 features; expected 3, the"),
    (
        "b.golowich_margin_bound(x[:, 0], [x, column[:2]], x, 1.0, 0.1)",
        ValueError,
        "weights has 0 .*; expected matrices",
    ),
    ("b.kernel_ridge_margin_bound(x, x[:, 0], 1.0, 0.1)", ValueError, r"gram has shape \(4, 3\); expected \(m, m\)"),
    (
        "b.kernel_ridge_margin_bound(gram, x[0], 1.0, 0.1)",
        ValueError,
        r"y has shape \(3,\) .*; expected 4 of -1 and 1",
    ),
    (
        "b.kernel_ridge_margin_bound(gram, labels, 1.0, 0.1)",
        ValueError,
        "y has shape .* up to 2; expected 4 of -1 and 1",
    ),
    (
        "b.kernel_ridge_margin_bound(gram, x[:, 0], 0.0, 0.1)",
        ValueError,
        "ridge is 0.0; expected a positive finite num",
    ),
    ("b.kernel_ridge_margin_bound(gram, x[:, 0], 1.0, 2.0)", ValueError, "delta is 2.0; expected a number between 0"),
    ("b.kernel_ridge_margin_bound(gram, x[:, 0], 1.0, 0.1, -1)", ValueError, "gamma is -1; expected a positive"),
    (
        "b.kernel_ridge_risk_bound(gram, 1.0, -1.0, 1.0)",
        ValueError,
        "noise_std is -1.0; expected a finite number of at",
    ),
    (
        "b.kernel_ridge_risk_bound(gram.at[0, 1].set(3.0), 1.0, 1.0, 1.0)",
        ValueError,
        "gram differs from its transpose",
    ),
    ("jax.jit(lambda K: b.kernel_ridge_risk_bound(K, 1, 1, 1))(gram)", TypeError, "gram is traced by JAX; expected"),
    (
        "b.kernel_ridge_margin_bound(gram, x[:, 0], [1.0, 2.0], 0.1)",
        ValueError,
        r"ridge has shape \(2,\); expected one",
    ),
    (
        "b.kernel_ridge_margin_bound(no_kernel, x[:, 0], 1.0, 0.1)",
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at",
    ),
    (
        "b.kernel_ridge_risk_bound(no_kernel, 1.0, 1.0, 1.0)",
        ValueError,
        "gram has the eigenvalue -0.46, and 2.5 at the",
    ),
    (
        "b.kernel_ridge_risk_bound(almost, 1.0, 1.0, 1.0)",
        ValueError,
        "gram differs from its transpose by 0.009, with en",
    ),
    (
        "b.golowich_margin_bound(x[:, 0], [column], x, [1.0, 2.0], 0.1)",
        ValueError,
        r"gamma has shape \(2,\); expected one number",
    ),
    ("b.golowich_margin_bound(x[:, 0], [column], x, 1e-310, 0.1)", ValueError, "gamma is 1e-310, by which norms are"),
    (
        "b.spectral_margin_bound(x[:, 0], [column], x, 1e-310, 0.1)",
        ValueError,
        "by which norms are divided that leave",
    ),
    (
        "b.spectral_margin_bound(x[:, 0], {'a': gram, 'b': gram}, gram, 1.0, 0.1)",
        ValueError,
        "weights has a .* one order",
    ),
    (
        "b.rademacher_monte_carlo_bound(0.1, b.NetworkBall(x, x[0], key), key, 0.1)",
        ValueError,
        "function_class is a NetworkBall, whose supremum is a lower estimate; expected a class",
    ),
    ("b.golowich_margin_bound(x[0], [x], x, 1.0, 0.1)", ValueError, "weights has 3 outputs; expected 1, whose sign"),
    ("b.golowich_margin_bound(x[0], [column], x, 1.0, 0.1)", ValueError, "margins has 3 entries; expected 4 as x has"),
    ("b.golowich_margin_bound(x, [column], x, 1.0, 0.1)", ValueError, r"margins has shape \(4, 3\); expected \(m,\)"),
    (
        "b.golowich_margin_bound(x[:, 0] * 1j, [column], x, 1.0, 0.1)",
        TypeError,
        "margins has dtype complex64; expected",
    ),
    ("b.golowich_margin_bound(x[:, 0], [column], x * jnp.inf, 1.0, 0.1)", ValueError, "x holds entries that are NaN"),
    (
        "b.golowich_margin_bound(x[:, 0], [column], x, 0.0, 0.1)",
        ValueError,
        "gamma is 0.0; expected a positive finite",
    ),
    ("b.golowich_margin_bound(x[:, 0], [column], x, 1.0, 1.0)", ValueError, "delta is 1.0; expected a number between"),
    (
        "b.golowich_margin_bound(x[:, 0], [column, x[0]], x, 1.0, 0.1)",
        ValueError,
        "weights has leaves .*, 1; expected",
    ),
    (
        "b.spectral_margin_bound(x[:, 0], {'c': np.ones((2, 3, 3))}, x, 1.0, 0.1)",
        ValueError,
        "weights has a convolution, c; exp",
    ),
    (
        "b.spectral_margin_bound(x[:, 0], [x], x, 1.0, 0.1, [gram])",
        ValueError,
        r"references has matrices of shapes .*; ",
    ),
    (
        "b.spectral_margin_bound(x[:, 0], [x], x, 1.0, 0.1, None, [1, 1])",
        ValueError,
        r"activation_lipschitz has shape \(2,\)",
    ),
    (
        "jax.jit(lambda v: b.spectral_margin_bound(v, [x], x, 1.0, 0.1))(x[:, 0])",
        TypeError,
        "margins is traced by JAX; expected .* this is computed on the host",
    ),
]


@pytest.fixture(scope="module")
def names(plain_bounds):
    """Good arguments, and the modules under their short names."""
    # No entry is beyond what its diagonal allows, and still there is a negative eigenvalue.
    no_kernel = np.eye(4) + 0.9 * (np.diag([1.0, 1.0, 1.0], 1) + np.diag([1.0, 1.0, 1.0], -1))
    arrays = {"x": jnp.ones((4, 3), jnp.float32), "gram": jnp.eye(4, dtype=jnp.float32), "column": np.ones((3, 1))}
    arrays |= {"no_kernel": no_kernel, "almost": np.array([[1.0, 0.009], [0.0, 1.0]]), "labels": jnp.arange(4) % 3}
    return {"jax": jax, "jnp": jnp, "np": np, "key": jax.random.key(0), **arrays, "b": plain_bounds}


@pytest.mark.parametrize(("code", "exception", "sentence"), CASES, ids=[case[0] for case in CASES])
def test_refused(names, code, exception, sentence):
    with pytest.raises(exception, match=sentence) as refusal:
        eval(code, names)
    assert refusal.type is exception
    assert str(refusal.value).endswith(".")
