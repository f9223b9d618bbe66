"""How hard labels are for a kernel: the complexity that tells true labels from random ones."""

import warnings

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from bounds.arrays import as_data, as_gram, check_spectrum, epsilon, euclidean_norm
from ntk.checks import as_floating, as_nonnegative_number, check_representable, is_concrete

_FEWEST_DIGITS = 3


def ntk_complexity(
    H: Shaped[ArrayLike, "n n"], y: Shaped[ArrayLike, "n ..."], ridge: ArrayLike = 0.0
) -> Float[Array, ""]:
    """√(2 yᵀ(H + ridge·I)⁻¹y/n) (Arora, Du, Hu, Li & Wang 2019, Theorem 5.1).

    Stated in theory.md 14.1. It is a measure: the theorem adds O(√(ln(n/(λ_min δ))/n)), without a constant. The theorem
    is for wide two-layer ReLU networks whose first layer is trained, inputs of norm 1, |y| ≤ 1 and a 1-Lipschitz loss
    in [0, 1], with H_ij = x_i·x_j (π − arccos x_i·x_j)/(2π) and no ridge. For any kernel, yᵀH⁻¹y is the squared norm of
    the smallest function that interpolates y.

    Args:
        H: (n, n), symmetric positive semidefinite, float32 or float64.
        y: (n,) or (n, O), targets such as labels −1 and 1; outputs add up.
        ridge: The number that is added to the diagonal. 0 is the paper's measure.

    Returns:
        A scalar. It is inf where H + ridge·I is singular in the dtype, that is λ_min ≤ n ε λ_max. There is a warning
        then, and if the condition number leaves fewer than three digits. Under a transformation there is none.

    Raises:
        TypeError: An array is not of float32 or float64.
        ValueError: A shape does not fit, an entry is not finite, H is not symmetric or has a negative eigenvalue, the
            ridge is not a number of at least 0, or the result leaves the range of the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.kernels.ntk_measures import ntk_complexity
        >>> H = jnp.array([[2.0, 1.0], [1.0, 2.0]])  # eigenvalues 3 and 1
        >>> print(f"{ntk_complexity(H, jnp.array([1.0, 1.0])):.4f} {ntk_complexity(H, jnp.array([1.0, -1.0])):.4f}")
        0.8165 1.4142
    """
    H, y = as_gram("H", H), as_floating("y", y)
    y = as_data("y", y, "(n, O)" if y.ndim == 2 else "(n,)")
    if len(y) != len(H):
        raise ValueError(f"y has {len(y)} rows; expected {len(H)} as H has.")
    ridge = as_nonnegative_number("ridge", ridge, H.dtype)
    complexity: Float[Array, ""]
    complexity, smallest, largest = _ntk_complexity(H, y.reshape(len(y), -1).astype(H.dtype), ridge)
    if is_concrete(complexity):
        check_spectrum("H", smallest, largest, shift=ridge)
        if not _is_singular(float(smallest), float(largest), H):
            check_representable(ntk_complexity=complexity)
    return complexity


@jax.jit
def _ntk_complexity(
    H: Float[Array, "n n"], y: Float[Array, "n O"], ridge: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The complexity and both ends of the spectrum of H + ridge·I."""
    n = len(H)
    shifted = (H + H.T) / 2 + ridge * jnp.eye(n, dtype=H.dtype)
    spectrum = jnp.linalg.eigvalsh(lax.stop_gradient(shifted))
    singular = spectrum[0] <= n * epsilon(H.dtype) * spectrum[-1]
    # The identity in place of a singular matrix, so that no derivative is NaN.
    factor = jnp.linalg.cholesky(jnp.where(singular, jnp.eye(n, dtype=H.dtype), shifted))
    solved = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
    return jnp.where(singular, jnp.inf, (2 / n) ** 0.5 * euclidean_norm(solved)), spectrum[0], spectrum[-1]


def _is_singular(smallest: float, largest: float, H: Float[Array, "n n"]) -> bool:
    """Whether H + ridge·I is singular in its dtype. There is a warning if it is, or if few digits are right."""
    eps = epsilon(H.dtype)
    advice = f"take float64 or a ridge near {10**_FEWEST_DIGITS * eps * largest:.1e}."
    singular = smallest <= len(H) * eps * largest
    if singular:
        warnings.warn(f"H + ridge·I is singular in {H.dtype}, so ntk_complexity is inf: {advice}", stacklevel=3)
    elif largest * eps > smallest * 10**-_FEWEST_DIGITS:
        warnings.warn(
            f"H + ridge·I has condition number {largest / smallest:.1e}, so fewer than {_FEWEST_DIGITS} digits of"
            f" ntk_complexity are right in {H.dtype}: {advice}",
            stacklevel=3,
        )
    return singular
