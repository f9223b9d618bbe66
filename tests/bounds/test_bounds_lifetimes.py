"""Arrays in the closures of risks, classes and networks are freed with them. Each function is compiled once."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from held import is_let_go

from bounds.networks.lipschitz import lipschitz_lower_estimate
from bounds.networks.pattern_fitting import fitted_dichotomies
from bounds.pac_bayes.gaussian_posterior import posterior_risks
from bounds.rademacher import LinearBall, rademacher_complexity
from bounds.reports.entries import Classifier, pac_bayes_entries

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)
X = np.array([[1.0, 2.0], [0.5, -1.0]])


def of_network(scale):
    def network(w, x):
        return scale()[0] * jnp.tanh(x @ w)

    return lambda step: lipschitz_lower_estimate(network, np.ones(2), X, 2, step)


def of_draws(scale):
    def draw(key):
        return LinearBall(scale()[0] * jax.random.normal(key, (3, 1)))

    return lambda step: rademacher_complexity(draw, jax.random.key(int(10 * step)), 4)


def of_risk(scale):
    def risk(w, x):
        return scale()[0] * jnp.mean((x @ w < 0).astype(x.dtype))

    return lambda step: posterior_risks(risk, np.ones(2), X, step, KEY, num_draws=2)


def of_report(scale):
    def apply(w, x):
        return scale()[0] * (x @ w)

    classifier = Classifier(
        apply=apply,
        params=np.ones(2),
        x=X,
        labels=jnp.array([1, -1]),
        margins=np.ones(2),
        test_margins=None,
        one_output=True,
        architecture=None,
        gram=None,
        ridge=0.0,
        delta=0.1,
    )
    return lambda step: pac_bayes_entries(classifier, np.zeros(2), KEY, (step,), num_draws=2)


def of_model(scale):
    class Model:
        def init(self, key, x):
            return jax.random.normal(key, (2,))

        def apply(self, w, x):
            return scale()[0] * (x @ w)

    model = Model()
    return lambda step: fitted_dichotomies(model, X, np.ones((1, 2)), KEY, steps=2, learning_rate=step)


# Adam (Optax) promotes on its own.
USES = [of_network, of_draws, of_risk, of_report, pytest.param(of_model, marks=pytest.mark.implicit_promotion)]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_nothing_of_a_function_is_held(use):
    assert is_let_go(lambda a: use(lambda: a)(0.1))


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_what_is_alive_is_compiled_once(use):
    """Counted by how often the function is called: for tracing, and for a look at its shapes."""
    calls = itertools.count()

    def scale():
        next(calls)
        return np.ones(1)

    call = use(scale)
    call(0.1)
    first = next(calls)
    call(0.2)
    assert next(calls) - first - 1 <= 1 < first
