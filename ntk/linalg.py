"""Products at highest precision. By default TPUs and recent GPUs round the factors of float32 products.

Gram matrices and solvers use these. The passes of a user's own function keep the precision that JAX is set to.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

_HIGHEST = lax.Precision.HIGHEST


def highest_matmul(a: ArrayLike, b: ArrayLike) -> jax.Array:
    """The matrix product a b, as by `jax.numpy.matmul`.

    Args:
        a: (…, n, m), or (m,).
        b: (…, m, k), or (m,).

    Returns:
        (…, n, k). A vector a has no axis n, and a vector b has no axis k.

    Example:
        >>> import jax.numpy as jnp
        >>> print(highest_matmul(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 4.0])))
        [11.]
    """
    return jnp.matmul(a, b, precision=_HIGHEST)


def highest_einsum(subscripts: str, *operands: ArrayLike) -> jax.Array:
    """The sum of products that the subscripts state, as by `jax.numpy.einsum`.

    Args:
        subscripts: The axes of each operand and of the result, such as "ip,jp->ij".
        *operands: One array for each group of subscripts.

    Returns:
        An array with the axes after the arrow.

    Example:
        >>> import jax.numpy as jnp
        >>> print(highest_einsum("ip,jp->ij", jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0], [0.0, 1.0]])))
        [[11.  2.]]
    """
    return jnp.einsum(subscripts, *operands, precision=_HIGHEST)


def highest_tensordot(a: ArrayLike, b: ArrayLike, axes: int | Sequence[int] | Sequence[Sequence[int]]) -> jax.Array:
    """The product of two arrays summed over pairs of axes, as by `jax.numpy.tensordot`.

    Args:
        a: The first array.
        b: The second array.
        axes: The number of axes at the end of a and at the start of b to sum over; or the axes of a and the axes of b.

    Returns:
        An array with the remaining axes of a, then those of b.

    Example:
        >>> import jax.numpy as jnp
        >>> print(highest_tensordot(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]]), axes=(1, 1)))
        [[11.]]
    """
    return jnp.tensordot(a, b, axes=axes, precision=_HIGHEST)
