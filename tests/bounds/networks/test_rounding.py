"""Random errors of rounding: none at zero units, of the size of what cancels, in every number and once for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM

from bounds.networks.rounding import rounded_at_random

KEYS = jax.random.split(jax.random.key(0), 500)
EPS = np.finfo("float32").eps


@jax.jit
def network(params, x):
    """With inner programs, a custom derivative, and an output of integers."""
    hidden = jax.nn.relu(x @ params["w"]) + jax.nn.softplus(params["b"])[None]
    return {"output": hidden.sum(-1), "signs": jnp.sign(hidden).astype("int32")}


def test_without_errors_it_is_the_function():
    params, x = {"w": jnp.arange(6.0).reshape(2, 3) - 2.5, "b": jnp.ones(3)}, jnp.ones((4, 2))
    expected, found = network(params, x), rounded_at_random(network, (params, x), KEYS[0], 0.0)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for leaf, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, exact)


@pytest.mark.parametrize(
    ("function", "scale"),
    [
        (lambda x: (x + 1e4) - 1e4, 1e4),  # of a number that is made on the way,
        (jax.jit(lambda x: (x + 1e4) - 1e4), 1e4),  # also within another program
        (lambda x: x - x, 0.0),  # of one number, which is moved once
        (lambda x: 2 * x, 2.0 * 2**0.5),  # twice: x, and the result
    ],
)
def test_the_spread_is_that_of_uniform_errors(function, scale):
    """Standard deviation 1/√3 of the largest error; 500 draws tell it to within an eighth (four standard errors)."""
    moved = jax.vmap(lambda key: rounded_at_random(function, (jnp.float32(1.0),), key, 64.0))(KEYS)
    expected = scale * 64 * EPS / 3**0.5
    # Four standard errors.
    np.testing.assert_allclose(np.std(moved), expected, rtol=0.13, atol=CLOSED_FORM["float64"])
