"""Checks of the arguments of estimators on data, and norms that are differentiable at 0."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from ntk.checks import (
    as_floating,
    as_numpy,
    as_symmetric,
    check_finite,
    check_nonnegative,
    is_concrete,
)

# How far an entry K_ij of a kernel may exceed √(K_ii K_jj), relative to the largest entry. Rounding stays far below
# this.
_TOLERANCE = 1e-2
# How far a kernel in float64 may differ from its transpose, relative to the largest entry. It may have been float32
# before.
_HOST_TOLERANCE = 1e-5
# How negative an eigenvalue may be through rounding, relative to the largest one.
NEGATIVE = 1e-4
Scalar = float | np.floating | jax.Array


def as_data(name: str, array: object, shape: str) -> jax.Array:
    """`array` as a finite JAX array of float32 or float64, with as many axes as `shape` names, such as "(m, d)"."""
    data = as_floating(name, array)
    as_stack(name, data, shape)
    if data.ndim != _num_axes(shape):
        raise ValueError(f"{name} has shape {data.shape}; expected {shape}.")
    check_finite(name, data)
    return data


def as_stack(name: str, array: object, shape: str) -> jax.Array | jax.ShapeDtypeStruct:
    """`array` or its abstract shape, with at least as many axes as `shape` names; its values are not checked."""
    stack = array if isinstance(array, jax.ShapeDtypeStruct) else as_floating(name, array)
    if stack.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(f"{name} has dtype {stack.dtype}; expected float32 or float64.")
    if stack.ndim < _num_axes(shape) or stack.size == 0:
        raise ValueError(f"{name} has shape {stack.shape}; expected {shape} with no empty axis.")
    return stack


def as_gram_stack(name: str, gram: object) -> jax.Array | jax.ShapeDtypeStruct:
    """`gram` or its abstract shape, (…, m, m); its values are not checked."""
    stack = as_stack(name, gram, "(m, m)")
    if stack.shape[-2] != stack.shape[-1]:
        raise ValueError(f"{name} has shape {stack.shape}; expected (m, m) with m at least 1.")
    return stack


def as_radius(name: str, radius: object) -> object:
    """`radius`, one number or a stack of them, or its abstract shape; refused where it is concrete and negative."""
    if isinstance(radius, jax.ShapeDtypeStruct):
        return radius
    check_nonnegative(name, radius)
    return jnp.asarray(radius) if isinstance(radius, list | tuple) else radius


def as_host_array(name: str, array: object, shape: str) -> np.ndarray:
    """`array` in float64 on the host, finite and not traced, with as many axes as `shape` names."""
    return as_host_numbers(name, array, shape).astype(np.float64)


def as_host_numbers(name: str, array: object, shape: str) -> np.ndarray:
    """Like `as_host_array`, but integers stay integers, since float64 cannot represent all of them."""
    if not is_concrete(array):
        raise TypeError(f"{name} is traced by JAX; expected {shape} real numbers: this is computed on the host.")
    numbers = as_numpy(name, array, f"real numbers of shape {shape}")
    if numbers.ndim != _num_axes(shape) or numbers.size == 0:
        raise ValueError(f"{name} has shape {numbers.shape}; expected {shape} with no empty axis.")
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} holds entries that are NaN or infinite; expected finite numbers.")
    return numbers if jnp.issubdtype(numbers.dtype, jnp.integer) else numbers.astype(np.float64)


def as_gram(name: str, gram: object) -> jax.Array:
    """`gram` as a finite JAX array (m, m), symmetric up to rounding, with |K_ij|² ≤ K_ii K_jj if concrete."""
    matrix = as_symmetric(name, gram, size="m")
    if is_concrete(matrix):
        with jax.ensure_compile_time_eval():
            lowest, excess, scale = map(float, jax.device_get(_against_its_diagonal(matrix)))
        if lowest < 0:
            raise ValueError(f"{name} has {lowest:.2g} on its diagonal; expected a positive semidefinite matrix.")
        if excess > _TOLERANCE * scale:
            raise ValueError(
                f"{name} has an entry K_ij with |K_ij| beyond sqrt(K_ii K_jj) by {excess:.2g}; expected a positive"
                " semidefinite matrix."
            )
    return matrix


def as_host_gram(name: str, gram: object) -> np.ndarray:
    """`gram` in float64 on the host, (m, m) and symmetric; its eigenvalues are not checked."""
    numbers = as_host_array(name, gram, "(m, m)")
    if numbers.shape[0] != numbers.shape[1]:
        raise ValueError(f"{name} has shape {numbers.shape}; expected (m, m) with m at least 1.")
    asymmetry, scale = np.abs(numbers - numbers.T).max(), np.abs(numbers).max()
    if asymmetry > _HOST_TOLERANCE * scale:
        raise ValueError(
            f"{name} differs from its transpose by {asymmetry:.2g}, with entries up to {scale:.2g}; expected a"
            " symmetric matrix."
        )
    mean: np.ndarray = (numbers + numbers.T) / 2
    return mean


def check_spectrum(name: str, smallest: Scalar, largest: Scalar, shift: Scalar = 0.0) -> None:
    """Refuse a spectrum with an eigenvalue that is negative beyond rounding; traced ones are not checked.

    Args:
        name: What a message calls the matrix.
        smallest: The smallest eigenvalue of the matrix with `shift` added to its diagonal.
        largest: The largest eigenvalue of the same matrix.
        shift: The number that was added.
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
    return jnp.min(jnp.diagonal(gram)), jnp.max(entries - roots[:, None] * roots[None, :]), jnp.max(entries)


def as_labels(name: str, labels: Any, shape: str) -> jax.Array:
    """Labels or signs as a JAX array of integers or floating-point numbers, with as many axes as `shape` names."""
    if is_concrete(labels):
        labels = as_numpy(name, labels, f"real numbers of shape {shape}")
    if labels.ndim != _num_axes(shape):
        raise ValueError(f"{name} has shape {labels.shape}; expected {shape}.")
    return jnp.asarray(labels)


def _num_axes(shape: str) -> int:
    return len(shape.strip("(),").split(","))


def square_root(x: jax.Array) -> jax.Array:
    """√max(x, 0), with derivative 0 where x is not positive; NaN stays NaN."""
    positive = ~(x <= 0)
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def epsilon(dtype: DTypeLike) -> float:
    """The machine epsilon ε of a dtype: the distance from 1 to the next larger number."""
    return float(jnp.finfo(dtype).eps)


def scale_of(x: jax.Array, axis: int | None = None) -> jax.Array:
    """The largest absolute value of x, with its axes kept. Divided by it, x can be squared without overflow.

    It is a constant for derivatives, and positive where x is zero. It and its reciprocal are normal numbers, since XLA
    replaces subnormal numbers by 0.
    """
    tiny = float(jnp.finfo(x.dtype).tiny)
    return jnp.clip(lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=True)), tiny, 1 / tiny)


def euclidean_norm(x: jax.Array, axis: int | None = None) -> jax.Array:
    """‖x‖₂ of the whole array or along one axis. Squares do not overflow or underflow; the derivative at 0 is 0."""
    norm: jax.Array = _euclidean_norm(x, axis)
    return norm


@jax.jit(static_argnums=1, inline=True)
def _euclidean_norm(x: jax.Array, axis: int | None) -> jax.Array:
    scale = scale_of(x, axis)
    return jnp.squeeze(scale, axis) * square_root(jnp.sum((x / scale) ** 2, axis=axis))
