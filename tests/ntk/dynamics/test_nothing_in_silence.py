"""Inputs that would give a wrong number or NaN are refused, or there is a warning."""

import re
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

K = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 3.0]])
COLUMN, ROW = np.ones((3, 1)), np.arange(3.0)
X = np.random.default_rng(0).normal(size=(3, 2))


@pytest.fixture
def d(plain):
    return plain.dynamics


def column(params, x):
    return x @ params


def row(params, x):
    return (x @ params)[:, 0]


def each(f, y):
    return (f - y) ** 2


def summed(f, y):
    return jnp.sum((f - y) ** 2)


def descent(d, y, loss, start):
    return d.loss_descent(K, y, loss, 2, learning_rate=0.1, fx_train_0=start)


MISMATCHED = {
    "train": lambda d, loss: d.train(column, np.ones((2, 1)), X, ROW, optax.sgd(0.1), 2, loss=loss),
    "train, the other way": lambda d, loss: d.train(row, np.ones((2, 1)), X, COLUMN, optax.sgd(0.1), 2, loss=loss),
    "loss_descent": lambda d, loss: descent(d, ROW, loss, COLUMN),
    "loss_descent, the other way": lambda d, loss: descent(d, COLUMN, loss, ROW),
    "loss_descent of as many outputs as points": lambda d, loss: descent(d, ROW, loss, np.ones((3, 3))),
    "loss_flow": lambda d, loss: d.loss_flow(K, ROW, loss)(1.0, COLUMN),
}


@pytest.mark.parametrize("call", MISMATCHED.values(), ids=MISMATCHED)
@pytest.mark.parametrize("loss", [each, summed])
def test_outputs_are_not_compared_with_targets_of_other_points(d, call, loss):
    """Also if the loss is a sum, so that its shape does not show the mistake."""
    sentence = r"y_train has shape \(3,.*\), but the outputs have shape \(3,.*\): the loss compares every output with"
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=sentence):
        call(d, loss)


def test_shapes_that_differ_on_purpose_are_taken(d):
    """Classes, a mean and a variance, quantiles as many as points: the loss keeps points apart."""

    def of_mean_and_variance(f, y):
        return (f[:, 0] - y) ** 2 * jnp.exp(-f[:, 1]) + f[:, 1]

    def of_quantiles(f, y):
        return jnp.abs(y[:, None] - f)

    def of_column(f, y):
        return (f[:, 0] - y) ** 2

    classes = optax.softmax_cross_entropy_with_integer_labels
    for loss, y, start in (
        (classes, np.array([0, 1, 2]), np.zeros((3, 3))),
        (of_mean_and_variance, ROW, np.zeros((3, 2))),
        (of_quantiles, ROW, np.zeros((3, 3))),
        (of_column, ROW, COLUMN),
    ):
        assert np.isfinite(descent(d, y, loss, start).loss).all()


@pytest.mark.parametrize(
    ("y", "error", "sentence"),
    [
        (None, TypeError, "y_train is None; expected real numbers"),
        (np.array([1.0, np.nan, 0.0]), ValueError, "y_train holds 1 entries that are NaN or infinite"),
        (np.ones(3, complex), TypeError, "y_train has dtype complex128; expected real numbers"),
        (np.ones(2), ValueError, r"y_train has shape \(2,\); expected \(3, …\)"),
    ],
)
def test_targets_of_a_loss(d, y, error, sentence):
    for call in (
        lambda: d.train(row, np.ones((2, 1)), X, y, optax.sgd(0.1), 2),
        lambda: d.loss_descent(K, y, optax.l2_loss, 2, learning_rate=0.1),
        lambda: d.loss_flow(K, y, optax.l2_loss),
    ):
        with pytest.raises(error, match=sentence):
            call()


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_steps_that_diverge_are_refused_where_they_leave_the_range(d, dtype):
    """|1 − 2η| = 2 for η = 1.5: the outputs of f = 1 − (−2)^t pass 2^128 or 2^1024 at just that step."""
    last = 128 if dtype == np.float32 else 1024
    predict = d.squared_loss_descent(2 * np.eye(2, dtype=dtype), np.ones(2, dtype), learning_rate=1.5)
    times = np.arange(last - 3, last)
    # Rounding: 2^t is exact, and 1 is lost in it.
    np.testing.assert_array_equal(predict(times)[:, 0], np.asarray(1 - (-2.0) ** times, dtype))
    sentence = rf"outputs at t = {last} exceed .* the range of float.*; expected a learning_rate below 1,"
    with pytest.raises(ValueError, match=sentence):
        predict(np.arange(2 * last))
    assert not np.isfinite(jax.jit(predict)(2 * last)).any()  # where values cannot be checked
    with pytest.raises(ValueError, match=r"loss is not finite after \d+ steps; expected steps that do not diverge"):
        d.loss_descent(2 * np.eye(2, dtype=dtype), np.ones(2, dtype), optax.l2_loss, 2 * last, learning_rate=1.5)
    with pytest.raises(ValueError, match=r"loss is not finite after \d+ steps; expected steps that do not diverge"):
        d.train(row, np.ones((2, 1), dtype), X.astype(dtype), ROW.astype(dtype), optax.sgd(10.0), 2 * last)


def test_overflow_of_a_flow_is_refused(d):
    big = np.full(3, 3e38, np.float32)
    with pytest.raises(ValueError, match=r"outputs at t = 5 exceed 3.4e\+38, the range of float32; expected smaller"):
        d.squared_loss_flow(np.eye(3, dtype=np.float32), big)(5.0, 0.0, 0.0, np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"k_train_train and its ridge have eigenvalues beyond 3.4e\+38"):
        d.squared_loss_flow(np.full((3, 3), 3e38, np.float32), np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"ridge is 1e\+300; expected one finite number that .* in float32"):
        d.squared_loss_flow(np.eye(3, dtype=np.float32), np.ones(3, np.float32), ridge=1e300)


