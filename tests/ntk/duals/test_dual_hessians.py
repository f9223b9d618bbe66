"""First and second derivatives of every dual map, in every mode of differentiation, eager, compiled and in a loop."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_reference import CLOSED_FORMS, FUNCTIONS, LOGISTIC, exact
from jax import lax
from mpmath import mpf
from tolerances import DERIVATIVE, DIFFERENCE, REORDERED, SAME_FORMULA

from ntk.duals import activation
from ntk.duals.geometry import determinant
from ntk.duals.rules import with_derivative

GENERIC = ((1.0, 0.5, 1.0), (0.3125, -0.875, 3.0), (1.5, 0.0, 1.5))
HESSIANS = {
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
}


def slow_except(cases, *fast):
    return [case if case in fast else pytest.param(*case, marks=pytest.mark.slow) for case in cases]


def both_maps(name, q):
    act = activation(name)
    return jnp.stack([act.dual(*q), act.dual_derivative(*q)])


def in_a_loop(f):
    """The same value from a loop of one step, where `jax.custom_jvp` would lose its rule."""
    return lambda q: lax.scan(lambda q, _: (q, f(q)), q, length=1)[1][0]


def difference(dual, covariance, order, i, j):
    """∂²F/∂q_i∂q_j by central differences with step 1e-12 in 50 digits: their error is 1e-24."""
    h = mpf("1e-12")
    total = mpf(0)
    for sign_i, sign_j in itertools.product((1, -1), repeat=2):
        q = list(exact(*covariance))
        q[i] += sign_i * h
        q[j] += sign_j * h
        total += sign_i * sign_j * dual(*q)[order]
    return float(total / (4 * h * h))


@pytest.mark.parametrize(
    ("name", "dtype"),
    slow_except(itertools.product(CLOSED_FORMS, ["float64", "float32"]), ("relu", "float64"), ("cube", "float64")),
)
def test_hessians_of_closed_forms(name, dtype):
    expected = np.array(
        [
            [[[difference(CLOSED_FORMS[name], q, order, i, j) for j in range(3)] for i in range(3)] for order in (0, 1)]
            for q in GENERIC
        ]
    )
    q = jnp.asarray(GENERIC, dtype)
    # 1/Δ^{5/2} at Δ near 0.2 makes a few hundred roundings of each entry, relative to the largest.
    tolerance = {"float64": 1e-12, "float32": 3e-4}[dtype] * (1 + np.abs(expected).max())
    for hessian in HESSIANS.values():
        found = jax.jit(jax.vmap(hessian(in_a_loop(lambda q: both_maps(name, q)))))(q)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LOGISTIC, "gelu"])
def test_hessians_without_a_closed_form_follow_from_gradients(name):
    """Differences of gradients, themselves held to Price's theorem: 1e-10 from step 1e-5, and 1e-11 of rounding."""
    q, h = jnp.asarray(GENERIC[:2]), 1e-5
    gradient = jax.jit(jax.vmap(jax.jacfwd(lambda q: both_maps(name, q))))
    expected = np.stack(
        [(gradient(q + step) - gradient(q - step)) / (2 * h) for step in h * np.eye(3)[:, None]], axis=-1
    )
    found = jax.jit(jax.vmap(HESSIANS["forward over reverse"](in_a_loop(lambda q: both_maps(name, q)))))(q)
    np.testing.assert_allclose(found, expected, rtol=DIFFERENCE["float64"], atol=DERIVATIVE["float64"])


