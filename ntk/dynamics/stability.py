"""What the spectrum of a kernel means for training: stable learning rates, and the accuracy of solves."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ntk.checks import is_concrete
from ntk.dynamics.linear_algebra.problems import checked_kernel, with_ridge
from ntk.dynamics.linear_algebra.spectral import check_semidefinite
from ntk.dynamics.results import ENOUGH_DIGITS
from ntk.dynamics.squared_loss import as_momentum
from ntk.spectra.spectrum import eigenvalues


def max_learning_rate(
    k_train_train: Float[ArrayLike, "N N ..."], *, momentum: Real[ArrayLike, ""] = 0.0
) -> Float[Array, ""]:
    """The learning rate 2(1 + β)/λ_max below which gradient descent on ½ Σ (f − y)² converges (Goh 2017).

    `neural_tangents` takes half the mean of squares over N points and O outputs: its largest rate is N·O times this.

    Args:
        k_train_train: Θ(X, X), (N, N) or (N, N, O, O).
        momentum: β, at least 0 and below 1.

    Returns:
        A scalar; inf for the zero kernel.

    Raises:
        TypeError: The kernel is not an array of float32 or float64.
        ValueError: The kernel is not square, not symmetric, not positive semidefinite or not finite, or the momentum is
            out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> print(dynamics.max_learning_rate(jnp.diag(jnp.array([1.0, 4.0]))))
        0.5
    """
    spectrum = eigenvalues(checked_kernel(k_train_train).matrix)
    beta = as_momentum(momentum, spectrum.dtype)
    if is_concrete(spectrum):
        check_semidefinite(float(spectrum[-1]), float(jnp.max(jnp.abs(spectrum))), spectrum.dtype)
    return 2 * (1 + beta) / jnp.maximum(spectrum[0], 0)


@dataclass(frozen=True)
class ConditionReport:
    """The condition of a kernel matrix with its ridge; made by `condition_report`. Print it to read it.

    Attributes:
        size: N, the number of rows.
        dtype: The dtype of the kernel.
        largest: The largest eigenvalue, with the ridge.
        smallest: The smallest eigenvalue, with the ridge.
        rank: The number of eigenvalues above rounding.
        ridge: ρ.
        condition_number: largest/smallest, or inf if the rank is below N.
        digits: The decimal digits that a solve keeps at least, or 0 if the rank is below N.
        semidefinite: False if an eigenvalue is more negative than rounding explains.
    """

    size: int
    dtype: str
    largest: float
    smallest: float
    rank: int
    ridge: float
    condition_number: float
    digits: float
    semidefinite: bool

    def __str__(self) -> str:
        """The spectrum, what it means, and what helps, in sentences."""
        ridge = f", with a ridge of {self.ridge:.3g}" if self.ridge else ""
        lines = [
            f"{self.size} x {self.size} kernel in {self.dtype}{ridge}: eigenvalues from {self.smallest:.3g} to"
            f" {self.largest:.3g}, rank {self.rank}, condition number {self.condition_number:.3g}."
        ]
        if not self.semidefinite:
            lines.append("It is not positive semidefinite: an eigenvalue is more negative than rounding explains.")
        elif self.rank < self.size:
            lines.append(
                "It is singular up to rounding, as with equal inputs: directions of eigenvalue 0 are not trained."
            )
        else:
            lines.append(f"Solves keep about {self.digits:.0f} digits.")
        if self.digits < ENOUGH_DIGITS and self.largest > 0:
            helpful = self.largest * float(jnp.finfo(self.dtype).eps) * 10**ENOUGH_DIGITS
            double = "" if self.dtype == "float64" else "float64=True for a kernel computed in float64, or "
            lines.append(f"What helps: {double}a ridge of at least {helpful - min(self.smallest, 0):.1g}.")
        return "\n".join(lines)


def condition_report(
    k_train_train: Float[ArrayLike, "N N ..."], *, ridge: Real[ArrayLike, ""] = 0.0, relative_ridge: bool = False
) -> ConditionReport:
    """The condition of a kernel with its ridge, and what it means for predictions. It does not work under `jax.jit`.

    Args:
        k_train_train: (N, N) or (N, N, O, O), concrete, of float32 or float64.
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Returns:
        A `ConditionReport`.

    Raises:
        TypeError: The kernel is not an array of float32 or float64.
        ValueError: The kernel is not square, not symmetric or not finite, or the ridge is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> print(dynamics.condition_report(jnp.diag(jnp.array([1.0, 4.0], jnp.float32))))
        2 x 2 kernel in float32: eigenvalues from 1 to 4, rank 2, condition number 4.
        Solves keep about 6 digits.
    """
    matrix, rho = with_ridge(checked_kernel(k_train_train).matrix, ridge, relative_ridge)
    spectrum = np.asarray(eigenvalues(matrix), float)
    eps, largest, smallest = float(jnp.finfo(matrix.dtype).eps), float(spectrum[0]), float(spectrum[-1])
    rounding = max(len(spectrum) * eps * abs(largest), -(smallest - float(rho)))
    rank = int(np.sum(spectrum > rounding))
    condition = largest / smallest if rank == len(spectrum) else math.inf
    digits = max(0.0, -math.log10(eps * condition)) if rank == len(spectrum) else 0.0
    semidefinite = smallest >= -(eps**0.5) * abs(largest)
    name = matrix.dtype.name
    return ConditionReport(len(matrix), name, largest, smallest, rank, float(rho), condition, digits, semidefinite)
