"""Every bad input of ntk.dynamics is refused by one sentence: the argument, its value and what is expected."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

K, Y, KT = np.eye(3), np.ones((3, 2)), np.ones((2, 3))
FULL = np.einsum("nm,op->nmop", K, np.eye(2))
CLASSES = optax.softmax_cross_entropy_with_integer_labels
NAN = np.diag([1.0, np.nan, 1.0])

ROWS = [
    ("d.squared_loss_flow('k', Y)", TypeError, r"k_train_train is 'k'; expected an array of real floating-point"),
    ("d.squared_loss_flow(np.eye(3, dtype=int), Y)", TypeError, r"k_train_train has dtype int64; expected a real"),
    ("d.squared_loss_flow(np.ones((3, 2)), Y)", ValueError, r"k_train_train has shape \(3, 2\); expected \(N, N\)"),
    ("d.squared_loss_flow(np.ones(3), Y)", ValueError, r"shape \(3,\); expected \(N, N\) or \(N, N, O, O\)"),
    ("d.squared_loss_flow(K + np.triu(K + 1, 1), Y)", ValueError, r"k_train_train differs from its transpose by 1"),
    ("d.squared_loss_flow(NAN, Y)", ValueError, r"k_train_train holds 1 entries that are NaN"),
    ("d.squared_loss_flow(K, Y[:2])", ValueError, r"y_train has shape \(2, 2\); expected \(3,\) or \(3, O\)"),
    ("d.squared_loss_flow(FULL, Y[:, :1])", ValueError, r"y_train has shape \(3, 1\); expected \(3, 2\)"),
    ("d.squared_loss_flow(K, Y * np.nan)", ValueError, r"y_train holds 6 entries that are NaN"),
    ("d.squared_loss_flow(K, np.arange(3))", TypeError, r"y_train has dtype int64; expected a real floating-point"),
    ("d.squared_loss_flow(K, Y, ridge=-1.0)", ValueError, r"ridge is -1.0; expected one finite number that is not neg"),
    ("d.squared_loss_flow(K, Y, ridge=np.ones(3))", ValueError, r"ridge has shape \(3,\); expected one finite number"),
    ("d.squared_loss_flow(K, Y, learning_rate=0.0)", ValueError, r"learning_rate is 0.0; expected one finite positive"),
    ("d.squared_loss_descent(K, Y, learning_rate=0.1, momentum=1.0)", ValueError, r"momentum is 1.0; expected one"),
    ("flow(-1.0)", ValueError, r"t goes from -1.0 to -1.0; expected times that are not negative"),
    ("flow(np.nan)", ValueError, r"t goes from nan to nan; expected times"),
    ("descent(0.5)", ValueError, r"t is 0.5; expected whole numbers of steps"),
    ("flow(1.0, Y[:2])", ValueError, r"fx_train_0 has shape \(2, 2\); expected \(3, 2\), or one number for all"),
    ("flow(1.0, 0.0, Y, KT)", ValueError, r"fx_test_0 has shape \(3, 2\); expected \(2, 2\), or one number"),
    ("flow(1.0, 0.0, 0.0, KT.T)", ValueError, r"k_test_train has shape \(3, 2\); expected \(M, 3\)"),
    ("d.squared_loss_flow(FULL, Y)(1.0, k_test_train=KT)", ValueError, r"\(2, 3\); expected \(M, 3, 2, 2\)"),
    ("d.max_learning_rate(K, momentum=-0.1)", ValueError, r"momentum is -0.1; expected one number of at least 0"),
    ("d.gp_posterior(FULL, Y)", ValueError, r"k_train_train has output axes; expected \(N, N\), shared by outputs"),
    ("d.gp_posterior(K, Y)(None, K)", ValueError, r"k_test_test is given without k_test_train; expected both"),
    ("d.gp_posterior(K, Y)(KT, K)", ValueError, r"k_test_test has shape \(3, 3\); expected \(2, 2\)"),
    ("d.log_marginal_likelihood(np.ones((3, 3)), Y)", ValueError, r"ridge 0.0 is not positive definite in float64; e"),
    ("d.squared_loss_ensemble(K, Y)", TypeError, r"kernels_train_train is ndarray without ntk; expected ntk and nngp"),
    (
        "d.squared_loss_ensemble(kernels(K, K), Y, trained='some')",
        ValueError,
        "trained is 'some'; expected one of 'all'",
    ),
    (
        "d.squared_loss_ensemble(kernels(K, K), Y, momentum=0.5)",
        ValueError,
        "momentum is 0.5 of a flow; expected 0, or",
    ),
    ("d.squared_loss_ensemble(kernels(K, np.eye(2)), Y)", ValueError, r"nngp has shape \(2, 2\); expected \(3, 3\)"),
    ("d.squared_loss_ensemble(kernels(K, K), Y)(1.0, None, K)", ValueError, r"nngp_test_test is given without kernels"),
    ("d.loss_flow(K, Y, 'mse')", TypeError, r"loss is 'mse'; expected a function of outputs and targets"),
    ("d.loss_flow(K, Y[:2], optax.l2_loss)", ValueError, r"y_train has shape \(2, 2\); expected \(3, …\) as k_t"),
    ("d.loss_flow(-K, Y, optax.l2_loss)", ValueError, r"k_train_train has an eigenvalue of -1, .*; expected a posi"),
    ("d.loss_flow(K, Y, optax.l2_loss, max_steps=0)", ValueError, r"max_steps is 0; expected an integer of at least 1"),
    (
        "d.loss_flow(K, Y, optax.l2_loss, rtol=-1e-6)",
        ValueError,
        r"rtol is -1e-06; expected one finite positive number",
    ),
    ("d.loss_flow(K, Y, optax.l2_loss, atol=np.nan)", ValueError, r"atol is nan; expected one finite positive number"),
    ("d.loss_flow(K, np.arange(3), CLASSES)(1.0)", ValueError, r"loss fails on outputs of shape \(3,\) and targets of"),
    (
        "d.loss_descent(K, np.arange(3), CLASSES, 1, learning_rate=0.1)",
        ValueError,
        r"expected another loss, or fx_train_0 of the shape of the outputs, such as \(3, classes\)",
    ),
    ("d.loss_flow(K, Y, optax.l2_loss)(np.inf)", ValueError, r"t is inf; expected a finite number that is not neg"),
    (
        "d.loss_flow(K, Y, optax.l2_loss)(1.0, Y[:2])",
        ValueError,
        r"fx_train_0 has shape \(2, 2\); expected that of the",
    ),
    ("d.train(None, w, x, y, sgd, 1)", TypeError, r"f is None; expected a function"),
    ("d.train(linear, w, x, y, 0.1, 1)", TypeError, r"optimizer is 0.1; expected one of Optax, such as optax.sgd"),
    ("d.train(linear, w, x, y, sgd, 0)", ValueError, r"num_steps is 0; expected an integer of at least 1"),
    ("d.train(linear, w, x, y, sgd, 5, every=2)", ValueError, r"every is 2; expected a divisor of num_steps = 5"),
    ("d.conjugate_gradients(K, Y[:2])", ValueError, r"kernel has shape \(3, 3\); expected \(2, 2\) as b has rows"),
    ("d.conjugate_gradients(K, np.ones((3, 0)))", ValueError, r"b has shape \(3, 0\); expected \(N,\) or \(N, c\)"),
    ("d.conjugate_gradients(K, Y, rtol=0.0)", ValueError, r"rtol is 0.0; expected a number between 0 and 1"),
    ("d.conjugate_gradients(K, Y, ridge=-1.0)", ValueError, r"ridge is -1.0; expected one finite number"),
    (
        "d.conjugate_gradients(lambda v: v[:2], Y)",
        TypeError,
        r"kernel makes .* of float64\[3, 2\]; expected the same sh",
    ),
    ("d.nystrom_preconditioner(K, 3, rank=4, ridge=1.0, key=key)", ValueError, r"rank is 4; expected at most num_rows"),
    ("d.nystrom_preconditioner(K, 3, rank=2, ridge=0.0, key=key)", ValueError, r"ridge is 0.0; expected one finite"),
    ("d.nystrom_preconditioner(K, 3, rank=2, ridge=1.0, key=3)", TypeError, r"key is 3; expected one PRNG key"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), ROWS)
def test_refused_in_one_sentence(call, error, sentence, plain):
    d = plain.dynamics
    scope = {
        **globals(),
        "d": d,
        "flow": d.squared_loss_flow(K, Y),
        "descent": d.squared_loss_descent(K, Y, learning_rate=0.1),
        "kernels": lambda ntk, nngp: SimpleNamespace(ntk=ntk, nngp=nngp),
        "linear": lambda w, x: x @ w,
        "w": jnp.ones(2),
        "x": jnp.ones((3, 2)),
        "y": jnp.ones(3),
        "sgd": optax.sgd(0.1),
        "key": jax.random.key(0),
    }
    with pytest.raises(error, match=sentence) as refusal:
        eval(call, scope)
    assert "\n" not in str(refusal.value)


def test_diffrax_is_asked_for_by_name(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"loss_flow needs Diffrax: run `pip install 'diffrax>=0.7'`"):
        plain.dynamics.loss_flow(K, Y, optax.l2_loss)
    # Nothing else does.
    plain.dynamics.squared_loss_flow(K, Y)(1.0)