@pytest.mark.parametrize(
    ("name", "dtype"),
    slow_except(itertools.product(FUNCTIONS, ["float64", "float32"]), ("relu", "float64"), ("relu", "float32")),
)
def test_finite_at_perfect_correlation_and_zero(name, dtype):
    edge = jnp.asarray([(1, 1, 1), (1, -1, 1), (2, 4, 8), (0, 0, 1), (0, 0, 0), (0.7, 0.7, 0.7)], dtype)
    found = jax.jit(jax.vmap(HESSIANS["forward over reverse"](lambda q: both_maps(name, q))))(edge)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("name", "sign", "compiled"),
    slow_except(
        itertools.product(["relu", "leaky_relu", "abs", "sign", "step"], [1.0, -1.0], [True, False]),
        ("relu", 1.0, True),
        ("relu", -1.0, True),
        ("sign", -1.0, True),
    ),
)
def test_what_keeps_a_correlation_of_one_keeps_the_map(name, sign, compiled):
    """E φ(u)φ(±u) is a multiple of the variance, and Ċ of a kink, or C of a jump, is constant."""
    q = jnp.asarray(np.random.default_rng(0).uniform(0.1, 10.0, 64))

    def along(q):
        return both_maps(name, (q, sign * q, q))

    gradients = jax.vmap(jax.jacrev(along))
    hessians = jax.vmap(jax.jacfwd(jax.jacrev(along)))
    if compiled:
        gradients, hessians = jax.jit(gradients), jax.jit(hessians)
    value = np.asarray(along(q[0]))
    homogeneous = [0.0 if name in ("sign", "step") else value[0] / q[0], 0.0]
    np.testing.assert_allclose(
        gradients(q), np.broadcast_to(homogeneous, (64, 2)), rtol=0, atol=SAME_FORMULA["float64"]
    )
    np.testing.assert_allclose(hessians(q), np.zeros((64, 2)), rtol=0, atol=REORDERED["float64"])


@pytest.mark.parametrize("order", [1, 2])
def test_angle_of_near_duplicates(order):
    """Ċ of ReLU is 1/2 − θ/2π: at θ = 1e-7 and 1e-4, its derivatives in the covariance as given."""
    for theta in (1e-7, 1e-4):
        covariance = (1.0, float(np.cos(theta)), 1.0)
        dual, q = CLOSED_FORMS["relu"], exact(*covariance)
        # A step far below 1 − ρ, near 5e-15 at the least.
        h = mpf("1e-24")
        up, middle, down = (dual(q[0], q[1] + step, q[2])[1] for step in (h, 0, -h))
        expected = (up - down) / (2 * h) if order == 1 else (up - 2 * middle + down) / h**2
        f = activation("relu").dual_derivative
        for _ in range(order):
            f = jax.grad(f, 1)
        # The determinant of the numbers as given is exact, so that nothing is lost.
        assert float(jax.jit(f)(*covariance)) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_determinants_are_exact(dtype):
    """Against rational numbers, where they cancel to a few roundings or to nothing; compiled or not."""
    rng = np.random.default_rng(0)
    eps = float(np.finfo(dtype).eps)
    a, ratio = rng.uniform(1, 4, 3000).astype(dtype), rng.uniform(1, 2, 3000).astype(dtype)
    b = np.clip(a * ratio**2 / 4 ** (a * ratio**2 > 4), 1, 3.99).astype(dtype)
    c = np.nextafter(np.sqrt(a.astype(np.longdouble) * b).astype(dtype), np.asarray(0, dtype))
    a, c, b = np.r_[a, a], np.r_[c, a], np.r_[b, a]
    true = [
        float(Fraction(float(x)) * Fraction(float(z)) - Fraction(float(y)) ** 2)
        for x, y, z in zip(a, c, b, strict=True)
    ]
    true = np.maximum(true, 0.0)
    eager, compiled = determinant(*map(jnp.asarray, (a, c, b))), jax.jit(determinant)(a, c, b)
    np.testing.assert_array_equal(eager, compiled)
    # A few roundings of the result, or one unit in the last bit of a product of a high and a low half.
    np.testing.assert_allclose(compiled, true, rtol=4 * eps, atol=4 * eps**1.5)
    np.testing.assert_array_equal(compiled[3000:], 0.0)


def test_a_rule_holds_in_loops():
    """The plain derivative of this function is 0, its rule says 2x."""

    @with_derivative(lambda primals, tangents: 2.0 * primals[0] * tangents[0])
    def square(x):
        return lax.stop_gradient(x) ** 2

    def power(x):  # ((x³)³)
        return lax.fori_loop(0, 2, lambda _, x: square(x) * x, x)

    for hessian in HESSIANS.values():
        assert float(hessian(power)(1.0)) == 72.0
    assert float(jax.jacfwd(jax.jacfwd(jax.jacrev(power)))(1.0)) == 504.0
    matrix = jax.vmap(jax.vmap(square, in_axes=1), in_axes=0)(jnp.arange(6.0).reshape(1, 2, 3))
    np.testing.assert_array_equal(matrix, (jnp.arange(6.0).reshape(1, 2, 3) ** 2).swapaxes(1, 2))
