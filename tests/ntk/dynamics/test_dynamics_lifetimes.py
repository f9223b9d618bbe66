"""Arrays in the closures of losses, optimizers and functions are freed with them. Each function is compiled once."""

import itertools

import numpy as np
import optax
import pytest
from held import is_let_go
from jax.tree_util import Partial

from ntk import dynamics

pytestmark = pytest.mark.slow

K, Y = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
X = np.array([[1.0, 2.0], [0.5, -1.0]])


def loss_with(a):
    return lambda f, y: a[0] * (f - y) ** 2


def linear(params, x):
    return x @ params


def network(a):
    return dynamics.train(lambda params, x: a[0] * x @ params, np.ones(2), X, Y, optax.sgd(0.1), 2)


def loss_of_training(a):
    return dynamics.train(linear, np.ones(2), X, Y, optax.sgd(0.1), 2, loss=loss_with(a))


def optimizer(a):
    update = optax.GradientTransformation(lambda _: (), lambda gradient, state, _: (-a[0] * gradient, state))
    return dynamics.train(linear, np.ones(2), X, Y, update, 2)


def loss_of_descent(a):
    return dynamics.loss_descent(K, Y, loss_with(a), 2, learning_rate=0.1)


def loss_of_flow(a):
    return dynamics.loss_flow(K, Y, loss_with(a))(1.0)


def product(a):
    return dynamics.conjugate_gradients(lambda v: a[0] * K @ v, Y)


def partial_product(a):
    return dynamics.conjugate_gradients(Partial(lambda k, v: a[0] * k @ v, K), Y)


def preconditioner(a):
    return dynamics.conjugate_gradients(K, Y, preconditioner=Partial(lambda v: a[0] * v))


@pytest.mark.parametrize(
    "use",
    [
        *(network, loss_of_training, optimizer, loss_of_descent, partial_product),
        *(pytest.param(use, marks=pytest.mark.slow) for use in (loss_of_flow, product, preconditioner)),
    ],
    ids=lambda use: use.__name__,
)
def test_nothing_of_a_function_is_held(use):
    assert is_let_go(use)


def calls_of_loss(use):
    """How often the loss is called, for tracing alone, by one use and by a second one with another learning rate."""
    calls = itertools.count()

    def loss(f, y):
        next(calls)
        return (f - y) ** 2

    use(loss, 0.1)
    first = next(calls)
    use(loss, 0.2)
    return first, next(calls) - first - 1


def flow(loss, rate):
    return dynamics.loss_flow(K, Y, loss, learning_rate=rate)(1.0)


def descend(loss, rate):
    return dynamics.loss_descent(K, Y, loss, 2, learning_rate=rate)


@pytest.mark.parametrize("use", [descend, pytest.param(flow, marks=pytest.mark.slow)], ids=lambda use: use.__name__)
def test_what_is_alive_is_compiled_once(use):
    """The second use calls the loss only to find its shapes."""
    first, second = calls_of_loss(use)
    assert second <= 1 < first


def test_training_is_compiled_once():
    calls = itertools.count()

    def f(params, x):
        next(calls)
        return x @ params

    options = {"optimizer": optax.sgd(0.1), "num_steps": 2}
    dynamics.train(f, np.ones(2), X, Y, **options)
    first = next(calls)
    dynamics.train(f, np.zeros(2), X, Y, **options)
    assert next(calls) - first - 1 <= 1 < first
