"""Whether something keeps alive what a function of the user closes over."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def is_let_go(use: Callable[[jax.Array], Any]) -> bool:
    """Whether an array dies after `use`, which makes a function that closes over it and hands this on."""
    array = jnp.linspace(0.5, 1.0, 1000)
    held = weakref.ref(array)
    jax.block_until_ready(use(array))
    del array
    gc.collect()
    return held() is None
