"""Computing in float64 on the host, whatever the dtype and the device of the arrays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.checks import is_concrete


def computed(float64: bool, dtype: Any, f: Callable[..., Any], *arguments: Any) -> Any:
    """F of pytrees of arrays; by request in float64 on the CPU, and the results in `dtype` where JAX puts them.

    Raises:
        ValueError: float64 is asked for under a transformation.
    """
    if not float64:
        return f(*arguments)
    check_concrete(*arguments)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        results = jax.tree.map(np.asarray, f(*in_double(arguments)))
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), results)


def check_concrete(*arguments: Any) -> None:
    """Refuse arrays without values where float64 is asked for."""
    if not is_concrete(arguments):
        raise ValueError("float64 is True under jit, vmap or grad; expected arrays with values, or x64 to be enabled.")


def in_double(tree: Any) -> Any:
    """The arrays of a pytree on the host, in float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)
