"""Singular values of many matrices in one program. On CPU a batch is a loop over its matrices.

jaxlib 0.10 spreads LAPACK's batches over the threads of the pool that runs the program. With as many devices as threads
this ends in a deadlock.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def svd(matrix: Float[Array, "in out"]) -> tuple[Float[Array, "in k"], Float[Array, " k"], Float[Array, "k out"]]:
    """U, σ and Vᵀ, k = min(in, out).

    Example:
        >>> _, values, _ = jax.vmap(svd)(jnp.array([[[0.0, 2.0], [1.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]]))
        >>> print(values)
        [[2. 1.]
         [3. 0.]]
    """
    return lax.platform_dependent(matrix, cpu=_one_svd_at_a_time, default=_svd)


def singular_values(matrix: Float[Array, "in out"]) -> Float[Array, " k"]:
    """σ without U and V, in a fraction of the time.

    Example:
        >>> print(singular_values(jnp.array([[0.0, 2.0], [1.0, 0.0]])))
        [2. 1.]
    """
    return lax.platform_dependent(matrix, cpu=_values_one_at_a_time, default=_values)


def _svd(matrix: Array) -> tuple[Array, Array, Array]:
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    return left, values, right


def _values(matrix: Array) -> Array:
    return jnp.linalg.svd(matrix, compute_uv=False)


_one_svd_at_a_time = jax.custom_batching.sequential_vmap(_svd)
_values_one_at_a_time = jax.custom_batching.sequential_vmap(_values)