def smooth_problem(features):
    """60 points, a Gaussian kernel, and targets that are not a smooth function."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, features))
    k = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 2)
    return k, np.sin(3 * x[:, 0]) + 0.3 * rng.normal(size=60)


@pytest.mark.parametrize(
    "features", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_digits_lost_by_rounding_give_a_warning(d, features):
    """Against float64: if fewer than three digits are right, a warning says how many, and at least these are right."""
    k, y = smooth_problem(features)
    single = d.squared_loss_flow(k.astype(np.float32), y.astype(np.float32))
    double = d.squared_loss_flow(k, y)
    told = 0
    for t in (1.0, 1e2, 1e4, 1e6):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = single(t)
        wrong = np.linalg.norm(np.asarray(found) - np.asarray(double(t))) / np.linalg.norm(y)
        if caught:
            told += 1
            sentence = str(caught[0].message)
            assert caught[0].filename == __file__
            digits = int(re.search(r"keep only (\d+) digits on the training points", sentence)[1])
            assert wrong < 10 ** (0.5 - digits)
            assert "float64=True with a kernel computed in float64, a ridge of at least" in sentence
        else:
            assert wrong < 1e-3
    assert told or features == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double(1e6)


def test_what_the_warning_advises_helps(d):
    k, y = smooth_problem(2)
    low, low_y = k.astype(np.float32), y.astype(np.float32)
    with pytest.warns(UserWarning, match="keep only 1 digits on the training points") as caught:
        d.squared_loss_flow(low, low_y)(1e6)
    ridge, until = (
        float(found) for found in re.search(r"at least (\S+), or times below (\S+)\.$", str(caught[0].message)).groups()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regular = d.squared_loss_flow(low, low_y, ridge=2 * ridge)(1e6)
        early = d.squared_loss_flow(low, low_y)(until / 2)
        exact = d.squared_loss_flow(k, y, float64=True)(1e6)
    for found, expected in (
        (regular, d.squared_loss_flow(k, y, ridge=2 * ridge)(1e6)),
        (early, d.squared_loss_flow(k, y)(until / 2)),
        (exact, d.squared_loss_flow(k, y)(1e6)),
    ):
        assert np.linalg.norm(np.asarray(found) - np.asarray(expected)) < 1e-3 * np.linalg.norm(y)


def test_ensembles_and_steps_warn_too(d):
    k, y = smooth_problem(2)
    k, y = k.astype(np.float32), y.astype(np.float32)
    with pytest.warns(UserWarning, match="digits on the training points"):
        trained = d.squared_loss_ensemble(SimpleNamespace(ntk=k, nngp=k), y)(1e6)
    assert np.isfinite(trained.mean).all()
    with pytest.warns(UserWarning, match="digits on the training points"):
        trained = d.squared_loss_descent(k, y, learning_rate=0.05)(2**24)
    assert np.isfinite(trained).all()


def test_an_indefinite_kernel_has_no_learning_rate_and_no_preconditioner(d):
    with pytest.raises(
        ValueError, match=r"k_train_train has an eigenvalue of -3\.\d*, .*; expected a positive semidef"
    ):
        d.max_learning_rate(-K)
    assert np.isinf(d.max_learning_rate(np.zeros((2, 2))))
    indefinite = np.diag([1.0, -1.0, 2.0])
    for kernel in (indefinite, lambda v: indefinite @ v, -np.eye(3)):
        with pytest.raises(ValueError, match=r"kernel has a direction v with vᵀKv/vᵀv = -.*; expected a positive semi"):
            d.nystrom_preconditioner(kernel, 3, rank=3, ridge=0.1, key=jax.random.key(0))
    singular = d.nystrom_preconditioner(np.ones((3, 3)), 3, rank=3, ridge=0.1, key=jax.random.key(0))
    assert np.isfinite(singular(np.ones((3, 1)))).all()


def test_complex_outputs_and_masks_are_refused(d):
    predict = d.squared_loss_flow(K, ROW)
    for name, arguments in (("fx_train_0", (1j,)), ("fx_test_0", (0.0, 1j * np.ones(2), np.ones((2, 3))))):
        with pytest.raises(TypeError, match=f"{name} has dtype complex128; expected real numbers"):
            predict(1.0, *arguments)
    masked = np.ma.masked_array(ROW, mask=[True, False, False])
    with pytest.raises(TypeError, match=r"y_train is a masked array; expected .* none of them masked"):
        d.squared_loss_flow(K, masked)


def test_kernels_of_several_kinds_are_told_apart(plain, d):
    kernels = plain.infinite_kernels(plain.MLP(depth=2), X)
    flow = d.squared_loss_flow(kernels.ntk, ROW)
    for call in (
        lambda: d.squared_loss_flow(kernels, ROW),
        lambda: d.gp_posterior(kernels, ROW),
        lambda: d.loss_descent(kernels, ROW, optax.l2_loss, 1, learning_rate=0.1),
        lambda: d.max_learning_rate(kernels),
        lambda: d.conjugate_gradients(kernels, ROW),
        lambda: flow(1.0, 0.0, 0.0, kernels),
        lambda: plain.effective_rank(kernels),
        lambda: plain.alignment(kernels.ntk, kernels),
        lambda: plain.infinite_ntk(plain.MLP(depth=1), kernels),
    ):
        with pytest.raises(
            TypeError, match=r"^\w+ is (MLP)?Kernels, kernels of several kinds; expected one: pass kernels.ntk"
        ):
            call()
