"""Refusals at the door: each names the argument, its value and what is expected.

Shapes, dtypes and static numbers are always checked. Values are checked when they are concrete; under `jit`,
`vmap`, `grad` and `export` they cannot be, and NaN or inf propagates.
"""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(*arrays: Any) -> bool:
    """Whether every leaf of the arguments has a value that can be looked at now."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse a `value` that is not one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}.")


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Refuse a `value` that is not an integer of at least `minimum`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} is {value!r}; expected an integer of at least {minimum}.")


def as_floating(name: str, array: Any) -> jax.Array:
    """`array` as a JAX array; refused where it is none or its dtype is not a real floating-point type."""
    try:
        array = jnp.asarray(array)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {array!r}; expected an array of real floating-point numbers.") from None
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {array.dtype}; expected a real floating-point array.")
    return array


def check_finite(name: str, array: Any) -> None:
    """Refuse a concrete array that holds NaN or inf."""
    if is_concrete(array):
        with jax.ensure_compile_time_eval():  # counted on the device, one number comes back
            bad = int(jnp.sum(~jnp.isfinite(array)))
        if bad:
            raise ValueError(f"{name} holds {bad} entries that are NaN or infinite; expected finite numbers.")


def check_nonnegative(name: str, value: Any) -> None:
    """Refuse a concrete number or array with an entry that is negative or not finite."""
    if is_concrete(value):
        numbers = np.asarray(value)
        if not np.all(np.isfinite(numbers)) or np.any(numbers < 0):
            raise ValueError(f"{name} is {value!r}; expected a finite number that is not negative.")


def check_representable(**results: jax.Array) -> None:
    """Refuse concrete results that have left the range of their dtype; one transfer from the device for all of them."""
    if not is_concrete(results):
        return
    with jax.ensure_compile_time_eval():
        all_finite = jax.device_get(_all_finite(results))
    for name, finite in all_finite.items():
        if not finite:
            dtype = results[name].dtype
            raise ValueError(
                f"{name} exceeds {float(jnp.finfo(dtype).max):.1e}, the range of {dtype}; expected results within it:"
                " smaller inputs or standard deviations, less depth, or float64."
            )


def check_results(results: dict[str, jax.Array], arguments: Callable[[], dict[str, Any]]) -> None:
    """Refuse concrete results that are not finite: for an argument that is not finite, or for their range.

    `arguments` names them; it is called only if something is to be refused.
    """
    try:
        check_representable(**results)
    except ValueError:
        for name, argument in arguments().items():
            check_finite(name, argument)
        raise


@jax.jit
def _all_finite(arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: jnp.isfinite(array).all() for name, array in arrays.items()}
