"""Checks of arguments. Each refusal names the argument, its value and what is expected.

Shapes, dtypes and static numbers are always checked. Values are checked if they are concrete. Under `jit`, `vmap`,
`grad` and `export` values cannot be checked, and NaN or inf propagates.
"""

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PyTree

# Relative to the largest entry. The rounding of a kernel lies far below it. Other matrices lie far above it.
_SYMMETRY_TOLERANCE = 1e-2
# The largest number to which JAX counts the steps of a loop or the rows of an array.
MOST_STEPS = 2**31 - 1
# The most that a message shows of a value: characters, bits of an integer, entries of an array.
_LONGEST, _MOST_BITS, _MOST_ENTRIES = 100, 256, 8


def is_concrete(*arrays: object) -> bool:
    """Whether every leaf of the arguments has a value that can be looked at now."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))


def shown(value: object) -> str:
    """A value in one short line, as a message names it."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, np.ndarray | jax.Array) and value.size > _MOST_ENTRIES:
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = " ".join(repr(value).split())
    if len(text) <= _LONGEST:
        return text
    return (
        text[:_LONGEST] + " …" if isinstance(value, str | Collection) else f"an object of type {type(value).__name__}"
    )


def check_choice(name: str, value: object, choices: Collection[str | int | float]) -> None:
    """Refuse a `value` that is not one of `choices`."""
    # `in` returns an array if the value is an array, and fails if the value is a list, which has no hash.
    if not isinstance(value, str | int | float | np.generic) or value not in choices:
        raise ValueError(f"{name} is {shown(value)}; expected one of {', '.join(map(repr, choices))}.")


def check_count(name: str, value: object, minimum: int = 1, maximum: int | None = None) -> None:
    """Refuse a `value` that is not an integer from `minimum` to `maximum`; None means no maximum."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} is {shown(value)}; expected an integer of at least {minimum}.")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} is {shown(value)}; expected an integer of at most {maximum}.")


def check_sizes(width: object, outputs: object) -> None:
    """Refuse a width or a number of outputs that is not a positive integer; `outputs` may be None."""
    check_count("width", width)
    if outputs is not None:
        check_count("outputs", outputs)


def check_key(key: object) -> None:
    """Refuse a `key` that is not one PRNG key, typed or raw."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if (typed and shape != ()) or (not typed and (dtype != jnp.uint32 or len(shape or ()) != 1)):
        raise TypeError(f"key is {shown(key)}; expected one PRNG key, such as jax.random.key(0).")


