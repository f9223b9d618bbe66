"""Arrays in the closure of a user's function are freed with it, and rebound values are noticed."""

import functools
import gc
import itertools
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from held import is_let_go
from tolerances import CLOSED_FORM

import ntk
from ntk.caches.rebinding import content

pytestmark = pytest.mark.slow

X = np.array([[1.0, 2.0], [0.5, -1.0]])
KEY = jax.random.key(0)


def activation_duals(a):
    return ntk.activation(lambda x: jnp.tanh(a[0] * x)).dual(1.0, 0.5, 1.0)


def error_estimates(a):
    act = ntk.activation(lambda x: jnp.tanh(a[0] * x), breakpoints=(0.5,))
    return act.error_estimate(1.0, 0.5, 1.0)


def networks(a):
    net = ntk.MLP(depth=1, activation=lambda x: jnp.sin(a[0] * x))
    params = ntk.finite(net, 4).init(KEY, X)
    ntk.infinite_kernels(net, X)
    jax.grad(lambda net: ntk.infinite_ntk(net, X).sum())(net)
    ntk.empirical_kernels(net, params, X)
    return ntk.empirical_ntk(ntk.finite(net, 4).apply, params, X)


def programs(a):
    @ntk.tensor_program
    def program(net, x, *, std=1.0):
        u, w = net.input_matrix("u", std) @ x, net.input_matrix("w") @ x
        scale = net.scalar(lambda q: jnp.where(q > -1.0, q * a[0], q))((u * u).mean())  # is looked at for jumps
        return net.output("v") @ net.watch("z", scale * net.phi(lambda u: jnp.sin(a[1] * u))(u + w))

    ntk.infinite_kernels(program, X)
    jax.grad(lambda std: ntk.infinite_ntk(program(std=std), X).sum())(1.0)
    params = ntk.finite(program, 4).init(KEY, X)
    return ntk.empirical_kernels(
        ntk.architectures.mixture(program, ntk.architectures.mlp),
        {
            **{f"1/{name}": leaf for name, leaf in params.items()},
            **{f"2/{name}": leaf for name, leaf in ntk.finite(ntk.architectures.mlp, 4).init(KEY, X).items()},
        },
        X,
    )


def sampled_programs(a):
    @ntk.tensor_program
    def program(net, x):
        u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
        return net.output("v") @ net.phi(lambda u, w: a[0] * u * w)(u, w)

    ntk.infinite_ntk(program, X, samples=256)
    ntk.infinite_ntk(program, X, samples=256, tile_size=1)
    return ntk.corrected_kernels(program, X, samples=512)


def empirical(a):
    def f(params, x):
        return jnp.tanh(x @ params) * a[0]

    params = jnp.ones((2, 3))
    ntk.empirical_ntk(f, params, X)
    ntk.ntk_diagonal(f, params, X)
    ntk.ntk_vector_product(f, params, X, None, jnp.ones((2, 3)))
    return ntk.sketched_ntk(f, params, X, num_projections=4, key=KEY)


def estimators(a):
    module = pytest.importorskip("ntk.estimators")
    net = ntk.MLP(depth=1, activation=lambda x: jnp.sin(a[0] * x))
    module.NNGPRegressor(net).fit(X, np.ones(2)).predict(X)
    return module.NTKRegressor(net).fit(X, np.ones(2)).predict(X)


# The same families in one call each.


def a_network(a):
    return ntk.infinite_ntk(ntk.MLP(depth=1, activation=lambda x: jnp.sin(a[0] * x)), X[:1])


def a_program(a):
    @ntk.tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        scale = net.scalar(lambda q: jnp.where(q > -1.0, q * a[0], q))((u * u).mean())  # is looked at for jumps
        return net.output("v") @ (scale * u)

    return ntk.infinite_ntk(program, X[:1])


def a_sampled_program(a):
    @ntk.tensor_program
    def program(net, x):
        u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
        return net.output("v") @ net.phi(lambda u, w: a[0] * u * w)(u, w)

    return ntk.infinite_ntk(program, X[:1], samples=256)


def an_estimator(a):
    module = pytest.importorskip("ntk.estimators")
    net = ntk.MLP(depth=1, activation=lambda x: jnp.sin(a[0] * x))
    return module.NNGPRegressor(net).fit(X[:1], np.ones(1)).predict(X[:1])


@pytest.mark.parametrize(
    "use",
    [
        *(activation_duals, error_estimates, empirical, a_network, a_program, a_sampled_program, an_estimator),
        *(pytest.param(use, marks=pytest.mark.slow) for use in (networks, programs, sampled_programs, estimators)),
    ],
    ids=lambda use: use.__name__,
)
def test_nothing_of_a_function_is_held(use):
    assert is_let_go(use)


