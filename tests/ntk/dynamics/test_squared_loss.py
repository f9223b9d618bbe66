"""Training on squared loss against matrix exponentials, ODE solvers, loops over steps and neural-tangents."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from kernel_problems import OUT, M, N, joint_kernel, split, targets, with_duplicates
from tolerances import CLOSED_FORM, FLOW, SAME_FORMULA, SOLVED

import ntk
from ntk import dynamics

TIMES = np.array([[0.0, 0.3], [2.0, 50.0]])
# Errors are rounding times the condition number of 20, and sums of 13 terms: far below 1e-11.
TIGHT = {"rtol": 0, "atol": 1e-11}


def expm_flow(kernel, t, rate, ridge, test):
    """f_t from Θ_*(Θ+ρ)⁻¹(I − e^{−η(Θ+ρ)t})(y − f_0) by matrix functions of SciPy."""
    k, k_test, _ = split(kernel)
    y, start, start_test = targets()
    regular = k + ridge * np.eye(N)
    gain = np.linalg.solve(regular, np.eye(N) - scipy.linalg.expm(-rate * t * regular))
    return (start_test if test else start) + (k_test if test else k) @ gain @ (y - start)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_flow_is_the_matrix_exponential(ridge):
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()
    predict = dynamics.squared_loss_flow(k, y, learning_rate=0.7, ridge=ridge)
    found = predict(TIMES, start, start_test, k_test)
    assert found.train.shape == (2, 2, N, OUT)
    assert found.test.shape == (2, 2, M, OUT)
    for index, t in np.ndenumerate(TIMES):
        np.testing.assert_allclose(found.train[index], expm_flow(joint_kernel(), t, 0.7, ridge, False), **TIGHT)
        np.testing.assert_allclose(found.test[index], expm_flow(joint_kernel(), t, 0.7, ridge, True), **TIGHT)
    np.testing.assert_allclose(predict(TIMES, start), found.train, rtol=0, atol=0)


@pytest.mark.slow
def test_flow_solves_its_ode():
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()

    def velocity(_, f):
        error = f.reshape(N + M, OUT)[:N] - y
        return (-0.7 * np.concatenate([k, k_test]) @ error).ravel()

    times = np.array([0.5, 2.0, 6.0])
    solved = scipy.integrate.solve_ivp(
        velocity, (0, 6), np.concatenate([start, start_test]).ravel(), t_eval=times, rtol=1e-11, atol=1e-12
    )
    expected = solved.y.T.reshape(3, N + M, OUT)
    found = dynamics.squared_loss_flow(k, y, learning_rate=0.7)(times, start, start_test, k_test)
    # The solver's tolerance, accumulated over its some 100 steps.
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.implicit_promotion  # by neural-tangents, of ranks and dtypes
@pytest.mark.parametrize(
    ("relative", "kernel"),
    [
        (0.0, joint_kernel()),
        (0.05, joint_kernel()),
        (0.05, with_duplicates(joint_kernel())),
        (0.0, with_duplicates(joint_kernel())),
        (0.0, joint_kernel(features=5)),
    ],
    ids=["regular", "ridge", "duplicates-ridge", "duplicates", "semidefinite"],
)
def test_flow_agrees_with_neural_tangents(relative, kernel):
    """Its loss is a mean over N·O targets: its time is N·O times ours. On the training points it ignores the ridge."""
    predict_theirs = ntk.load_neural_tangents().predict.gradient_descent_mse
    k, k_test, _ = split(kernel)
    y, start, start_test = targets()
    theirs = predict_theirs(k, y, learning_rate=0.7, diag_reg=relative)
    ours = dynamics.squared_loss_flow(k, y, learning_rate=0.7, ridge=relative, relative_ridge=True)
    # At the end of training it solves with the kernel as it is, singular or not.
    ends = () if relative == 0 and np.linalg.matrix_rank(k) < N else ((None, None),)
    for t_ours, t_theirs in ((TIMES, TIMES * N * OUT), *ends):
        # A ridge is in their predictions where the training points are given as test points.
        _, train = theirs(t_theirs, start, start, k)
        _, test = theirs(t_theirs, start, start_test, k_test)
        found = ours(t_ours, start, start_test, k_test)
        np.testing.assert_allclose(found.train, train, rtol=0, atol=FLOW["float64"])
        np.testing.assert_allclose(found.test, test, rtol=0, atol=FLOW["float64"])


def kernel_with_output_axes():
    """(N + M, N + M, O, O), all of whose outputs depend on each other."""
    features = np.random.default_rng(2).normal(size=(N + M, OUT, 60)) / 60**0.5
    return np.einsum("nop,mqp->nmoq", features, features)


def test_kernel_with_output_axes():
    """The matrix exponential over all pairs of point and output; and of outputs apart, the kernel that they share."""
    full = kernel_with_output_axes()
    y, start, start_test = targets()
    k, k_test = (part.transpose(0, 2, 1, 3).reshape(-1, N * OUT) for part in (full[:N, :N], full[N:, :N]))
    gain = np.linalg.solve(k, np.eye(N * OUT) - scipy.linalg.expm(-2.0 * k)) @ (y - start).ravel()
    found = dynamics.squared_loss_flow(full[:N, :N], y)(2.0, start, start_test, full[N:, :N])
    np.testing.assert_allclose(found.train, start + (k @ gain).reshape(N, OUT), **TIGHT)
    np.testing.assert_allclose(found.test, start_test + (k_test @ gain).reshape(M, OUT), **TIGHT)
    k, k_test, _ = split(joint_kernel())
    blocks, blocks_test = (np.einsum("nm,op->nmop", part, np.eye(OUT)) for part in (k, k_test))
    apart = dynamics.squared_loss_flow(blocks, y)(2.0, start, start_test, blocks_test)
    np.testing.assert_allclose(apart.train, expm_flow(joint_kernel(), 2.0, 1.0, 0.0, False), **TIGHT)
    np.testing.assert_allclose(apart.test, expm_flow(joint_kernel(), 2.0, 1.0, 0.0, True), **TIGHT)


@pytest.mark.slow
@pytest.mark.implicit_promotion  # by neural-tangents, of ranks and dtypes
def test_kernel_with_output_axes_agrees_with_neural_tangents():
    full = kernel_with_output_axes()
    y, start, start_test = targets()
    theirs = ntk.load_neural_tangents().predict.gradient_descent_mse
    # Their axes are zipped: (N, N, O, O) too.
    expected = theirs(full[:N, :N], y, trace_axes=())(TIMES * N * OUT, start, start_test, full[N:, :N])
    predict = dynamics.squared_loss_flow(full[:N, :N], y)
    for found, wanted in zip(predict(TIMES, start, start_test, full[N:, :N]), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=FLOW["float64"])


@pytest.mark.parametrize(("momentum", "rate"), [(0.0, 0.4), (0.9, 0.3), (0.25, 1.2), (0.5, 1.6)])
def test_descent_is_its_loop(momentum, rate):
    """Below and above critical damping, and at the rate 1.6, at which the steps diverge since λ_max is about 2."""
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()
    steps = np.array([0, 1, 2, 7, 40])
    both, f, velocity, states = np.concatenate([k, k_test]), np.concatenate([start, start_test]), 0, []
    for step in range(41):
        if step in steps:
            states.append(f)
        velocity = momentum * velocity + both @ (f[:N] - y)
        f = f - rate * velocity
    predict = dynamics.squared_loss_descent(k, y, learning_rate=rate, momentum=momentum)
    found = np.concatenate(predict(steps, start, start_test, k_test), axis=1)
    np.testing.assert_allclose(found, states, rtol=SOLVED["float64"], atol=CLOSED_FORM["float64"])


def test_descent_of_small_steps_is_the_flow():
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()
    flow = dynamics.squared_loss_flow(k, y)(3.0, start, start_test, k_test)
    descent = dynamics.squared_loss_descent(k, y, learning_rate=3e-6)(10**6, start, start_test, k_test)
    for a, b in zip(descent, flow, strict=True):
        # (1 − x/n)^n − e^{−x} is at most 2e^{−2}/n times the error at the start; its size here is below 10.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", ["flow", "descent"])
def test_start_and_end(make):
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()
    options = {"learning_rate": 0.5, "momentum": 0.3} if make == "descent" else {}
    predict = getattr(dynamics, f"squared_loss_{make}")(k, y, **options)
    begin, end = predict(0, start, start_test, k_test), predict(np.inf, start, start_test, k_test)
    np.testing.assert_allclose(begin.train, start, rtol=0, atol=SAME_FORMULA["float64"] * 10)
    np.testing.assert_array_equal(begin.test, start_test)
    np.testing.assert_array_equal(end.train, y)
    np.testing.assert_allclose(end.test, start_test + k_test @ np.linalg.solve(k, y - start), **TIGHT)
    for a, b in zip(end, predict(None, start, start_test, k_test), strict=True):
        np.testing.assert_array_equal(a, b)
    ridge = dynamics.squared_loss_flow(k, y, ridge=0.3)(None, start, start_test, k_test)
    regression = np.linalg.solve(k + 0.3 * np.eye(N), y - start)
    np.testing.assert_allclose(ridge.train, start + k @ regression, **TIGHT)
    np.testing.assert_allclose(ridge.test, start_test + k_test @ regression, **TIGHT)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_duplicate_rows_are_the_least_squares_fit(dtype):
    """Of two equal points with different targets the mean is learned; test points at the pseudo-inverse."""
    k, k_test, _ = split(with_duplicates(joint_kernel()))
    y, *_ = targets()
    predict = dynamics.squared_loss_flow(k.astype(dtype), y.astype(dtype))
    # A warning says that float32 cannot tell equal points from close ones at 1e9.
    told = pytest.warns(UserWarning, match="at t = 1e") if dtype == np.float32 else contextlib.nullcontext()
    with told:
        train, test = predict(np.array([2.0, 1e9, np.inf]), k_test_train=k_test.astype(dtype))
    fitted = np.concatenate([np.repeat(y[:2].mean(0, keepdims=True), 2, axis=0), y[2:]])
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(train[1:], [fitted, fitted], rtol=0, atol=tolerance)
    np.testing.assert_allclose(test[2], k_test @ np.linalg.pinv(k, rcond=1e-10) @ y, rtol=0, atol=tolerance)
    np.testing.assert_allclose(test[1], test[2], rtol=0, atol=tolerance)
    expected = y + scipy.linalg.expm(-2 * k) @ -y
    np.testing.assert_allclose(train[0], expected, rtol=0, atol=tolerance)


def test_zero_kernel_trains_nothing():
    y, start, _ = targets()
    np.testing.assert_allclose(dynamics.squared_loss_flow(np.zeros((N, N)), y)(None, start), start, **TIGHT)


def test_float64_on_request():
    """A float32 kernel of condition number 1e6, solved as float64 solves the same numbers, and returned in float32."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(N, N)))[0]
    k = ((basis * np.logspace(-6, 0, N)) @ basis.T).astype(np.float32)
    k = (k + k.T) / 2
    y = rng.normal(size=N).astype(np.float32)
    exact = y - scipy.linalg.expm(-1e6 * k.astype(float)) @ y
    with pytest.warns(UserWarning, match="What helps: a kernel computed in float64"):
        double = dynamics.squared_loss_flow(k, y, float64=True)(1e6)
    with pytest.warns(UserWarning, match="What helps: float64=True with a kernel computed in float64"):
        single = dynamics.squared_loss_flow(k, y)(1e6)
    assert double.dtype == single.dtype == jnp.float32
    np.testing.assert_allclose(double, exact, rtol=0, atol=SAME_FORMULA["float32"])
    assert np.abs(np.asarray(single) - exact).max() > 1e-3
    with pytest.raises(ValueError, match=r"float64 is True under jit"):
        jax.jit(lambda k: dynamics.squared_loss_flow(k, y, float64=True)(1.0))(k)
    predict = dynamics.squared_loss_flow(k, y, float64=True)
    with pytest.raises(ValueError, match=r"float64 is True under jit"):
        jax.jit(lambda predict: predict(1.0))(predict)


