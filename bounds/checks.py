"""Checks of the arguments of closed-form bounds. They return NumPy numbers in float64, for computation on the host.

Each refusal names the argument, its value (of an array, the first value that is refused) and what is expected.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from ntk.checks import as_numpy, check_count, check_flag, is_concrete

Real = ArrayLike  # a real number of Python, or an array without axes of NumPy or JAX
Reals = ArrayLike | Sequence[ArrayLike | Sequence[ArrayLike]]  # a real number, or an array of them
Counts = ArrayLike | Sequence[ArrayLike]  # an integer, or an array of them
Result = float | np.ndarray  # a Python float where all arguments are numbers, else an array in float64
Float64 = np.ndarray | np.float64  # results of arithmetic on float64 arrays


def as_nonnegative(name: str, value: Reals) -> np.ndarray:
    """`value` in float64; refused where it is negative or not finite."""
    return _checked(name, value, lambda numbers: (numbers >= 0) & np.isfinite(numbers), "a finite number of at least 0")


def as_divergence(name: str, value: Reals) -> np.ndarray:
    """`value` in float64; refused where it is negative or NaN. It is a relative entropy and may be infinite."""
    return _checked(name, value, lambda numbers: numbers >= 0, "a number of at least 0")


def as_positive(name: str, value: Reals) -> np.ndarray:
    """`value` in float64; refused where it is not positive or not finite."""
    return _checked(name, value, lambda numbers: (numbers > 0) & np.isfinite(numbers), "a positive finite number")


def as_delta(name: str, value: Reals) -> np.ndarray:
    """`value` in float64; refused outside (0, 1). It is a probability of failure or a deviation."""
    expected = "a number between 0 and 1, both excluded"
    return _checked(name, value, lambda numbers: (numbers > 0) & (numbers < 1), expected)


def as_risk(name: str, value: Reals) -> np.ndarray:
    """`value` in float64; refused outside [0, 1]. It is a loss, a risk or a probability."""
    return _checked(name, value, lambda numbers: (numbers >= 0) & (numbers <= 1), "a number from 0 to 1")


def as_counts(name: str, value: Counts, minimum: int = 1) -> np.ndarray:
    """`value` in float64; refused where it is not an integer of at least `minimum`."""
    expected = f"an integer of at least {minimum}"
    if not isinstance(value, list | tuple | np.ndarray | jax.Array):
        value = float(as_count(name, value, minimum))
    elif is_concrete(value):
        numbers = as_numpy(name, value, expected)
        if not np.issubdtype(numbers.dtype, np.integer):
            raise TypeError(f"{name} has dtype {numbers.dtype}; expected integers of at least {minimum}.")
    return _checked(name, value, lambda numbers: numbers >= minimum, expected)


def as_count(name: str, value: Any, minimum: int = 1, bits: int = 1023) -> int:
    """`value` as a Python integer; refused where it is not one of at least `minimum`, or has more than `bits` bits."""
    check_count(name, value, minimum)
    if int(value).bit_length() > bits:
        raise ValueError(f"{name} has {int(value).bit_length()} bits; expected at most {bits}, for float64.")
    return int(value)


def as_scalar(as_checked: Callable[[str, Real], np.ndarray], name: str, value: Real) -> float:
    """One number, checked by a function of this module such as `as_delta`; refused where it is an array."""
    numbers = as_checked(name, value)
    if numbers.ndim:
        raise ValueError(f"{name} has shape {numbers.shape}; expected one number.")
    return float(numbers)


def log_count(name: str, value: int) -> float:
    """The logarithm of an integer of any size; refused where it is less than 1."""
    check_count(name, value)
    return math.log(int(value))


def log_events(delta: Reals, num_hypotheses: int, two_sided: bool) -> np.ndarray:
    """ln(2M/δ) if two-sided, else ln(M/δ): each of 2M or M events has the same share of δ."""
    log_delta = np.log(as_delta("delta", delta))
    return np.asarray(log_count("num_hypotheses", num_hypotheses) + log_sides(two_sided) - log_delta)


def log_sides(two_sided: bool) -> float:
    """The logarithm of the number of sides, 1 or 2, of a deviation."""
    check_flag("two_sided", two_sided)
    return math.log(2) if two_sided else 0.0


def broadcast(**arguments: Float64) -> list[np.ndarray]:
    """The arguments, broadcast to one shape; refused where they do not broadcast."""
    try:
        return list(np.broadcast_arrays(*arguments.values()))
    except ValueError:
        shapes = ", ".join(f"{name} has shape {np.shape(numbers)}" for name, numbers in arguments.items())
        raise ValueError(f"{shapes}; expected shapes that broadcast against each other.") from None


def plain(result: Float64) -> Result:
    """A Python number for a result without axes, else the array."""
    if np.ndim(result):
        return np.asarray(result)
    number: float = result.item()
    return number


def _checked(name: str, value: object, allowed: Callable[[np.ndarray], np.ndarray], expected: str) -> np.ndarray:
    if not is_concrete(value):
        raise TypeError(f"{name} is traced by JAX; expected {expected}: closed forms are computed on the host.")
    numbers = as_numpy(name, value, expected)
    refused = numbers[~allowed(numbers.astype(np.float64))]
    if refused.size:
        raise ValueError(f"{name} is {plain(refused[0])!r}; expected {expected}.")
    return numbers.astype(np.float64)
