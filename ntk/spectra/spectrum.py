"""What the spectrum of a kernel matrix says.

A kernel is a symmetric (N, N) matrix, positive semidefinite up to rounding. Where a number needs the latter,
negative eigenvalues count as 0. All but `eigenvalues` have a value for the zero kernel, stated with each.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ntk.checks import as_positive, as_symmetric


def eigenvalues(kernel: ArrayLike) -> jax.Array:
    """The eigenvalues of a symmetric kernel, in descending order.

    Args:
        kernel: (N, N), float32 or float64. What is asymmetric in it by rounding is averaged out.

    Returns:
        (N,). Those that are 0 come out as rounding leaves them, of either sign: within about N ε of the largest.

    Raises:
        TypeError: kernel is not an array of float32 or float64.
        ValueError: It is not square, not symmetric or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> print(eigenvalues(jnp.array([[2.0, 1.0], [1.0, 2.0]])))
        [3. 1.]
    """
    return _eigenvalues(as_symmetric("kernel", kernel))


def effective_rank(kernel: ArrayLike) -> jax.Array:
    """exp(H(p)), H the Shannon entropy of the eigenvalues divided by their sum, p (Roy & Vetterli 2007).

    Between 1, for a kernel of rank one, and N, for a multiple of the identity. 0 for the zero kernel.

    Args:
        kernel: (N, N), float32 or float64.

    Returns:
        A scalar.

    Raises:
        TypeError: kernel is not an array of float32 or float64.
        ValueError: It is not square, not symmetric or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{effective_rank(jnp.eye(3)):.4f}")
        3.0000
    """
    return _effective_rank(as_symmetric("kernel", kernel))


def effective_dimension(kernel: ArrayLike, ridge: ArrayLike) -> jax.Array:
    """The degrees of freedom of kernel ridge regression, tr K (K + ridge·I)⁻¹ = Σ_i λ_i/(λ_i + ridge) (Zhang 2005).

    The ridge is added as it is: where a source writes K + Nλ, pass Nλ. 0 for the zero kernel.

    Args:
        kernel: (N, N), float32 or float64.
        ridge: A positive number.

    Returns:
        A scalar between 0 and N.

    Raises:
        TypeError: kernel is not an array of float32 or float64.
        ValueError: It is not square, not symmetric or not finite, or the ridge is not one positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> print(effective_dimension(jnp.diag(jnp.array([9.0, 1.0, 0.0])), 1.0))  # 0.9 + 0.5 + 0
        1.4
    """
    kernel = as_symmetric("kernel", kernel)
    return _effective_dimension(kernel, as_positive("ridge", ridge, kernel.dtype))


def condition_number(kernel: ArrayLike) -> jax.Array:
    """The ratio λ_max/λ_min of the largest and the smallest eigenvalue.

    It is inf for a singular kernel, such as that of equal inputs or the zero kernel: where λ_min is at most N ε λ_max,
    which rounding does not tell from 0.

    Args:
        kernel: (N, N), float32 or float64.

    Returns:
        A scalar.

    Raises:
        TypeError: kernel is not an array of float32 or float64.
        ValueError: It is not square, not symmetric or not finite.

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
    # 0 log 0 = 0, without the derivative of the logarithm there.
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
