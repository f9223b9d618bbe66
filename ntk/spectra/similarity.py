"""How alike two kernels are, or a kernel and the targets.

A kernel is a symmetric (N, N) matrix, positive semidefinite up to rounding. Each number has a value for the zero
kernel, stated with it.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ntk.checks import as_floating, as_symmetric, check_finite, check_flag
from ntk.linalg import highest_matmul


def alignment(kernel1: ArrayLike, kernel2: ArrayLike, *, centered: bool = True) -> jax.Array:
    """⟨K₁, K₂⟩_F/(‖K₁‖_F ‖K₂‖_F) of the centred kernels H K H, H = I − 11ᵀ/N (Cortes, Mohri & Rostamizadeh 2012).

    Centred it is also known as linear CKA (Kornblith et al. 2019); with `centered=False` it is the alignment of
    Cristianini et al. 2001.

    Args:
        kernel1: (N, N), float32 or float64.
        kernel2: Likewise.
        centered: Whether to centre both kernels first.

    Returns:
        A scalar, between 0 and 1 for positive semidefinite kernels. 0 where either is zero; when centred, a multiple of
        11ᵀ is.

    Raises:
        TypeError: A kernel is not an array of float32 or float64.
        ValueError: A kernel is not square, not symmetric or not finite, or they differ in size.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.diag(jnp.array([1.0, 2.0, 3.0]))
        >>> shifted = kernel + 1.0
        >>> print(f"{alignment(kernel, shifted):.4f} {alignment(kernel, shifted, centered=False):.4f}")
        1.0000 0.9035
    """
    check_flag("centered", centered)
    return _alignment(*_checked_pair(kernel1, kernel2), bool(centered))


def target_alignment(kernel: ArrayLike, y: ArrayLike, *, centered: bool = True) -> jax.Array:
    """The `alignment` of a kernel with the one of the targets, y yᵀ (Cristianini et al. 2001; Cortes et al. 2012).

    Args:
        kernel: (N, N), float32 or float64.
        y: (N,) or (N, O), of the same kinds; labels of classes as one-hot rows or signs.
        centered: Whether to centre both kernels first, as in the second source.

    Returns:
        A scalar between 0 and 1. 0 where y is zero or, when centred, the same for all inputs.

    Raises:
        TypeError: An array is not one of float32 or float64.
        ValueError: The kernel is not square, not symmetric or not finite, or y does not have its N rows.

    Example:
        >>> import jax.numpy as jnp
        >>> y = jnp.array([1.0, 1.0, -1.0])
        >>> print(f"{target_alignment(jnp.outer(y, y), y):.4f} {target_alignment(jnp.eye(3), y, centered=False):.4f}")
        1.0000 0.5774
    """
    check_flag("centered", centered)
    kernel = as_symmetric("kernel", kernel)
    y = as_floating("y", y)
    if y.ndim not in (1, 2) or len(y) != len(kernel):
        raise ValueError(f"y has shape {y.shape}; expected ({len(kernel)},) or ({len(kernel)}, O) as the kernel has.")
    check_finite("y", y)
    return _target_alignment(kernel, y, bool(centered))


def kernel_distance(kernel1: ArrayLike, kernel2: ArrayLike) -> jax.Array:
    """1 − ⟨K₁, K₂⟩_F/(‖K₁‖_F ‖K₂‖_F), the kernel distance of Fort et al. 2020, without centring.

    Computed as ½ ‖K₁/‖K₁‖ − K₂/‖K₂‖‖², which keeps its digits where the kernels are nearly the same.

    Args:
        kernel1: (N, N), float32 or float64.
        kernel2: Likewise.

    Returns:
        A scalar: 0 for multiples of each other, at most 1 for positive semidefinite kernels. 1 where either is zero.

    Raises:
        TypeError: A kernel is not an array of float32 or float64.
        ValueError: A kernel is not square, not symmetric or not finite, or they differ in size.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{kernel_distance(jnp.eye(2), jnp.ones((2, 2))):.4f}")  # 1 − √½
        0.2929
    """
    return _kernel_distance(*_checked_pair(kernel1, kernel2))


@jax.jit(static_argnums=2)
def _alignment(kernel1: jax.Array, kernel2: jax.Array, centered: bool) -> jax.Array:
    return jnp.sum(_unit(kernel1, centered) * _unit(kernel2, centered))


@jax.jit(static_argnums=2)
def _target_alignment(kernel: jax.Array, y: jax.Array, centered: bool) -> jax.Array:
    y = _divided(y, _largest(y)).reshape(len(y), -1)
    return _alignment(kernel, highest_matmul(y, y.T), centered)


@jax.jit
def _kernel_distance(kernel1: jax.Array, kernel2: jax.Array) -> jax.Array:
    unit1, unit2 = _unit(kernel1, centered=False), _unit(kernel2, centered=False)
    either_is_zero = (_largest(kernel1) == 0) | (_largest(kernel2) == 0)
    return jnp.where(either_is_zero, 1, jnp.sum((unit1 - unit2) ** 2) / 2)


def _unit(kernel: jax.Array, centered: bool) -> jax.Array:
    """The kernel, centred or not, divided by its Frobenius norm; zero if it is zero up to rounding."""
    kernel = _divided(kernel, _largest(kernel))  # so that squares stay within the range of the dtype
    # What the roundings of the entries amount to, and of the means, which are taken twice to be as good.
    rounding = 4 * jnp.finfo(kernel.dtype).eps * jnp.sqrt(jnp.sum(lax.stop_gradient(kernel) ** 2))
    for _ in range(2 if centered else 0):
        kernel = kernel - jnp.mean(kernel, axis=0, keepdims=True)
        kernel = kernel - jnp.mean(kernel, axis=1, keepdims=True)
    squared = jnp.sum(kernel**2)
    is_zero = squared <= rounding**2
    # Without the derivative of the square root at 0.
    return jnp.where(is_zero, 0, kernel / jnp.sqrt(jnp.where(is_zero, 1, squared)))


def _largest(array: jax.Array) -> jax.Array:
    """The largest absolute value, a constant: what is divided by it does not depend on the scale in the end."""
    return lax.stop_gradient(jnp.max(jnp.abs(array)))


def _divided(array: jax.Array, scale: jax.Array) -> jax.Array:
    return array / jnp.where(scale == 0, 1, scale)


def _checked_pair(kernel1: ArrayLike, kernel2: ArrayLike) -> tuple[jax.Array, jax.Array]:
    kernel1, kernel2 = as_symmetric("kernel1", kernel1), as_symmetric("kernel2", kernel2)
    if kernel1.shape != kernel2.shape:
        raise ValueError(f"kernel2 has shape {kernel2.shape}; expected {kernel1.shape} as kernel1 has.")
    return kernel1, kernel2
