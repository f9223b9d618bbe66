"""The plain way: Jacobians of the whole batch, flattened over parameters, contracted by one einsum."""

from typing import NamedTuple

import jax
import numpy as np
from tolerances import CLOSED_FORM


class Dense(NamedTuple):
    """The Jacobians of a function at the inputs of both sides, (N, *outputs, parameters)."""

    J1: np.ndarray
    J2: np.ndarray

    def ntk(self, equation, one_batch=False):
        """The kernel in the contraction that the equation states, nothing averaged."""
        return np.einsum(equation, self.J1, self.J1 if one_batch else self.J2)


def dense(f, params, x1, x2):
    """Of a function of each input by itself: the Jacobians of both sides, by one program."""
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), x1, x2)
    J = np.concatenate(dense_jacobians(f, params, both), axis=-1)
    num1 = len(jax.tree.leaves(x1)[0])
    return Dense(J[:num1], J[num1:])


def dense_jacobians(f, params, x):
    """For every trained leaf, (N, *outputs, size of the leaf)."""
    J = jax.jit(jax.jacrev(lambda params: f(params, x), allow_int=True))(params)
    shape = jax.eval_shape(f, params, x).shape
    leaves = jax.tree_util.tree_leaves_with_path(J)
    trained = [leaf for path, leaf in leaves if leaf.dtype != jax.dtypes.float0 and not is_state(path)]
    return [np.asarray(leaf, np.float64).reshape(*shape, -1) for leaf in trained]


def is_state(path):
    """Whether a leaf of the model zoo is a statistic of a batch normalization, of Linen or of NNX."""
    keys = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    return not {"batch_stats", "mean", "var"}.isdisjoint(keys)


def dense_ntk(f, params, x1, x2=None, *, equation="ip,jp->ij"):
    """The kernel in the contraction that the equation states, nothing averaged; of two batches, each by itself."""
    J1 = np.concatenate(dense_jacobians(f, params, x1), axis=-1)
    J2 = J1 if x2 is None else np.concatenate(dense_jacobians(f, params, x2), axis=-1)
    return np.einsum(equation, J1, J2)


def assert_equal(found, expected, tolerance=CLOSED_FORM["float64"]):
    """Within rounding of the largest entry: sums of at most some thousand products in float64."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
