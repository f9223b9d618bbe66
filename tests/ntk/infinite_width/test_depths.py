"""The kernels of fewer layers from those of more: `infinite_kernels(…).up_to(depth)`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import REORDERED

import ntk

X = np.random.default_rng(0).normal(size=(3, 4))
X2 = np.concatenate([X[:1], -X[:1], 0 * X[:1]])  # a duplicate, an opposite and a zero input
DEPTH = 3


def network(activation, depth=DEPTH, w_std=1.3):
    return ntk.MLP(depth=depth, activation=activation, w_std=w_std, b_std=0.4, v_std=0.8)


@pytest.mark.parametrize(
    ("activation", "dtype"),
    [
        ("erf", "float32"),
        *(pytest.param(name, "float64", marks=pytest.mark.slow) for name in ("relu", "erf", "sign", "tanh")),
    ],
)
def test_kernels_are_those_of_the_network_of_that_depth(activation, dtype):
    """Where Ċ is 0 too, as for sign, which no quotient of D would tell."""
    x, x2 = X.astype(dtype), X2.astype(dtype)
    k = ntk.infinite_kernels(network(activation), x, x2)
    for depth in range(DEPTH + 1):
        found, expected = k.up_to(depth), ntk.infinite_kernels(network(activation, depth), x, x2)
        for name in ("ntk", "nngp", "C", "D", "C_dot"):
            kernel = np.asarray(getattr(expected, name))
            np.testing.assert_allclose(getattr(found, name), kernel, rtol=0, atol=REORDERED[dtype] * 10)
            assert getattr(found, name).dtype == dtype
    again = k.up_to(2).up_to(1)
    np.testing.assert_allclose(again.ntk, k.up_to(1).ntk, rtol=REORDERED[dtype])


@pytest.mark.slow
def test_derivatives_and_transformations():
    """Under jit, and the derivative in a standard deviation."""

    def theta(w_std):
        return ntk.infinite_kernels(network("erf", w_std=w_std), X).up_to(2).ntk

    def expected(w_std):
        return ntk.infinite_ntk(network("erf", depth=2, w_std=w_std), X)

    found = jax.jit(jax.jacfwd(theta))(1.3)
    np.testing.assert_allclose(found, jax.jacfwd(expected)(1.3), rtol=0, atol=REORDERED["float64"] * 100)
    both = jax.vmap(theta)(jnp.array([0.5, 1.3]))
    np.testing.assert_allclose(both[1], theta(1.3), rtol=REORDERED["float64"])


def test_refusals(plain):
    x = X[:, :2]
    k = plain.infinite_kernels(plain.MLP(depth=1), x)
    for depth, message in ((-1, "an integer of at least 0"), (2, "an integer of at most 1"), (1.0, "an integer")):
        with pytest.raises(ValueError, match=f"depth is {depth}; expected {message}"):
            k.up_to(depth)
    with pytest.raises(ValueError, match=r"those of some parameters; expected those of all, trained=None"):
        plain.infinite_kernels(plain.MLP(depth=1), x, trained="params/v").up_to(1)
