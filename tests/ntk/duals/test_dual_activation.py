"""`activation`: names, identity, the functions themselves, and what it refuses."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_quadrature import QUADRATURES
from dual_reference import CLOSED_FORMS, FUNCTIONS

from ntk.duals import Activation, activation

NAMES = sorted({*CLOSED_FORMS, *QUADRATURES})


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    act = activation(name)
    assert isinstance(act, Activation)
    assert act.name == name
    assert activation(name) == act
    assert hash(activation(name)) == hash(act)
    assert activation(act) is act


def test_different_activations_differ():
    assert len({activation(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_functions_are_what_they_are_called(name, dtype):
    x = jnp.asarray([[-3.0, -0.5, 0.0], [1e-3, 0.7, 2.5]], dtype)
    got = activation(name).fn(x)
    assert got.dtype == dtype
    # A few roundings.
    np.testing.assert_allclose(
        got, FUNCTIONS[name](x.astype("float64")), rtol=2e-6 if dtype == "float32" else 1e-14, atol=1e-12
    )
    assert activation(name).fn(x[0, 0]).shape == ()


def test_activation_is_static_under_jit():
    """It may be closed over, passed as a static argument, and live in a pytree."""

    def dual(act, q):
        return act.dual(q, q, q)

    assert jax.jit(dual, static_argnums=0)(activation("relu"), 2.0) == 1.0
    assert jax.jit(dual)(activation("relu"), 2.0) == 1.0
    assert jax.tree.leaves(activation("relu")) == []


@pytest.mark.slow
def test_the_same_function_is_the_same_activation():
    def fn(x):
        return jnp.tanh(2.0 * x)

    assert activation(fn) == activation(fn)
    assert hash(activation(fn)) == hash(activation(fn))
    assert activation(fn) != activation(fn, breakpoints=(0.0, 1.0))
    assert activation(fn).name == "fn"


@pytest.mark.parametrize("name", NAMES)
def test_named_maps_report_the_rounding_they_have(name):
    act = activation(name)
    q = jnp.array([0.1, 0.3, 1.0, 3.0, 10.0])
    for f, estimate in zip((act.dual, act.dual_derivative), act.error_estimate(q, q / 2, q), strict=True):
        scale = np.asarray(f(q, q, q))
        # Rounding level is 1e-15 relative; the logistic family adds what its representation leaves.
        assert (np.asarray(estimate) <= (1e-8 if name in QUADRATURES else 1e-12) * scale).all()
        assert ((np.asarray(estimate) > 0) | (scale == 0)).all()


def test_unknown_name_is_answered_with_the_names():
    with pytest.raises(ValueError, match=r"'rellu'.*expected one of") as caught:
        activation("rellu")
    for name in NAMES:
        assert name in str(caught.value)


@pytest.mark.parametrize("thing", [3, None, 1.5, ["relu"], jnp.ones(3)])
def test_neither_a_name_nor_a_function(thing):
    # Without the checks of annotations that conftest adds, since these would refuse first.
    with pytest.raises(TypeError, match=r"^activation is .*; expected a name or a function"):
        inspect.unwrap(activation)(thing)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jnp.stack([x, x]),
        lambda x: jnp.sum(x),
        lambda x: jnp.cumsum(x, axis=-1),
        lambda x: jax.nn.softmax(x),
        lambda x: x - jnp.mean(x),
        lambda x: (x, x),
        lambda x: "text",
        lambda x, y: x + y,
        lambda x: x[0],
        lambda x: 1j * x,
        lambda x: x > 0,
        lambda x: jnp.zeros(7),
    ],
)
def test_functions_that_are_not_coordinate_wise(fn):
    with pytest.raises((ValueError, TypeError), match="expected a function that acts on each entry alone"):
        activation(fn)


@pytest.mark.parametrize(
    ("covariance", "argument"),
    [
        ((-1.0, 0.0, 1.0), "q11"),
        ((1.0, 0.0, -1e-3), "q22"),
        ((jnp.nan, 0.0, 1.0), "q11"),
        ((1.0, jnp.nan, 1.0), "q12"),
        ((1.0, 0.0, jnp.inf), "q22"),
        ((1.0, 1.5, 1.0), "q12"),
        ((1.0, -1.001, 1.0), "q12"),
        ((0.0, 0.1, 1.0), "q12"),
    ],
)
@pytest.mark.parametrize("method", ["dual", "dual_derivative", "error_estimate"])
def test_arguments_that_are_not_a_covariance_are_refused(method, covariance, argument):
    with pytest.raises(ValueError, match=rf"^{argument} .*expected"):
        getattr(activation("relu"), method)(*covariance)


@pytest.mark.parametrize("name", [*NAMES, pytest.param(jnp.tanh, marks=pytest.mark.slow)])
def test_nan_passes_through_a_transformation(name):
    """Values cannot be checked there. This includes maps that do not depend on every entry, such as that of `sign`."""
    act = activation(name)
    covariances = jnp.array([[jnp.nan, 0.0, 1.0], [1.0, jnp.nan, 1.0], [1.0, 0.0, jnp.nan]])
    found = jax.jit(jax.vmap(lambda q: (act.dual(*q), act.dual_derivative(*q))))(covariances)
    assert np.isnan(found).all()


def test_dtypes_that_are_not_real_numbers(plain):
    with pytest.raises(TypeError, match=r"q11 is \(1\+0j\); expected a real number or array"):
        plain.activation("relu").dual(1.0 + 0j, 0.0, 1.0)


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\).*expected"):
        activation("relu").dual(jnp.ones(2), jnp.zeros(3), jnp.ones(3))
