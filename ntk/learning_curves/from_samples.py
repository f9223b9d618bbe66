"""The test error of kernel ridge regression, estimated from the training sample alone (theory.md 7.8)."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ntk.checks import is_concrete, shown
from ntk.dynamics.linear_algebra.problems import KernelProblem, checked_problem
from ntk.linalg import highest_matmul


def leave_one_out_residuals(
    k_train_train: Float[ArrayLike, "N N"],
    y_train: Float[ArrayLike, "N ..."],
    *,
    ridge: Real[ArrayLike, ""],
    relative_ridge: bool = False,
) -> Float[Array, "N ..."]:
    """y_i − f_{−i}(ξ_i), where f_{−i} is fitted to the other N − 1 points with the same ridge (theory.md 7.8).

    It takes one inverse of K + ρI and no further fit.

    Args:
        k_train_train: K, (N, N), shared by the outputs, of float32 or float64.
        y_train: (N,) or (N, O).
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Returns:
        (N,) or (N, O), like `y_train`.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, the kernel is not symmetric, the ridge is negative, or
            K + ρI is not positive definite in its dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> k, y = jnp.array([[1.0, 0.5], [0.5, 1.0]]), jnp.array([1.0, 0.0])
        >>> print(ntk.leave_one_out_residuals(k, y, ridge=1.0))  # 1 − 0, and 0 − 0.5/2
        [ 1.   -0.25]
    """
    problem = checked_problem(k_train_train, y_train, ridge, relative_ridge, shared=True)
    residuals = _leave_one_out(problem.matrix, problem.targets)
    _check_definite(residuals, problem, ridge)
    return problem.layout.values(residuals, ())


def kernel_alignment_risk(
    k_train_train: Float[ArrayLike, "N N"],
    y_train: Float[ArrayLike, "N ..."],
    *,
    ridge: Real[ArrayLike, ""],
    relative_ridge: bool = False,
) -> Float[Array, ""]:
    """An estimate of the mean squared error at new samples, [yᵀ(K+ρ)⁻²y/N] / [tr (K+ρ)⁻¹/N]² (theory.md 7.8).

    It is the kernel alignment risk estimator (KARE) of Jacot et al. 2020 (arXiv:2006.09796), and the generalized
    cross-validation of Craven & Wahba 1978. The targets carry their noise, and so does the estimated error.

    Args:
        k_train_train: K, (N, N), shared by the outputs, of float32 or float64.
        y_train: (N,) or (N, O).
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Returns:
        A scalar: the mean over outputs.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, the kernel is not symmetric, the ridge is negative, or
            K + ρI is not positive definite in its dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> risk = ntk.kernel_alignment_risk(jnp.eye(2), jnp.array([1.0, 3.0]), ridge=1.0)
        >>> print(f"{risk:.4f}")  # (1² + 3²)/4/2 over (1/2)²
        5.0000
    """
    problem = checked_problem(k_train_train, y_train, ridge, relative_ridge, shared=True)
    risk = _kernel_alignment_risk(problem.matrix, problem.targets)
    _check_definite(risk, problem, ridge)
    return risk


def _check_definite(result: Array, problem: KernelProblem, ridge: object) -> None:
    if is_concrete(result) and not jnp.isfinite(result).all():
        raise ValueError(
            f"k_train_train with ridge {shown(ridge)} is not positive definite in {problem.given_in}; expected a larger"
            " ridge or float64 (see ntk.dynamics.condition_report)."
        )


def _inverse(matrix: Float[Array, "N N"]) -> Float[Array, "N N"]:
    factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
    return jax.scipy.linalg.cho_solve(factor, jnp.eye(len(matrix), dtype=matrix.dtype))


@jax.jit
def _leave_one_out(matrix: Float[Array, "N N"], targets: Float[Array, "N c"]) -> Float[Array, "N c"]:
    inverse = _inverse(matrix)
    return highest_matmul(inverse, targets) / jnp.diag(inverse)[:, None]


@jax.jit
def _kernel_alignment_risk(matrix: Float[Array, "N N"], targets: Float[Array, "N c"]) -> Float[Array, ""]:
    inverse = _inverse(matrix)
    return jnp.mean(highest_matmul(inverse, targets) ** 2) / jnp.mean(jnp.diag(inverse)) ** 2
