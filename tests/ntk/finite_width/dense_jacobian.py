"""The plain way: Jacobians of the whole batch, flattened over parameters, contracted by one einsum."""

import jax
import numpy as np


def dense_jacobians(f, params, x):
    """For every floating-point leaf, (N, *outputs, size of the leaf)."""
    J = jax.jit(jax.jacrev(lambda params: f(params, x), allow_int=True))(params)
    shape = jax.eval_shape(f, params, x).shape
    floating = [leaf for leaf in jax.tree.leaves(J) if leaf.dtype != jax.dtypes.float0]
    return [np.asarray(leaf, np.float64).reshape(*shape, -1) for leaf in floating]


def dense_ntk(f, params, x1, x2=None, *, equation="ip,jp->ij"):
    """The kernel in the contraction that the equation states, nothing averaged."""
    J1 = np.concatenate(dense_jacobians(f, params, x1), axis=-1)
    J2 = J1 if x2 is None else np.concatenate(dense_jacobians(f, params, x2), axis=-1)
    return np.einsum(equation, J1, J2)


def assert_equal(found, expected, tolerance=1e-12):
    """Within rounding of the largest entry: sums of at most some thousand products in float64."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
