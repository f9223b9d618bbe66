"""Every bad input of any loss, of training and of solvers is refused by one sentence, as in test_dynamics_refusals."""

import flax.linen as nn
import jax
import numpy as np
import optax
from refusals import Row, assert_refused, rows

K, Y = np.eye(3), np.ones((3, 2))
CLASSES = optax.softmax_cross_entropy_with_integer_labels
KEY = jax.random.key(0)


def linear(w, x):
    return x @ w


def fails(*args):
    raise ZeroDivisionError("of the user\nand more")


w, x, y, sgd = np.ones(2), np.ones((3, 2)), np.ones(3), optax.sgd(0.1)

ROWS: list[Row] = [
    (
        "loss_flow: loss is 'mse'",
        lambda d: d.loss_flow(K, Y, "mse"),
        TypeError,
        "loss is 'mse'; expected a function of outputs and targets",
    ),
    (
        "loss_flow: y_train has shape (2, 2)",
        lambda d: d.loss_flow(K, Y[:2], optax.l2_loss),
        ValueError,
        r"y_train has shape \(2, 2\); expected \(3, …\): k_train_train has 3 rows",
    ),
    (
        "loss_flow: k_train_train has an eigenvalue of -1",
        lambda d: d.loss_flow(-K, Y, optax.l2_loss),
        ValueError,
        "k_train_train has an eigenvalue of -1, .*; expected a posi",
    ),
    (
        "loss_flow: max_steps is 0",
        lambda d: d.loss_flow(K, Y, optax.l2_loss, max_steps=0),
        ValueError,
        "max_steps is 0; expected an integer of at least 1",
    ),
    (
        "loss_flow: rtol is -1e-06",
        lambda d: d.loss_flow(K, Y, optax.l2_loss, rtol=-1e-6),
        ValueError,
        "rtol is -1e-06; expected one finite positive number",
    ),
    (
        "loss_flow: atol is nan",
        lambda d: d.loss_flow(K, Y, optax.l2_loss, atol=np.nan),
        ValueError,
        "atol is nan; expected one finite positive number",
    ),
    (
        "loss_flow: loss of outputs of shape (3,) and targets of",
        lambda d: d.loss_flow(K, np.arange(3), CLASSES)(1.0),
        ValueError,
        r"loss of outputs of shape \(3,\) and targets of shape \(3,\) fails with ValueError",
    ),
    (
        "loss_descent: expected another loss, or fx_train_0 of the shape of the outputs, such as (3, classes)",
        lambda d: d.loss_descent(K, np.arange(3), CLASSES, 1, learning_rate=0.1),
        ValueError,
        r"expected another loss, or fx_train_0 of the shape of the outputs, such as \(3, classes\)",
    ),
    (
        "loss_flow: t is inf",
        lambda d: d.loss_flow(K, Y, optax.l2_loss)(np.inf),
        ValueError,
        "t is inf; expected a finite number that is not neg",
    ),
    (
        "loss_flow: fx_train_0 has shape (2, 2)",
        lambda d: d.loss_flow(K, Y, optax.l2_loss)(1.0, Y[:2]),
        ValueError,
        r"fx_train_0 has shape \(2, 2\); expected that of the",
    ),
    ("train: f is None", lambda d: d.train(None, w, x, y, sgd, 1), TypeError, "f is None; expected a function"),
    (
        "train: f fails",
        lambda d: d.train(fails, w, x, y, sgd, 1),
        ValueError,
        r"f\(params, x_train\) fails with ZeroDivisionError: of the user; expected a function of such params and",
    ),
    (
        "loss_descent: loss fails",
        lambda d: d.loss_descent(K, Y, fails, 1, learning_rate=0.1),
        ValueError,
        "loss of outputs of shape .* fails with ZeroDivisionError: of the user; expected another loss",
    ),
    (
        "conjugate_gradients: kernel fails",
        lambda d: d.conjugate_gradients(fails, y),
        ValueError,
        r"kernel of float64\[3, 1\] fails with ZeroDivisionError: of the user; expected a function from",
    ),
    (
        "conjugate_gradients: preconditioner fails",
        lambda d: d.conjugate_gradients(K, y, preconditioner=fails),
        ValueError,
        r"preconditioner of float64\[3, 1\] fails with ZeroDivisionError: of the user; expected a function from",
    ),
    (
        "train: f is a model",
        lambda d: d.train(nn.Dense(1), w, x, y, sgd, 1),
        TypeError,
        "f is a model, Dense; expected its method `apply`",
    ),
    (
        "train: optimizer is 0.1",
        lambda d: d.train(linear, w, x, y, 0.1, 1),
        TypeError,
        "optimizer is 0.1; expected an Optax optimizer, such as optax.sgd",
    ),
    (
        "train: num_steps is 0",
        lambda d: d.train(linear, w, x, y, sgd, 0),
        ValueError,
        "num_steps is 0; expected an integer of at least 1",
    ),
    (
        "train: every is 2",
        lambda d: d.train(linear, w, x, y, sgd, 5, every=2),
        ValueError,
        "every is 2; expected a divisor of num_steps = 5",
    ),
    (
        "conjugate_gradients: kernel has shape (3, 3)",
        lambda d: d.conjugate_gradients(K, Y[:2]),
        ValueError,
        r"kernel has shape \(3, 3\); expected \(2, 2\): b has 2 rows",
    ),
    (
        "conjugate_gradients: b has shape (3, 0)",
        lambda d: d.conjugate_gradients(K, np.ones((3, 0))),
        ValueError,
        r"b has shape \(3, 0\); expected \(N,\) or \(N, c\)",
    ),
    (
        "conjugate_gradients: rtol is 0.0",
        lambda d: d.conjugate_gradients(K, Y, rtol=0.0),
        ValueError,
        "rtol is 0.0; expected a number between 0 and 1",
    ),
    (
        "conjugate_gradients: ridge is -1.0",
        lambda d: d.conjugate_gradients(K, Y, ridge=-1.0),
        ValueError,
        "ridge is -1.0; expected one finite number",
    ),
    (
        "conjugate_gradients: kernel returns … for float64[3, 2]",
        lambda d: d.conjugate_gradients(lambda v: v[:2], Y),
        TypeError,
        r"kernel returns .* for float64\[3, 2\]; expected the same sh",
    ),
    (
        "nystrom_preconditioner: rank is 4",
        lambda d: d.nystrom_preconditioner(K, 3, rank=4, ridge=1.0, key=KEY),
        ValueError,
        "rank is 4; expected at most num_rows",
    ),
    (
        "nystrom_preconditioner: ridge is 0.0",
        lambda d: d.nystrom_preconditioner(K, 3, rank=2, ridge=0.0, key=KEY),
        ValueError,
        "ridge is 0.0; expected one finite",
    ),
    (
        "nystrom_preconditioner: key is 3",
        lambda d: d.nystrom_preconditioner(K, 3, rank=2, ridge=1.0, key=3),
        TypeError,
        "key is 3; expected one PRNG key",
    ),
]


@rows(ROWS)
def test_refused_in_one_sentence(call, exception, sentence, plain):
    assert_refused(lambda: call(plain.dynamics), exception, sentence)
