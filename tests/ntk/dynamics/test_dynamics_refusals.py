"""Bad inputs of squared loss and of Gaussian processes are refused by a sentence: argument, value, expectation."""

import sys
from types import SimpleNamespace

import numpy as np
import optax
import pytest
from refusals import Row, assert_refused, rows

K, Y, KT = np.eye(3), np.ones((3, 2)), np.ones((2, 3))
FULL = np.einsum("nm,op->nmop", K, np.eye(2))
NAN = np.diag([1.0, np.nan, 1.0])


def kernels(ntk, nngp):
    return SimpleNamespace(ntk=ntk, nngp=nngp)


ROWS: list[Row] = [
    (
        "squared_loss_flow: k_train_train is 'k'",
        lambda d: d.squared_loss_flow("k", Y),
        TypeError,
        "k_train_train is 'k'; expected an array of real floating-point",
    ),
    (
        "squared_loss_flow: k_train_train has dtype int64",
        lambda d: d.squared_loss_flow(np.eye(3, dtype=int), Y),
        TypeError,
        "k_train_train has dtype int64; expected a real",
    ),
    (
        "squared_loss_flow: k_train_train has shape (3, 2)",
        lambda d: d.squared_loss_flow(np.ones((3, 2)), Y),
        ValueError,
        r"k_train_train has shape \(3, 2\); expected \(N, N\)",
    ),
    (
        "squared_loss_flow: shape (3,)",
        lambda d: d.squared_loss_flow(np.ones(3), Y),
        ValueError,
        r"shape \(3,\); expected \(N, N\) or \(N, N, O, O\)",
    ),
    (
        "squared_loss_flow: k_train_train differs from its transpose by 1",
        lambda d: d.squared_loss_flow(K + np.triu(K + 1, 1), Y),
        ValueError,
        "k_train_train differs from its transpose by 1",
    ),
    (
        "squared_loss_flow: k_train_train holds 1 entries that are NaN",
        lambda d: d.squared_loss_flow(NAN, Y),
        ValueError,
        "k_train_train holds 1 entries that are NaN",
    ),
    (
        "squared_loss_flow: y_train has shape (2, 2)",
        lambda d: d.squared_loss_flow(K, Y[:2]),
        ValueError,
        r"y_train has shape \(2, 2\); expected \(3,\) or \(3, O\)",
    ),
    (
        "squared_loss_flow: y_train has shape (3, 1)",
        lambda d: d.squared_loss_flow(FULL, Y[:, :1]),
        ValueError,
        r"y_train has shape \(3, 1\); expected \(3, 2\)",
    ),
    (
        "squared_loss_flow: y_train holds 6 entries that are NaN",
        lambda d: d.squared_loss_flow(K, Y * np.nan),
        ValueError,
        "y_train holds 6 entries that are NaN",
    ),
    (
        "squared_loss_flow: y_train has dtype int64",
        lambda d: d.squared_loss_flow(K, np.arange(3)),
        TypeError,
        "y_train has dtype int64; expected a real floating-point",
    ),
    (
        "squared_loss_flow: ridge is -1.0",
        lambda d: d.squared_loss_flow(K, Y, ridge=-1.0),
        ValueError,
        "ridge is -1.0; expected one finite number that is not neg",
    ),
    (
        "squared_loss_flow: ridge has shape (3,)",
        lambda d: d.squared_loss_flow(K, Y, ridge=np.ones(3)),
        ValueError,
        r"ridge has shape \(3,\); expected one finite number",
    ),
    (
        "squared_loss_flow: learning_rate is 0.0",
        lambda d: d.squared_loss_flow(K, Y, learning_rate=0.0),
        ValueError,
        "learning_rate is 0.0; expected one finite positive",
    ),
    (
        "squared_loss_descent: momentum is 1.0",
        lambda d: d.squared_loss_descent(K, Y, learning_rate=0.1, momentum=1.0),
        ValueError,
        "momentum is 1.0; expected one",
    ),
    (
        "flow: t goes from -1.0 to -1.0",
        lambda d: d.squared_loss_flow(K, Y)(-1.0),
        ValueError,
        "t goes from -1.0 to -1.0; expected times that are not negative",
    ),
    (
        "flow: t goes from nan to nan",
        lambda d: d.squared_loss_flow(K, Y)(np.nan),
        ValueError,
        "t goes from nan to nan; expected times",
    ),
    (
        "descent: t is 0.5",
        lambda d: d.squared_loss_descent(K, Y, learning_rate=0.1)(0.5),
        ValueError,
        "t is 0.5; expected whole numbers of steps",
    ),
    (
        "flow: fx_train_0 has shape (2, 2)",
        lambda d: d.squared_loss_flow(K, Y)(1.0, Y[:2]),
        ValueError,
        r"fx_train_0 has shape \(2, 2\); expected \(3, 2\), or one number for all",
    ),
    (
        "flow: fx_test_0 has shape (3, 2)",
        lambda d: d.squared_loss_flow(K, Y)(1.0, 0.0, Y, KT),
        ValueError,
        r"fx_test_0 has shape \(3, 2\); expected \(2, 2\), or one number",
    ),
    (
        "flow: k_test_train has shape (3, 2)",
        lambda d: d.squared_loss_flow(K, Y)(1.0, 0.0, 0.0, KT.T),
        ValueError,
        r"k_test_train has shape \(3, 2\); expected \(M, 3\)",
    ),
    (
        "squared_loss_flow: (2, 3)",
        lambda d: d.squared_loss_flow(FULL, Y)(1.0, k_test_train=KT),
        ValueError,
        r"\(2, 3\); expected \(M, 3, 2, 2\)",
    ),
    (
        "max_learning_rate: momentum is -0.1",
        lambda d: d.max_learning_rate(K, momentum=-0.1),
        ValueError,
        "momentum is -0.1; expected one number of at least 0",
    ),
    (
        "gp_posterior: k_train_train has output axes",
        lambda d: d.gp_posterior(FULL, Y),
        ValueError,
        r"k_train_train has output axes; expected \(N, N\), shared by outputs",
    ),
    (
        "gp_posterior: k_test_test is given without k_test_train",
        lambda d: d.gp_posterior(K, Y)(None, K),
        ValueError,
        "k_test_test is given without k_test_train; expected both",
    ),
    (
        "gp_posterior: k_test_test has shape (3, 3)",
        lambda d: d.gp_posterior(K, Y)(KT, K),
        ValueError,
        r"k_test_test has shape \(3, 3\); expected \(2, 2\)",
    ),
    (
        "log_marginal_likelihood: ridge 0.0 is not positive definite in float64",
        lambda d: d.log_marginal_likelihood(np.ones((3, 3)), Y),
        ValueError,
        "ridge 0.0 is not positive definite in float64; e",
    ),
    (
        "squared_loss_ensemble: kernels_train_train is ndarray without ntk",
        lambda d: d.squared_loss_ensemble(K, Y),
        TypeError,
        "kernels_train_train is ndarray without ntk; expected ntk and nngp",
    ),
    (
        "squared_loss_ensemble: trained is 'some'",
        lambda d: d.squared_loss_ensemble(kernels(K, K), Y, trained="some"),
        ValueError,
        "trained is 'some'; expected one of 'all'",
    ),
    (
        "squared_loss_ensemble: momentum is 0.5, but a flow has none",
        lambda d: d.squared_loss_ensemble(kernels(K, K), Y, momentum=0.5),
        ValueError,
        "momentum is 0.5, but a flow has none; expected 0, or",
    ),
    (
        "squared_loss_ensemble: nngp has shape (2, 2)",
        lambda d: d.squared_loss_ensemble(kernels(K, np.eye(2)), Y),
        ValueError,
        r"nngp has shape \(2, 2\); expected \(3, 3\)",
    ),
    (
        "squared_loss_ensemble: nngp_test_test is given without kernels",
        lambda d: d.squared_loss_ensemble(kernels(K, K), Y)(1.0, None, K),
        ValueError,
        "nngp_test_test is given without kernels",
    ),
]


@rows(ROWS)
def test_refused_in_one_sentence(call, exception, sentence, plain):
    assert_refused(lambda: call(plain.dynamics), exception, sentence)


def test_diffrax_is_asked_for_by_name(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"loss_flow needs Diffrax: run `pip install 'diffrax>=0.7'`"):
        plain.dynamics.loss_flow(K, Y, optax.l2_loss)
    # Nothing else does.
    plain.dynamics.squared_loss_flow(K, Y)(1.0)
