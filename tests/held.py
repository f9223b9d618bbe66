"""Whether something keeps arrays in the closure of a user's function alive."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def is_let_go(use: Callable[[jax.Array], Any]) -> bool:
    """Whether an array is freed after `use`, which passes on a function with this array in its closure."""
    array = jnp.linspace(0.5, 1.0, 1000)
    held = weakref.ref(array)
    jax.block_until_ready(use(array))
    del array
    gc.collect()
    return held() is None
