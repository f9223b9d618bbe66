"""Explicit promotion of dtypes, which also works while JAX refuses implicit promotion."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike


def common_dtype(*of: ArrayLike | DTypeLike) -> jnp.dtype:
    """The dtype to which JAX promotes these arrays, numbers or dtypes. `jax_numpy_dtype_promotion` does not change it.

    Example:
        >>> import jax.numpy as jnp
        >>> common_dtype(jnp.ones(3, jnp.float16), jnp.float32)
        dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*of)


def of_one_dtype(*arrays: jax.Array) -> list[jax.Array]:
    """The arrays, all cast to their common dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> [array.dtype.name for array in of_one_dtype(jnp.ones(3, jnp.float16), jnp.ones(2, jnp.float32))]
        ['float32', 'float32']
    """
    dtype = common_dtype(*arrays)
    return [array.astype(dtype) for array in arrays]


def wide(dtype: DTypeLike) -> jnp.dtype:
    """A floating-point dtype, or float32 if it is narrower.

    Example:
        >>> wide("bfloat16")
        dtype('float32')
    """
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def at_least_float32(x: jax.Array) -> jax.Array:
    """The array, cast to float32 if its dtype is narrower.

    Example:
        >>> import jax.numpy as jnp
        >>> at_least_float32(jnp.ones(3, jnp.bfloat16)).dtype
        dtype('float32')
    """
    return x.astype(wide(x.dtype))
