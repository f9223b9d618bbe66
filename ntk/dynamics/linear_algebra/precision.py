"""Computing in float64 on the CPU, for arrays of any dtype on any device, with or without JAX's x64 flag."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ntk.checks import check_flag, is_concrete

Method = TypeVar("Method", bound=Callable[..., Any])


@contextlib.contextmanager
def working_precision(float64: bool, *arguments: Any) -> Iterator[None]:
    """If `float64` is True, enable x64 and make the CPU the default device. NumPy arrays then keep their float64.

    Raises:
        TypeError: float64 is neither True nor False.
        ValueError: float64 is True and an argument is traced.
    """
    check_flag("float64", float64)
    if not float64:
        yield
        return
    if not is_concrete(arguments):
        raise ValueError("float64 is True under jit, vmap or grad; expected arrays with values, or x64 to be enabled.")
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


def float64_on_request(method: Method) -> Method:
    """A decorator for methods of objects with `float64` and `dtype`.

    If `float64` is True, it computes in float64 and casts the results to `dtype`.
    """

    @functools.wraps(method)
    def computed(self: Any, *arguments: Any, **options: Any) -> Any:
        if not self.float64:
            return method(self, *arguments, **options)
        with working_precision(True, self, arguments, options):
            found = jax.tree.map(np.asarray, method(self, *on_host(arguments), **on_host(options)))
        dtype = jax.dtypes.canonicalize_dtype(self.dtype)
        return jax.tree.map(lambda array: jnp.asarray(array, dtype), found)

    return cast(Method, computed)


def on_host(tree: PyTree) -> PyTree:
    """The pytree with NumPy arrays in place of JAX arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def in_double(tree: PyTree) -> PyTree:
    """The pytree with its arrays as NumPy arrays of float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)
