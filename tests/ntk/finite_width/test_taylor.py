"""Taylor polynomials of models against closed forms and neural-tangents."""

import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_jacobian import assert_equal
from jax import export
from refusals import assert_refused, rows
from tolerances import CLOSED_FORM

import ntk
from ntk.finite_width.taylor import linearize, taylor_expand

X = np.random.default_rng(0).normal(size=(5, 3))
AT = {"w": np.random.default_rng(1).normal(size=(3, 4)), "v": np.random.default_rng(2).normal(size=(4, 2))}
MOVED = {"w": np.random.default_rng(3).normal(size=(3, 4)), "v": np.random.default_rng(4).normal(size=(4, 2))}


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def monomial(power):
    """A model of degree power + 1 in all parameters together."""

    def f(params, x):
        return (x @ params["w"]) ** power @ params["v"]

    return f


def expansions(f, at, degrees):
    """The polynomials of all these degrees, as one program."""
    return jax.jit(lambda params, x: [taylor_expand(f, at, degree)(params, x) for degree in degrees])


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_a_polynomial_is_its_own_expansion(power):
    f = monomial(power)
    below, found, above = expansions(f, AT, range(power, power + 3))(MOVED, X)
    assert_equal(found, f(MOVED, X), 1e-11)
    assert_equal(above, f(MOVED, X), 1e-11)
    assert np.abs(below - f(MOVED, X)).max() > 1e-2 * np.abs(f(MOVED, X)).max()


def test_the_exponential_series():
    """About θ₀: e^{θ₀x} Σ_k ((θ − θ₀)x)^k/k!."""
    x, degrees = X[:, 0], range(7)
    for degree, found in enumerate(expansions(lambda theta, x: jnp.exp(theta * x), 0.3, degrees)(1.1, x)):
        expected = np.exp(0.3 * x) * sum((0.8 * x) ** k / math.factorial(k) for k in range(degree + 1))
        assert_equal(found, expected)


def test_degree_zero_does_not_move():
    assert_equal(taylor_expand(network, AT, 0)(MOVED, X), np.tanh(X @ AT["w"]) @ AT["v"])


def test_linear_model_in_closed_form():
    h, dw, dv = X @ AT["w"], MOVED["w"] - AT["w"], MOVED["v"] - AT["v"]
    expected = np.tanh(h) @ AT["v"] + np.tanh(h) @ dv + ((X @ dw) / np.cosh(h) ** 2) @ AT["v"]
    assert_equal(linearize(network, AT)(MOVED, X), expected)
    assert_equal(taylor_expand(network, AT, 1)(MOVED, X), expected)


def test_agrees_with_neural_tangents():
    reference = ntk.load_neural_tangents()

    @jax.jit
    def both(params, x):
        pairs = [(linearize(network, AT), reference.linearize(network, AT))]
        pairs += [(taylor_expand(network, AT, k), reference.taylor_expand(network, AT, k)) for k in range(5)]
        return [(own(params, x), other(params, x)) for own, other in pairs]

    for found, expected in both(MOVED, X):
        assert_equal(found, np.asarray(expected))


def test_remainder_falls_with_one_power_more_than_the_degree():
    def remainders(step):
        near = jax.tree.map(lambda at, to: at + step * (to - at), AT, MOVED)
        return [np.abs(found - network(near, X)).max() for found in polynomials(near, X)]

    polynomials = expansions(network, AT, range(4))
    for degree, (far, near) in enumerate(zip(remainders(2e-2), remainders(1e-2), strict=True)):
        # The next term of the remainder changes the order by a number of the size of the step.
        assert np.log2(far / near) == pytest.approx(degree + 1, abs=0.15)


def test_transformed():
    """Under jit, and its gradient by central differences; a linear model has the same gradient everywhere."""
    weights = np.random.default_rng(5).normal(size=(5, 2))

    @jax.jit
    def value(params):
        return jnp.sum(weights * taylor_expand(network, AT, 3)(params, X))

    expected = np.sum(weights * taylor_expand(network, AT, 3)(MOVED, X))  # not compiled
    assert value(MOVED) == pytest.approx(float(expected), rel=1e-12)
    direction = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), MOVED)
    gradient = jax.jit(jax.grad(value))(MOVED)
    slope = sum(float(np.sum(gradient[name] * direction[name])) for name in gradient)
    up, down = (value(jax.tree.map(lambda a, b: a + h * b, MOVED, direction)) for h in (1e-5, -1e-5))  # noqa: B023
    # Off by (1e-5)² times a third derivative, and by 1e-16/1e-5 of the value.
    assert slope == pytest.approx(float(up - down) / 2e-5, rel=1e-7)

    f_lin = linearize(network, AT)
    jacobian, expected = jax.jit(jax.jacobian(f_lin)), jax.jit(jax.jacobian(network))(AT, X)
    for params in (AT, MOVED):
        jax.tree.map(assert_equal, jacobian(params, X), expected)
    of_step = jax.jit(jax.vmap(lambda step: f_lin(jax.tree.map(lambda leaf: step * leaf, MOVED), X)))
    assert_equal(of_step(np.array([0.5, 2.0]))[1], f_lin(jax.tree.map(lambda leaf: 2.0 * leaf, MOVED), X))


