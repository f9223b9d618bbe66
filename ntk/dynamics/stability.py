"""What the spectrum of a kernel means for training: stable learning rates, and how far solves can be trusted."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntk.checks import as_floating, is_concrete
from ntk.dynamics.linear_algebra.layout import arranged
from ntk.dynamics.linear_algebra.spectral import check_semidefinite, with_ridge
from ntk.dynamics.squared_loss import as_momentum
from ntk.spectra.spectrum import eigenvalues

# A solve that keeps at least so many digits gets no advice.
_ENOUGH_DIGITS = 3


def max_learning_rate(k_train_train: ArrayLike, *, momentum: ArrayLike = 0.0) -> Float[Array, ""]:
    """The learning rate 2(1 + β)/λ_max below which gradient descent on ½ Σ (f − y)² converges (Goh 2017).

    For the mean of squares over N points and O outputs, as `neural_tangents` has it, it is N·O times as large.

    Args:
        k_train_train: Θ(X, X), (N, N) or (N, N, O, O).
        momentum: β, at least 0 and below 1.

    Returns:
        A scalar; inf for the zero kernel.

    Raises:
        TypeError: The kernel is not an array of float32 or float64.
        ValueError: It is not square, not symmetric, not positive semidefinite or not finite, or the momentum is out of
            range.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> print(dynamics.max_learning_rate(jnp.diag(jnp.array([1.0, 4.0]))))
        0.5
    """
    spectrum = eigenvalues(_matrix(k_train_train))
    beta = as_momentum(momentum, spectrum.dtype)
    if is_concrete(spectrum):
        check_semidefinite(float(spectrum[-1]), float(jnp.max(jnp.abs(spectrum))), spectrum.dtype)
    return 2 * (1 + beta) / jnp.maximum(spectrum[0], 0)


@dataclass(frozen=True)
class ConditionReport:
    """How well a kernel matrix can be solved with; made by `condition_report`, and readable when printed.

    Attributes:
        size: N, rows of the matrix.
        dtype: In which it was computed.
        largest: The largest eigenvalue, the ridge included.
        smallest: The smallest one.
        rank: How many eigenvalues rounding tells from 0.
        ridge: ρ, which was added.
        condition_number: largest/smallest, inf where the rank is not N.
        digits: How many decimal digits a solve keeps at least; 0 where the rank is not N.
        semidefinite: False where an eigenvalue is more negative than rounding makes it.
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
        """Sentences: the spectrum, what it means, and what helps."""
        ridge = f", with a ridge of {self.ridge:.3g}" if self.ridge else ""
        lines = [
            f"{self.size} x {self.size} kernel in {self.dtype}{ridge}: eigenvalues from {self.smallest:.3g} to"
            f" {self.largest:.3g}, rank {self.rank}, condition number {self.condition_number:.3g}."
        ]
        if not self.semidefinite:
            lines.append("It is not positive semidefinite: negative eigenvalues are larger than rounding makes them.")
        elif self.rank < self.size:
            lines.append("It is singular up to rounding, as with equal inputs: such directions are not trained.")
        else:
            lines.append(f"Solves keep about {self.digits:.0f} digits.")
        if self.digits < _ENOUGH_DIGITS and self.largest > 0:
            helpful = self.largest * float(jnp.finfo(self.dtype).eps) * 10**_ENOUGH_DIGITS
            double = "" if self.dtype == "float64" else "float64=True for a kernel computed in float64, or "
            lines.append(f"What helps: {double}a ridge of at least {helpful - min(self.smallest, 0):.1g}.")
        return "\n".join(lines)


def condition_report(
    k_train_train: ArrayLike, *, ridge: ArrayLike = 0.0, relative_ridge: bool = False
) -> ConditionReport:
    """The condition of a kernel with its ridge, and what it means for predictions. It lives on the host.

    Args:
        k_train_train: (N, N) or (N, N, O, O), concrete, of float32 or float64.
        ridge: ρ.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Returns:
        A `ConditionReport`.

    Raises:
        TypeError: The kernel is not an array of float32 or float64.
        ValueError: It is not square, not symmetric or not finite, or the ridge is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> print(dynamics.condition_report(jnp.diag(jnp.array([1.0, 4.0], jnp.float32))))
        2 x 2 kernel in float32: eigenvalues from 1 to 4, rank 2, condition number 4.
        Solves keep about 6 digits.
    """
    matrix, rho = with_ridge(_matrix(k_train_train), ridge, relative_ridge)
    spectrum = np.asarray(eigenvalues(matrix), float)
    eps, largest, smallest = float(jnp.finfo(matrix.dtype).eps), float(spectrum[0]), float(spectrum[-1])
    rounding = max(len(spectrum) * eps * abs(largest), -(smallest - float(rho)))
    rank = int(np.sum(spectrum > rounding))
    condition = largest / smallest if rank == len(spectrum) else math.inf
    digits = max(0.0, -math.log10(eps * condition)) if rank == len(spectrum) else 0.0
    semidefinite = smallest >= -(eps**0.5) * abs(largest)
    name = matrix.dtype.name
    return ConditionReport(len(matrix), name, largest, smallest, rank, float(rho), condition, digits, semidefinite)


def _matrix(kernel: Any) -> jax.Array:
    """The kernel as one symmetric matrix."""
    kernel = as_floating("k_train_train", kernel)
    outputs = kernel.shape[2:3] if kernel.ndim == 4 else ()
    return arranged(kernel, jnp.zeros((*kernel.shape[:1], *outputs), kernel.dtype))[0]