def check_flag(name: str, value: object) -> None:
    """Refuse a `value` that is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}; expected True or False.")


def as_floating(name: str, array: object) -> jax.Array:
    """`array` as a JAX array of real floating-point numbers; anything else is refused."""
    array = _as_array(name, array, "an array of real floating-point numbers")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {array.dtype}; expected a real floating-point array.")
    return array


def as_real(name: str, array: object) -> jax.Array:
    """`array` as a JAX array of real numbers, floating-point or integer; anything else is refused."""
    array = _as_array(name, array, "real numbers")
    if not jnp.issubdtype(array.dtype, jnp.floating) and not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers.")
    return array


def _as_array(name: str, array: object, expected: str) -> jax.Array:
    """`array` as a JAX array. `Kernels`, masked arrays and objects that are not arrays are refused."""
    if hasattr(array, "ntk") and hasattr(array, "nngp"):
        raise TypeError(f"{name} is {type(array).__name__}, kernels of several kinds; expected one: pass kernels.ntk.")
    if np.ma.is_masked(array):
        raise TypeError(f"{name} is a masked array; expected {expected}, none of them masked.")
    try:
        return jnp.asarray(array)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {shown(array)}; expected {expected}.") from None


def as_arrays(name: str, tree: PyTree) -> PyTree:
    """A pytree with its leaves as JAX arrays. A leaf that JAX cannot convert is refused."""
    try:
        return jax.tree.map(jnp.asarray, tree)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {shown(tree)}; expected an array or a pytree of arrays.") from None


def as_number(name: str, value: object, dtype: DTypeLike, allowed: Callable[[float], bool], expected: str) -> jax.Array:
    """One number in a dtype. A concrete number that is not `allowed` in that dtype is refused.

    Args:
        name: The argument's name.
        value: A number, or an array of shape (); concrete or traced.
        dtype: The dtype of the result.
        allowed: Whether a number may be passed.
        expected: The numbers that are allowed, in words.

    Raises:
        TypeError: The value is not a real number.
        ValueError: The value is an array with axes, or a number that is not allowed.
    """
    if not is_concrete(value):
        number = as_real(name, value)
        if number.shape != ():
            raise ValueError(f"{name} has shape {number.shape}; expected {expected}.")
        return number.astype(dtype)
    given = as_numpy(name, value, expected)
    if given.shape != ():
        raise ValueError(f"{name} has shape {given.shape}; expected {expected}.")
    with np.errstate(over="ignore"):
        rounded = given.astype(dtype)
    if not allowed(float(rounded)):
        where = f" in {rounded.dtype}" if allowed(float(given)) else ""
        raise ValueError(f"{name} is {shown(value)}; expected {expected}{where}.")
    return jnp.asarray(rounded)


def as_positive_number(name: str, value: object, dtype: DTypeLike) -> jax.Array:
    """One finite positive number in a dtype, concrete or traced."""
    return as_number(name, value, dtype, lambda number: 0 < number < np.inf, "one finite positive number")


def as_nonnegative_number(name: str, value: object, dtype: DTypeLike) -> jax.Array:
    """One finite number that is not negative in a dtype, concrete or traced."""
    expected = "one finite number that is not negative"
    return as_number(name, value, dtype, lambda number: 0 <= number < np.inf, expected)


def check_finite(name: str, array: object) -> None:
    """Refuse a concrete array that holds NaN or inf."""
    if is_concrete(array):
        with jax.ensure_compile_time_eval():  # counted on the device, so that one number is transferred
            bad = int(_num_not_finite(array))
        if bad:
            raise ValueError(f"{name} holds {bad} entries that are NaN or infinite; expected finite numbers.")


@jax.jit
def _num_not_finite(array: jax.Array) -> jax.Array:
    return jnp.sum(~jnp.isfinite(array))


def check_nonnegative(name: str, value: object) -> None:
    """Refuse a concrete number or array with an entry that is negative, not finite or not a real number."""
    if is_concrete(value):
        numbers = as_numpy(name, value, "a finite number that is not negative")
        if not np.all(np.isfinite(numbers)) or np.any(numbers < 0):
            raise ValueError(f"{name} is {shown(value)}; expected a finite number that is not negative.")


def as_numpy(name: str, value: object, expected: str) -> np.ndarray:
    """A concrete number or array as an array of NumPy; anything but real numbers is refused."""
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError):  # a list of unequal lists
        raise TypeError(f"{name} is {shown(value)}; expected {expected}.") from None
    if not jnp.issubdtype(numbers.dtype, jnp.floating) and not jnp.issubdtype(numbers.dtype, jnp.integer):
        given = f"has dtype {numbers.dtype}" if isinstance(value, np.ndarray | jax.Array) else f"is {shown(value)}"
        raise TypeError(f"{name} {given}; expected {expected}.")
    return numbers


def check_representable(**results: jax.Array) -> None:
    """Refuse concrete results that have left the range of their dtype, after one transfer from the device."""
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


def check_results(results: dict[str, jax.Array], arguments: Callable[[], dict[str, object]]) -> None:
    """Refuse concrete results that are not finite. The message names an argument that is not finite, or the range.

    Args:
        results: The results by name.
        arguments: Returns the arguments by name. It is called only if a result is refused.
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


def as_symmetric(name: str, matrix: object, size: str = "N") -> jax.Array:
    """`matrix` as a finite JAX array (N, N) of float32 or float64, symmetric up to rounding if concrete."""
    matrix = as_floating(name, matrix)
    if matrix.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(f"{name} has dtype {matrix.dtype}; expected float32 or float64.")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"{name} has shape {matrix.shape}; expected ({size}, {size}) with {size} at least 1.")
    check_finite(name, matrix)
    if is_concrete(matrix):
        with jax.ensure_compile_time_eval():
            asymmetry, scale = jax.device_get(_asymmetry(matrix))
        if asymmetry > _SYMMETRY_TOLERANCE * scale:
            raise ValueError(
                f"{name} differs from its transpose by {asymmetry:.2g}, with entries up to {scale:.2g}; expected a"
                " symmetric matrix."
            )
    return matrix


@jax.jit
def _asymmetry(kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.max(jnp.abs(kernel - kernel.T)), jnp.max(jnp.abs(kernel))