def test_what_is_alive_is_compiled_once():
    """Counted by how often the function is called: for tracing only."""
    calls = itertools.count()

    def f(x):
        next(calls)
        return jnp.sin(x)

    results = [ntk.infinite_ntk(ntk.MLP(depth=1, activation=f), X)]
    before = next(calls)
    results += [ntk.infinite_ntk(ntk.MLP(depth=1, activation=f), X) for _ in range(3)]
    assert next(calls) == before + 1
    for again in results[1:]:
        np.testing.assert_array_equal(again, results[0])
    assert ntk.activation(f) is ntk.activation(f)


def test_methods_and_partial_functions_are_kept_by_their_objects():
    class Model:
        def __init__(self, a):
            self.a = a

        def apply(self, params, x):
            return self.a[0] * x @ params

    a = jnp.full(1000, 2.0)
    model, held = Model(a), weakref.ref(a)
    partial = functools.partial(lambda a, params, x: a[0] * x @ params, a)
    for f in (model.apply, partial):
        np.testing.assert_allclose(ntk.empirical_ntk(f, jnp.ones(2), X), 4 * X @ X.T, rtol=CLOSED_FORM["float64"])
    del model, partial, f, a
    gc.collect()
    assert held() is None


SCALE = 1.0


def scaled(x):
    return _times_scale(jnp.sin(x))


def _times_scale(x):
    return SCALE * x


@ntk.tensor_program
def scaled_program(net, x):
    return SCALE * (net.output("v") @ net.phi(scaled)(net.input_matrix("u") @ x))


def read_values():
    """A value of the activation, times SCALE, and the outputs of a network of the program, times SCALE²."""
    network = ntk.finite(scaled_program, 4)
    return ntk.activation(scaled).fn(jnp.ones(2)), network.apply(network.init(KEY, X), X)


def read_limits():
    """A dual map, times SCALE², and Θ of the program, times SCALE⁴."""
    return ntk.activation(scaled).dual(1.0, 0.5, 1.0), ntk.infinite_ntk(scaled_program, X)


@pytest.mark.parametrize(("read", "power"), [(read_values, 1), pytest.param(read_limits, 2, marks=pytest.mark.slow)])
def test_a_global_that_is_rebound_is_noticed(monkeypatch, read, power):
    """Through a function that is called, too; what was made before is what it was then."""
    act, before = ntk.activation(scaled), read()
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    for found, was, times in zip(read(), before, (power, 2 * power), strict=True):
        np.testing.assert_allclose(found, 3.0**times * was, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(act.fn(jnp.ones(3)), np.full(3, np.sin(1.0)), rtol=CLOSED_FORM["float64"])
    monkeypatch.undo()
    for found, was in zip(read(), before, strict=True):
        np.testing.assert_array_equal(found, was)


def test_a_variable_around_a_function_that_is_rebound_is_noticed():
    scale = 1.0

    @ntk.tensor_program
    def program(net, x):
        return scale * (net.output("v") @ net.phi(lambda u: scale * jnp.sin(u))(net.input_matrix("u") @ x))

    def f(x):
        return scale * jnp.sin(x)

    def read():
        network = ntk.finite(program, 4)
        return ntk.activation(f).fn(jnp.ones(2)), network.apply(network.init(KEY, X), X)

    before = read()
    scale = 2.0
    for found, was, factor in zip(read(), before, (2.0, 4.0), strict=True):
        np.testing.assert_allclose(found, factor * was, rtol=CLOSED_FORM["float64"])


def test_parts_of_a_mixture_are_noticed_too(monkeypatch):
    mixture = ntk.architectures.mixture(scaled_program, weights=[1.0])
    assert ntk.architectures.mixture(scaled_program).fn is mixture.fn
    network = ntk.finite(mixture, 4)
    params = network.init(KEY, X)
    before = network.apply(params, X)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    np.testing.assert_allclose(network.apply(params, X), 9.0 * before, rtol=CLOSED_FORM["float64"])


def test_contents_of_functions():
    """They are equal for equal code and equal values of any kind."""

    def function_of(value):
        return lambda: value

    values = [
        0,
        0.0,
        False,
        -0.0,
        "0",
        (0,),
        [0],
        {0},
        {"a": 0},
        range(2),
        range(3),
        None,
        jnp.ones(2),
        object(),
    ]
    contents = [content(function_of(value)) for value in values]
    assert contents == [content(function_of(value)) for value in values]
    assert len(set(contents)) == len(contents)