def test_expanded_about_traced_parameters():
    """The derivative in θ₀ of f(θ₀) + f'(θ₀)(θ − θ₀) is f''(θ₀)(θ − θ₀)."""
    slope = jax.jit(jax.grad(lambda at: linearize(lambda theta, x: jnp.sin(theta * x), at)(1.5, 2.0)))(0.4)
    assert slope == pytest.approx(-4.0 * np.sin(0.8) * 1.1, rel=CLOSED_FORM["float64"])


def test_the_kernel_of_a_linear_model_does_not_change():
    f_lin = linearize(network, AT)

    @jax.jit
    def kernels(at, moved, x):
        return [ntk.empirical_ntk(f, params, x, method="jacobian") for f, params in ((network, at), (f_lin, moved))]

    theta, found = kernels(AT, MOVED, X)
    assert_equal(found, theta)


def test_further_arguments_outputs_of_any_structure_and_constants():
    def f(params, x, scale, *, squared):
        out = scale * params["theta"] ** params["power"] * x
        return {"out": out, "squares": (out**2 if squared else out, x)}

    at, moved = {"theta": 0.5, "power": 2, "key": jax.random.key(0)}, {"theta": 2.0, "power": 7, "key": None}
    x = X[:, 0]
    with pytest.raises(ValueError, match="params has the structure"):
        taylor_expand(f, at, 2)(moved, x, 3.0, squared=True)
    moved["key"] = jax.random.key(1)
    found = taylor_expand(f, at, 4)(moved, x, 3.0, squared=True)
    # The power is that of θ₀.
    assert_equal(found["out"], 3.0 * 4.0 * x)
    assert_equal(found["squares"][0], (12.0 * x) ** 2)
    assert_equal(found["squares"][1], x)


def test_flax_model():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(4, param_dtype=x.dtype)(x)
            return nn.Dropout(0.5)(nn.Dense(2, param_dtype=x.dtype)(nn.tanh(x)), deterministic=not train)

    model = Model()
    params = jax.jit(model.init, static_argnums=2)(jax.random.key(0), X, False)
    found = jax.jit(linearize(model.apply, params), static_argnames="train")(params, X, train=False)
    assert_equal(found, jax.jit(model.apply, static_argnums=2)(params, X, False))


@pytest.mark.parametrize("degree", [1, 3])
def test_float32_stays_and_lowers_for_every_platform(degree):
    at, moved, x = jax.tree.map(lambda leaf: leaf.astype("float32"), (AT, MOVED, X))
    polynomial = jax.jit(lambda at, moved, x: taylor_expand(network, at, degree)(moved, x))
    found, expected = polynomial(at, moved, x), polynomial(AT, MOVED, X)
    assert found.dtype == jnp.float32
    # Some dozen roundings to 2^-24, of terms that cancel to a tenth.
    np.testing.assert_allclose(found, expected, rtol=0, atol=300 * 2**-24 * np.abs(expected).max())
    text = export.export(polynomial, platforms=("cpu", "cuda", "tpu"))(at, moved, x).mlir_module()
    assert "callback" not in text
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


@rows(
    [
        ("f", lambda ntk: ntk.linearize(3, AT), TypeError, "f is 3; expected a function"),
        (
            "no leaves",
            lambda ntk: ntk.linearize(network, {}),
            ValueError,
            "params has no leaves; expected a pytree with",
        ),
        (
            "complex",
            lambda ntk: ntk.linearize(network, {"w": 1j}),
            TypeError,
            "params has complex leaves at 'w'; expected real ones",
        ),
        (
            "negative",
            lambda ntk: ntk.taylor_expand(network, AT, -1),
            ValueError,
            "degree is -1; expected an integer of at least 0",
        ),
        ("half", lambda ntk: ntk.taylor_expand(network, AT, 1.5), ValueError, "degree is 1.5; expected an integer"),
        (
            "structure",
            lambda ntk: ntk.linearize(network, AT)({"w": AT["w"]}, X),
            ValueError,
            "params has the structure .*'w'.*; expected",
        ),
        (
            "shape",
            lambda ntk: ntk.linearize(network, AT)(AT | {"v": AT["v"].T}, X),
            ValueError,
            r"params has a leaf float64 of shape \(2, 4\); expected float64 of shape \(4, 2\)",
        ),
        (
            "dtype",
            lambda ntk: ntk.linearize(network, AT)(AT | {"v": AT["v"].astype("float32")}, X),
            ValueError,
            r"params has a leaf float32 of shape \(4, 2\); expected float64",
        ),
        (
            "integers",
            lambda ntk: ntk.linearize(lambda params, x: jnp.argmax(network(params, x), 1), AT)(AT, X),
            TypeError,
            "f returns dtype int.*; expected real floating-point arrays",
        ),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
