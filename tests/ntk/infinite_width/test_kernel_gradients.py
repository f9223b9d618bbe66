"""Derivatives of whole kernels in hyperparameters and inputs, against differences of recursions in extended precision.

The recursions below know which pairs are parallel, so that rounding makes no angle; steps h and roundings r of
`longdouble` (1e-19) leave an error of h² + r/h in first and h² + r/h² in second differences.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import DERIVATIVE, SOLVED

import ntk
from ntk import dynamics

PI = 4 * np.arctan(np.longdouble(1))


def relu_maps(q11, q12, q22):
    """Cho & Saul 2009, with the angle from half-angle sums, exact where vectors are parallel."""
    norm = np.sqrt(q11 * q22)
    rho = np.clip(q12 / norm, -1, 1)
    rho = np.where(1 - np.abs(rho) < 1e-17, np.sign(rho), rho)
    theta = np.arccos(rho)
    return norm * (np.sqrt(1 - rho**2) + (PI - theta) * rho) / (2 * PI), (PI - theta) / (2 * PI)


def reference_mlp(depth, w_std, b_std, x1, x2):
    w2, b2 = np.longdouble(w_std) ** 2, np.longdouble(b_std) ** 2
    x1, x2 = np.asarray(x1, np.longdouble), np.asarray(x2, np.longdouble)
    d = x1.shape[1]
    cross, own1, own2 = x1 @ x2.T / d, np.sum(x1**2, 1) / d, np.sum(x2**2, 1) / d
    theta = np.zeros_like(cross)
    for _ in range(depth):
        K, own1, own2 = w2 * cross + b2, w2 * own1 + b2, w2 * own2 + b2
        cross, dot = relu_maps(own1[:, None], K, own2)
        theta = dot * (K + w2 * theta)
        own1, own2 = own1 / 2, own2 / 2
    return cross + theta


rng = np.random.default_rng(0)
X1 = rng.normal(size=(6, 5))
X2 = np.concatenate([X1[:2], -X1[1:3], 2 * X1[2:4], rng.normal(size=(2, 5))])
WEIGHTS = rng.normal(size=(6, 8))
OTHERS = "itself", "duplicates, opposites and copies"


def differences(f, point, h=1e-4):
    """Gradient and Hessian of a function of a few numbers; fourth-order in h: errors of 1e-15 and 1e-10."""
    point = np.asarray(point, np.longdouble)
    steps = np.longdouble(h) * np.eye(len(point), dtype=np.longdouble)

    def slope(g, step):
        return lambda p: (
            (8 * (g(p + step) - g(p - step)) - (g(p + 2 * step) - g(p - 2 * step))) / (12 * np.longdouble(h))
        )

    gradient = [float(slope(f, step)(point)) for step in steps]
    hessian = [[float(slope(slope(f, s), t)(point)) for t in steps] for s in steps]
    return np.array(gradient), np.array(hessian)


def first_and_second(f, p):
    """Gradient and Hessian by one compiled program: reverse mode, and forward mode of that."""

    def twice(p):
        gradient = jax.grad(f)(p)
        return gradient, gradient

    hessian, gradient = jax.jit(jax.jacfwd(twice, has_aux=True))(p)
    return gradient, hessian


# A rounding √ε of the angle between parallel vectors, 1.5e-8 in float64, and some layers of it.
TOLERANCES = {"float64": 1e-7, "float32": DERIVATIVE["float32"]}


@pytest.mark.parametrize(
    ("depth", "others", "dtype"),
    [
        case if case == (2, OTHERS[1], "float64") else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product((1, 2, 3, 10), OTHERS, TOLERANCES)
    ],
)
def test_relu_mlp_in_hyperparameters(depth, others, dtype):
    """Parallel vectors that are not one input have a rounding √ε of angle: 1.5e-8 and 3.5e-4, and some layers of it."""
    tolerance, x2 = TOLERANCES[dtype], X1 if others == "itself" else X2
    weights = WEIGHTS[:, : len(x2)] + 2 * np.eye(6, len(x2))
    for b_std in (0.3, 0.0) if depth == 3 else (0.3,):
        gradient, hessian = differences(
            lambda p: np.sum(weights * reference_mlp(depth, p[0], p[1], X1, x2)), (1.3, b_std)
        )

        def found(p, x2=x2, weights=weights):
            net = ntk.MLP(depth=depth, w_std=p[0], b_std=p[1])
            args = (X1.astype(dtype),) if x2 is X1 else (X1.astype(dtype), x2.astype(dtype))
            return jnp.sum(weights.astype(dtype) * ntk.infinite_ntk(net, *args))

        p = jnp.asarray((1.3, b_std), dtype)
        # Without a bias b_std has a kink at 0 for parallel inputs, whose angle is a multiple of |b_std|.
        kept = 2 if b_std else 1
        hessian = hessian[:kept, :kept]
        found1, found2 = first_and_second(found, p)
        np.testing.assert_allclose(found1, gradient, rtol=0, atol=tolerance * np.abs(gradient).max())
        np.testing.assert_allclose(found2[:kept, :kept], hessian, rtol=0, atol=3 * tolerance * np.abs(hessian).max())


@pytest.mark.slow
def test_hessian_at_two_generic_points():
    """(1, 0) and (0.6, 0.8): 0.58882. Such points are among those of the sums above."""
    x, y = np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])
    _, expected = differences(lambda p: reference_mlp(1, p[0], 1.0, x, y)[0, 0], (1.2,))
    found = jax.jit(jax.hessian(lambda w: ntk.infinite_ntk(ntk.MLP(depth=1, w_std=w), x, y)[0, 0]))(1.2)
    assert float(found) == pytest.approx(expected[0, 0], rel=SOLVED["float64"])


@pytest.mark.parametrize("depth", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_relu_mlp_in_the_inputs(depth):
    """If x2 is None a duplicate moves on both sides. The trace is smooth in every input."""
    x = np.random.default_rng(1).normal(size=(64, 10))
    found = jax.jit(jax.grad(lambda x: jnp.trace(ntk.infinite_ntk(ntk.MLP(depth=depth, b_std=0.3, w_std=1.3), x))))(x)
    # Θ(ξ, ξ) is affine in |ξ|²: Ċ = 1/2, so that Θ = C + Σ_l 2^{−(L−l+1)} w^{2(L−l)} K^l has the slope
    # (L + 1) (w²/2)^L in |ξ|²/d.
    np.testing.assert_allclose(found, 2 * x / 10 * (depth + 1) * (1.3**2 / 2) ** depth, rtol=1e-12)


def reference_rnn(pooling, w_std, b_std, x1, x2):
    """The recursions over all pairs of times (Yang 2020), with u_std = v_std = 1."""
    w2, b2 = np.longdouble(w_std) ** 2, np.longdouble(b_std) ** 2
    x1, x2 = np.asarray(x1, np.longdouble), np.asarray(x2, np.longdouble)
    (n1, steps, d), n2 = x1.shape, len(x2)

    def variances(x):
        K = [np.sum(x[:, 0] ** 2, 1) / d + b2]
        for t in range(1, steps):
            K.append(w2 * K[-1] / 2 + np.sum(x[:, t] ** 2, 1) / d + b2)
        return K

    own1, own2 = variances(x1), variances(x2)
    zero = np.zeros((n1, n2), np.longdouble)
    C, theta, total = {}, {}, zero
    for t, r in itertools.product(range(steps), repeat=2):
        before = t - 1, r - 1
        K = w2 * C.get(before, zero) + x1[:, t] @ x2[:, r].T / d + b2
        C[t, r], dot = relu_maps(own1[t][:, None], K, own2[r])
        theta[t, r] = dot * (K + w2 * theta.get(before, zero))
        total = total + (C[t, r] + theta[t, r]) / steps**2
    return total if pooling == "mean" else C[t, r] + theta[t, r]


@pytest.mark.parametrize(
    ("pooling", "others", "dtype"),
    [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(("last", "mean"), (*OTHERS[:1], "duplicates"), TOLERANCES)
    ],
)
def test_relu_rnn_in_hyperparameters(pooling, others, dtype):
    x1 = np.random.default_rng(2).normal(size=(4, 3, 3)).astype(dtype)
    x2 = x1 if others == "itself" else np.concatenate([x1[1:3], -x1[:1]])
    weights = WEIGHTS[:4, : len(x2)] + 2 * np.eye(4, len(x2))

    def found(p):
        net = ntk.RNN(activation="relu", pooling=pooling, w_std=p[0], b_std=p[1])
        return jnp.sum(weights.astype(dtype) * ntk.infinite_ntk(net, x1, None if x2 is x1 else x2))

    gradient, hessian = differences(lambda p: np.sum(weights * reference_rnn(pooling, *p, x1, x2)), (1.3, 0.3))
    p = jnp.asarray((1.3, 0.3), dtype)
    for derivative, expected in zip(first_and_second(found, p), (gradient, hessian), strict=True):
        atol = 3 * TOLERANCES[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(derivative, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_gradients_in_inputs_beside_duplicates_opposites_and_zero_are_finite(dtype):
    """Where x1 and x2 are parallel the kink of the angle counts as the mean over both sides; other pairs are exact."""
    x1 = np.concatenate([X1[:3], np.zeros((1, 5))]).astype(dtype)
    x2 = np.concatenate([X1[:1], -X1[1:2], np.zeros((1, 5)), X1[4:]]).astype(dtype)

    @jax.jit
    def gradients(x1, x2):
        kernel = lambda x1: ntk.infinite_ntk(ntk.MLP(depth=2, w_std=1.3, b_std=0.0), x1, x2)  # noqa: E731
        return jax.jacrev(kernel)(x1)

    found = np.asarray(gradients(x1, x2))
    assert np.isfinite(found).all()
    h, step = np.longdouble(1e-5), np.zeros_like(x1, np.longdouble)
    step[:3, 0] = h
    ends = [reference_mlp(2, 1.3, 0.0, x1[:3] + sign * step[:3], x2[3:]) for sign in (1, -1)]
    expected = np.asarray((ends[0] - ends[1]) / (2 * h), float)
    along = np.stack([found[i, 3:, i, 0] for i in range(3)])
    # Central differences are off by h².
    np.testing.assert_allclose(along, expected, rtol=0, atol={"float64": 1e-8, "float32": 1e-4}[dtype])


def test_gradient_of_the_marginal_likelihood():
    """In (w_std, b_std), against differences of a Cholesky decomposition in extended precision."""
    x = np.random.default_rng(3).normal(size=(8, 4))
    x[3], x[5] = x[2], -x[4]
    y = np.sin(x[:, 0])

    def reference(p):
        matrix = reference_mlp(2, p[0], p[1], x, x) + np.longdouble(0.1) * np.eye(8)
        quadratic, log_det, rest = np.longdouble(0), np.longdouble(0), y.astype(np.longdouble)
        for _ in range(8):  # Gaussian elimination: pivots are the squares of Cholesky's diagonal
            pivot, row = matrix[0, 0], matrix[0, 1:]
            quadratic, log_det = quadratic + rest[0] ** 2 / pivot, log_det + np.log(pivot)
            matrix, rest = matrix[1:, 1:] - np.outer(row, row) / pivot, rest[1:] - row * rest[0] / pivot
        return -(quadratic + log_det + 8 * np.log(2 * PI)) / 2

    def found(p):
        kernel = ntk.infinite_ntk(ntk.MLP(depth=2, w_std=p[0], b_std=p[1]), x)
        return dynamics.log_marginal_likelihood(kernel, y, ridge=0.1)

    p = jnp.array((1.3, 0.3))
    value, gradient = jax.jit(jax.value_and_grad(found))(p)
    assert float(value) == pytest.approx(float(reference(np.asarray(p, np.longdouble))), rel=TOLERANCES["float64"])
    expected, _ = differences(reference, (1.3, 0.3))
    # An opposite and a duplicate under another index have a rounding √ε of angle, as above.
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("depth", [100, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (300, 1000))])
def test_digits_of_deep_relu_in_float32(depth):
    """The bound that `infinite_ntk` states, against float64, whose own error is 1e-9 of that."""
    x = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    net = ntk.MLP(depth=depth, w_std=2**0.5, b_std=0.0)
    error = np.abs(np.asarray(ntk.infinite_ntk(net, x), float) / ntk.infinite_ntk(net, x.astype(float)) - 1)
    off_diagonal = ~np.eye(6, dtype=bool)
    assert np.max(error[off_diagonal]) <= 1.2e-7 * depth**3 / 1000
    # The variances gain or lose a rounding of w_std² a layer.
    assert np.max(error[~off_diagonal]) <= 1.2e-7 * depth
