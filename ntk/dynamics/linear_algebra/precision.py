"""Computing in float64 on the host, whatever the dtype and the device of the arrays and JAX's x64 flag."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.checks import check_flag, is_concrete


@contextlib.contextmanager
def working_precision(float64: bool, *arguments: Any) -> Iterator[None]:
    """By request, x64 enabled and the CPU as the default device, so that float64 arrays of NumPy stay as they are.

    Raises:
        TypeError: float64 is neither True nor False.
        ValueError: float64 is asked for under a transformation, by one of the arguments.
    """
    check_flag("float64", float64)
    if not float64:
        yield
        return
    if not is_concrete(arguments):
        raise ValueError("float64 is True under jit, vmap or grad; expected arrays with values, or x64 to be enabled.")
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


def float64_on_request(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that computes in float64 if the object's `float64` is True; its results have the object's `dtype`."""

    @functools.wraps(method)
    def computed(self: Any, *arguments: Any, **options: Any) -> Any:
        if not self.float64:
            return method(self, *arguments, **options)
        with working_precision(True, self, arguments, options):
            found = jax.tree.map(np.asarray, method(self, *on_host(arguments), **on_host(options)))
        dtype = jax.dtypes.canonicalize_dtype(self.dtype)
        return jax.tree.map(lambda array: jnp.asarray(array, dtype), found)

    return computed


def on_host(tree: Any) -> Any:
    """JAX arrays as arrays of NumPy, and everything else as it is."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def in_double(tree: Any) -> Any:
    """The arrays of a pytree on the host, in float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)
