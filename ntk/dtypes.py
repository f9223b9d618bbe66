"""Where arrays of several dtypes meet: promoted on purpose, also where the user has JAX refuse what is implicit."""

from typing import Any

import jax
import jax.numpy as jnp


def common_dtype(*of: Any) -> jnp.dtype:
    """The dtype that JAX promotes these arrays, numbers or dtypes to, whatever `jax_numpy_dtype_promotion` is.

    Example:
        >>> import jax.numpy as jnp
        >>> common_dtype(jnp.ones(3, jnp.float16), jnp.float32)
        dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*of)
