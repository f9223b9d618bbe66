"""What the estimators on data share: their arguments looked at, and norms that are differentiable at 0."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntk.checks import as_floating, as_symmetric, check_finite, check_nonnegative, is_concrete

# Relative to the largest entry. Rounding of any kernel lies far below, a matrix that is no kernel far above.
_TOLERANCE = 1e-2
# The same for float64 numbers, of which some were rounded to float32 on their way.
_HOST_TOLERANCE = 1e-5
# Relative to the largest eigenvalue: no negative one beyond this is rounding.
NEGATIVE = 1e-4
_REAL = (jnp.floating, jnp.integer)


def as_data(name: str, array: Any, shape: str) -> jax.Array:
    """`array` as a finite JAX array of float32 or float64, with as many axes as `shape` names, such as "(m, d)"."""
    array = as_floating(name, array)
    if array.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(f"{name} has dtype {array.dtype}; expected float32 or float64.")
    if array.ndim != _num_axes(shape) or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape} with no empty axis.")
    check_finite(name, array)
    return array


def as_host_array(name: str, array: Any, shape: str) -> np.ndarray:
    """`array` in float64 on the host, finite and not traced, with as many axes as `shape` names."""
    return as_host_numbers(name, array, shape).astype(np.float64)


def as_host_numbers(name: str, array: Any, shape: str) -> np.ndarray:
    """`array` as `as_host_array` has it, but integers stay integers, of which float64 does not hold every one."""
    if not is_concrete(array):
        raise TypeError(f"{name} is traced by JAX; expected {shape} real numbers: this is computed on the host.")
    numbers = np.asarray(array)
    if not any(jnp.issubdtype(numbers.dtype, kind) for kind in _REAL):
        raise TypeError(f"{name} has dtype {numbers.dtype}; expected real numbers.")
    if numbers.ndim != _num_axes(shape) or numbers.size == 0:
        raise ValueError(f"{name} has shape {numbers.shape}; expected {shape} with no empty axis.")
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} holds entries that are NaN or infinite; expected finite numbers.")
    return numbers if jnp.issubdtype(numbers.dtype, jnp.integer) else numbers.astype(np.float64)


def as_gram(name: str, gram: Any) -> jax.Array:
    """`gram` as a finite JAX array (m, m), symmetric up to rounding, with |K_ij|² ≤ K_ii K_jj if concrete."""
    gram = as_symmetric(name, gram, size="m")
    if is_concrete(gram):
        with jax.ensure_compile_time_eval():
            lowest, excess, scale = map(float, jax.device_get(_against_its_diagonal(gram)))
        if lowest < 0:
            raise ValueError(f"{name} has {lowest:.2g} on its diagonal; expected a positive semidefinite matrix.")
        if excess > _TOLERANCE * scale:
            raise ValueError(
                f"{name} has an entry K_ij with |K_ij| beyond sqrt(K_ii K_jj) by {excess:.2g}; expected a positive"
                " semidefinite matrix."
            )
    return gram


def as_host_gram(name: str, gram: Any) -> np.ndarray:
    """`gram` in float64 on the host, (m, m) and symmetric, for those who look at its eigenvalues themselves."""
    numbers = as_host_array(name, gram, "(m, m)")
    if numbers.shape[0] != numbers.shape[1]:
        raise ValueError(f"{name} has shape {numbers.shape}; expected (m, m) with m at least 1.")
    asymmetry, scale = np.abs(numbers - numbers.T).max(), np.abs(numbers).max()
    if asymmetry > _HOST_TOLERANCE * scale:
        raise ValueError(
            f"{name} differs from its transpose by {asymmetry:.2g}, with entries up to {scale:.2g}; expected a"
            " symmetric matrix."
        )
    return (numbers + numbers.T) / 2


def check_spectrum(name: str, smallest: Any, largest: Any, shift: Any = 0.0) -> None:
    """Refuse the eigenvalues of a matrix that is no kernel: negative ones beyond rounding, if they are concrete.

    Both ends are those of the matrix with `shift` added to its diagonal.
    """
    if not is_concrete((smallest, largest, shift)):
        return
    low, high, added = float(smallest), float(largest), float(shift)
    if low - added < -NEGATIVE * max(high, -low):
        raise ValueError(
            f"{name} has the eigenvalue {low - added:.2g}, and {high - added:.2g} at the other end; expected a positive"
            " semidefinite matrix."
        )


@jax.jit
def _against_its_diagonal(gram: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The smallest diagonal entry, how far an entry exceeds what the diagonal allows, and the largest entry."""
    roots = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    entries = jnp.abs(gram)
    return jnp.min(jnp.diagonal(gram)), jnp.max(entries - roots[:, None] * roots), jnp.max(entries)


def as_nonnegative_scalar(name: str, value: Any, dtype: Any) -> jax.Array:
    """One finite number of at least 0, which may be traced, in the dtype of the data."""
    try:
        valid = np.shape(value) == () and any(jnp.issubdtype(jnp.result_type(value), kind) for kind in _REAL)
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"{name} is {value!r}; expected one real number.")
    check_nonnegative(name, value)
    return jnp.asarray(value, dtype)


def _num_axes(shape: str) -> int:
    return len(shape.strip("(),").split(","))


def square_root(x: jax.Array) -> jax.Array:
    """√max(x, 0), with derivative 0 where x is not positive; NaN stays NaN."""
    positive = ~(x <= 0)
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def scale_of(x: jax.Array, axis: int | None = None) -> jax.Array:
    """The largest absolute value, axes kept, as a constant by which x may be divided before it is squared.

    Neither it nor its reciprocal is subnormal, which XLA would take for 0; it is positive where x is zero.
    """
    tiny = float(jnp.finfo(x.dtype).tiny)
    return jnp.clip(lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=True)), tiny, 1 / tiny)


def euclidean_norm(x: jax.Array, axis: int | None = None) -> jax.Array:
    """‖x‖₂ of the whole array or along one axis: its squares neither over- nor underflow, its derivative at 0 is 0."""
    scale = scale_of(x, axis)
    return jnp.squeeze(scale, axis) * square_root(jnp.sum((x / scale) ** 2, axis=axis))
