"""Functions of users and of libraries, which may promote ranks and dtypes implicitly. Tests forbid that elsewhere."""

import functools
from collections.abc import Callable
from typing import Any

import jax


def as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function. Inside of it JAX promotes implicitly, as it does by default."""

    @functools.wraps(function)
    def promoting(*args: Any, **options: Any) -> Any:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **options)

    return promoting
