"""Similarity of two kernels, or of a kernel and targets (theory.md 7.2).

A kernel is a symmetric (N, N) matrix, positive semidefinite up to rounding.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntk.checks import as_floating, as_symmetric, check_finite, check_flag
from ntk.linalg import highest_matmul


def alignment(
    kernel1: Float[ArrayLike, "N N"], kernel2: Float[ArrayLike, "N N"], *, centered: bool = True
) -> Float[Array, ""]:
    """⟨K₁, K₂⟩_F/(‖K₁‖_F ‖K₂‖_F) of the centred kernels H K H, H = I − 11ᵀ/N (theory.md 7.2).

    The centred alignment (Cortes, Mohri & Rostamizadeh 2012) is also known as linear CKA (Kornblith et al. 2019). With
    `centered=False` the result is the alignment of Cristianini et al. 2001.

    Args:
        kernel1: (N, N), float32 or float64.
        kernel2: (N, N), float32 or float64.
        centered: Whether to centre both kernels first.

    Returns:
        A scalar, between 0 and 1 for positive semidefinite kernels. It is 0 if either kernel is zero, after centring if
        `centered`: a multiple of 11ᵀ is then zero.

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


def target_alignment(
    kernel: Float[ArrayLike, "N N"], y: Float[ArrayLike, " N *O"], *, centered: bool = True
) -> Float[Array, ""]:
    """The `alignment` of a kernel with the kernel of the targets, y yᵀ (Cristianini et al. 2001; Cortes et al. 2012).

    Args:
        kernel: (N, N), float32 or float64.
        y: (N,) or (N, O), float32 or float64. Write labels of classes as one-hot rows, or as signs.
        centered: Whether to centre both kernels first, as Cortes et al. do.

    Returns:
        A scalar between 0 and 1. It is 0 if y is zero or, when centred, if y is the same for all inputs.

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


def kernel_distance(kernel1: Float[ArrayLike, "N N"], kernel2: Float[ArrayLike, "N N"]) -> Float[Array, ""]:
    """1 − ⟨K₁, K₂⟩_F/(‖K₁‖_F ‖K₂‖_F), without centring (theory.md 7.2; Fort et al. 2020).

    It is computed as ½ ‖K₁/‖K₁‖ − K₂/‖K₂‖‖², which keeps its digits if the kernels are nearly the same.

    Args:
        kernel1: (N, N), float32 or float64.
        kernel2: (N, N), float32 or float64.

    Returns:
        A scalar. It is 0 for multiples of one kernel, at most 1 for positive semidefinite kernels, and 1 if either
        kernel is zero.

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
    # The norm of the rounding errors of the entries. The means are subtracted twice, so that their error is as small.
    rounding = 4 * jnp.finfo(kernel.dtype).eps * jnp.sqrt(jnp.sum(lax.stop_gradient(kernel) ** 2))
    for _ in range(2 if centered else 0):
        kernel = kernel - jnp.mean(kernel, axis=0, keepdims=True)
        kernel = kernel - jnp.mean(kernel, axis=1, keepdims=True)
    squared = jnp.sum(kernel**2)
    is_zero = squared <= rounding**2
    # The derivative of the square root at 0 is left out.
    return jnp.where(is_zero, 0, kernel / jnp.sqrt(jnp.where(is_zero, 1, squared)))


def _largest(array: jax.Array) -> jax.Array:
    """The largest absolute value, as a constant for derivatives. The results do not depend on this scale."""
    return lax.stop_gradient(jnp.max(jnp.abs(array)))


def _divided(array: jax.Array, scale: jax.Array) -> jax.Array:
    return array / jnp.where(scale == 0, 1, scale)


def _checked_pair(kernel1: Float[ArrayLike, "N N"], kernel2: Float[ArrayLike, "N N"]) -> tuple[jax.Array, jax.Array]:
    kernel1, kernel2 = as_symmetric("kernel1", kernel1), as_symmetric("kernel2", kernel2)
    if kernel1.shape != kernel2.shape:
        raise ValueError(f"kernel2 has shape {kernel2.shape}; expected {kernel1.shape} as kernel1 has.")
    return kernel1, kernel2
