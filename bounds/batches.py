"""The number of similar computations to run at once: enough for efficient products, with little memory."""

import math
from collections.abc import Callable

import jax
from jaxtyping import PyTree

from ntk.jaxprs import aval_of, equations

NUMBERS_AT_ONCE = 2**22


def batch_size(numbers_each: int, total: int) -> int:
    """How many of `total` computations to run at once, if each holds `numbers_each` numbers in memory."""
    return min(max(1, NUMBERS_AT_ONCE // max(1, numbers_each)), total)


def numbers_made(function: Callable[..., PyTree], *arguments: PyTree) -> int:
    """How many numbers all steps of a function compute: an upper bound on the numbers in memory at one time."""
    shapes = jax.eval_shape(lambda *leaves: leaves, *arguments)  # tracers have shapes too
    steps = equations(jax.make_jaxpr(function)(*shapes).jaxpr)
    return sum(math.prod(aval_of(made).shape) for equation, _ in steps for made in equation.outvars)