def central_difference(f, x, direction, step):
    return (f(x + step * direction) - f(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("make", ["flow", pytest.param("descent", marks=pytest.mark.slow)])
def test_gradients(make):
    """In the kernel, also where eigenvalues coincide, and in all other numbers."""
    k, k_test, _ = split(joint_kernel())
    y, start, start_test = targets()
    rng = np.random.default_rng(5)
    turn, weights = rng.normal(size=(N, N)), rng.normal(size=(2, M, OUT))
    function = getattr(dynamics, f"squared_loss_{make}")

    @jax.jit
    def score(k, y, rate, ridge):
        predict = function(k, y, learning_rate=rate, ridge=ridge)
        train, test = predict(jnp.array([2.0, jnp.inf]), start, start_test, k_test)
        return jnp.sum(weights * test) + jnp.sum(train[0] ** 2)

    slopes = jax.jit(jax.grad(score, argnums=(0, 1, 2, 3)))
    coinciding = np.eye(N) + 0.5 * np.ones((N, N)) / N  # all eigenvalues but one are 1
    for kernel in (k, coinciding):
        arguments = (kernel, y, 0.3, 0.1)
        directions = (turn + turn.T, rng.normal(size=y.shape), 1.0, 1.0)
        for i, (gradient, direction) in enumerate(zip(slopes(*arguments), directions, strict=True)):
            ahead, behind = (
                score(*arguments[:i], arguments[i] + step * direction, *arguments[i + 1 :]) for step in (1e-5, -1e-5)
            )
            # Central differences of step h: h² f'''/6 + ε f/h, about 1e-9 of values of order 100.
            expected = (ahead - behind) / 2e-5
            np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_transformations():
    k, k_test, _ = split(joint_kernel())
    y, start, _ = targets()
    predict = dynamics.squared_loss_flow(k, y)
    times = jnp.array([0.5, 2.0])
    expected = predict(times, start, 0.0, k_test)
    jitted = jax.jit(lambda predict, t, k: predict(t, start, 0.0, k))(predict, times, k_test)
    for a, b in zip(expected, jitted, strict=True):
        np.testing.assert_allclose(b, a, **TIGHT)
    many = jax.vmap(lambda k, t: dynamics.squared_loss_flow(k, y)(t, start))(jnp.stack([k, 2 * k]), times)
    np.testing.assert_allclose(many[0], expected.train[0], **TIGHT)
    np.testing.assert_allclose(many[1], predict(4.0, start), **TIGHT)


def test_dtype_is_that_of_the_kernel():
    k, k_test, _ = (part.astype(np.float32) for part in split(joint_kernel()))
    y = targets()[0]
    found = dynamics.squared_loss_flow(k, y)(TIMES, k_test_train=k_test)
    assert found.train.dtype == found.test.dtype == jnp.float32
    expected = expm_flow(joint_kernel(), 2.0, 1.0, 0.0, True) - targets()[2]
    single = dynamics.squared_loss_flow(k, y)(2.0, targets()[1], 0.0, k_test).test
    # Rounding times the condition number of 20, and sums of 13 terms.
    np.testing.assert_allclose(single, expected, rtol=0, atol=2e-5)
