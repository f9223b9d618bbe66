"""Eigenvalues of a kernel matrix, and numbers computed from them (theory.md 7.1).

A kernel is a symmetric (N, N) matrix, positive semidefinite up to rounding. Effective rank and dimension count negative
eigenvalues as 0.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ntk.checks import as_positive_number, as_symmetric


def eigenvalues(kernel: Float[ArrayLike, "N N"]) -> Float[Array, " N"]:
    """The eigenvalues of a symmetric kernel, in descending order.

    Args:
        kernel: (N, N), float32 or float64. Asymmetry by rounding is averaged out.

    Returns:
        (N,). Zero eigenvalues are computed to within about N ε of the largest, with either sign.

    Raises:
        TypeError: `kernel` is not an array of float32 or float64.
        ValueError: `kernel` is not square, not symmetric or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> print(eigenvalues(jnp.array([[2.0, 1.0], [1.0, 2.0]])))
        [3. 1.]
    """
    return _eigenvalues(as_symmetric("kernel", kernel))


def effective_rank(kernel: Float[ArrayLike, "N N"]) -> Float[Array, ""]:
    """exp(H(p)) with H the Shannon entropy and p the eigenvalues over their sum (theory.md 7.1; Roy & Vetterli 2007).

    It is 1 for a kernel of rank one, N for a multiple of the identity, and 0 for the zero kernel.

    Args:
        kernel: (N, N), float32 or float64.

    Returns:
        A scalar.

    Raises:
        TypeError: `kernel` is not an array of float32 or float64.
        ValueError: `kernel` is not square, not symmetric or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{effective_rank(jnp.eye(3)):.4f}")
        3.0000
    """
    return _effective_rank(as_symmetric("kernel", kernel))


def effective_dimension(kernel: Float[ArrayLike, "N N"], ridge: Real[ArrayLike, ""]) -> Float[Array, ""]:
    """The degrees of freedom of kernel ridge regression, tr K (K + ridge·I)⁻¹ = Σ_i λ_i/(λ_i + ridge) (Zhang 2005).

    The ridge is not multiplied by N: if a source writes K + Nλ, pass Nλ. The zero kernel has dimension 0.

    Args:
        kernel: (N, N), float32 or float64.
        ridge: A positive number.

    Returns:
        A scalar between 0 and N.

    Raises:
        TypeError: `kernel` is not an array of float32 or float64.
        ValueError: `kernel` is not square, not symmetric or not finite, or the ridge is not one positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> print(effective_dimension(jnp.diag(jnp.array([9.0, 1.0, 0.0])), 1.0))  # 0.9 + 0.5 + 0
        1.4
    """
    kernel = as_symmetric("kernel", kernel)
    return _effective_dimension(kernel, as_positive_number("ridge", ridge, kernel.dtype))


def condition_number(kernel: Float[ArrayLike, "N N"]) -> Float[Array, ""]:
    """The ratio λ_max/λ_min of the largest and the smallest eigenvalue.

    A kernel counts as singular if λ_min is at most N ε λ_max, where rounding hides the difference from 0. Its condition
    number is inf. Kernels of duplicate inputs and the zero kernel are singular.

    Args:
        kernel: (N, N), float32 or float64.

    Returns:
        A scalar.

    Raises:
        TypeError: `kernel` is not an array of float32 or float64.
        ValueError: `kernel` is not square, not symmetric or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> print(condition_number(jnp.array([[2.0, 1.0], [1.0, 2.0]])), condition_number(jnp.ones((2, 2))))
        3.0 inf
    """
    return _condition_number(as_symmetric("kernel", kernel))


@jax.jit
def _eigenvalues(kernel: jax.Array) -> jax.Array:
    return jnp.linalg.eigvalsh(kernel)[::-1]


def _nonnegative_eigenvalues(kernel: jax.Array) -> jax.Array:
    return jnp.maximum(_eigenvalues(kernel), 0)


@jax.jit
def _effective_rank(kernel: jax.Array) -> jax.Array:
    spectrum = _nonnegative_eigenvalues(kernel)
    p = spectrum / jnp.where(spectrum[0] > 0, jnp.sum(spectrum), 1)
    # 0 log 0 = 0. The derivative of the logarithm at 0 is left out.
    entropy = -jnp.sum(p * jnp.log(jnp.where(p > 0, p, 1)))
    return jnp.where(spectrum[0] > 0, jnp.exp(entropy), 0)


@jax.jit
def _effective_dimension(kernel: jax.Array, ridge: jax.Array) -> jax.Array:
    spectrum = _nonnegative_eigenvalues(kernel)
    return jnp.sum(spectrum / (spectrum + ridge))


@jax.jit
def _condition_number(kernel: jax.Array) -> jax.Array:
    spectrum = _eigenvalues(kernel)
    singular = spectrum[-1] <= len(spectrum) * jnp.finfo(kernel.dtype).eps * spectrum[0]
    return jnp.where(singular, jnp.inf, spectrum[0] / jnp.where(singular, 1, spectrum[-1]))
