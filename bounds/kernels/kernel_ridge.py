"""Bounds for kernel ridge regression f = K(K + ridge·I)⁻¹y: by the kernel's trace, and by its effective dimension.

The kernel is fixed before the sample is seen, like an NTK at infinite width or at initialization. The ridge is added to
the diagonal as given: where a source writes K + nλ, pass nλ.
"""

import math
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped
from scipy import linalg

from bounds.arrays import NEGATIVE, as_host_array, as_host_gram, check_spectrum
from bounds.checks import Real, as_delta, as_nonnegative, as_positive, as_scalar
from bounds.concentration.union import round_up
from bounds.networks.margin_bounds import MarginBound


class KernelRidgeRisk(NamedTuple):
    """An upper bound on an expected squared error and the two parts that add up to it.

    Attributes:
        bound: The sum of the parts.
        bias: The part that the ridge causes.
        variance: The part that the noise causes.
    """

    bound: float
    bias: float
    variance: float


def kernel_ridge_margin_bound(
    gram: Shaped[ArrayLike, "m m"], y: Shaped[ArrayLike, " m"], ridge: Real, delta: Real, gamma: Real = 1.0
) -> MarginBound:
    """The probability that the sign of kernel ridge regression on labels ±1 is wrong, by the trace of the kernel.

        P(y f ≤ 0) ≤ mean ramp_γ + 2 C √(tr K)/m + 3 √(ln(2/(p_C δ))/(2m)),

    where C = √(αᵀKα)/γ is the norm of f divided by γ, with α = (K + ridge·I)⁻¹y. C is rounded up on a grid of ratio 1.1
    and has the share p_C of a union bound (Bartlett & Mendelson 2002, Theorem 21 and Lemma 22; Mohri et al. 2018,
    Theorems 3.3 and 6.12; theory.md 14.2 and 12.8). It holds with probability at least 1 − δ over m i.i.d. points,
    one-sided, for all ridges and γ at once.

    Args:
        gram: K, (m, m), symmetric positive semidefinite.
        y: (m,), labels −1 and 1.
        ridge: A positive number.
        delta: δ.
        gamma: γ > 0, the margin. Predictions near the labels have margins near 1.

    Returns:
        `MarginBound`.

    Raises:
        TypeError: An argument is not a real array, or is traced by JAX.
        ValueError: K is not square, symmetric and finite or has a negative eigenvalue, y holds other labels or another
            number of them, or a number is out of its range.

    Example:
        >>> import numpy as np
        >>> from bounds.kernels.kernel_ridge import kernel_ridge_margin_bound
        >>> x = np.tile([1.0, -1.0], 250)
        >>> found = kernel_ridge_margin_bound(np.outer(x, x), x, ridge=1.0, delta=0.05)
        >>> print(", ".join(f"{part:.3f}" for part in found))
        0.299, 0.002, 0.089, 0.208
    """
    K, labels = as_host_gram("gram", gram), as_host_array("y", y, "(m,)")
    m = len(K)
    if labels.shape != (m,) or not np.all(np.abs(labels) == 1):
        raise ValueError(
            f"y has shape {labels.shape} and values up to {np.abs(labels).max():g}; expected {m} of -1 and 1, one for"
            " each row of gram."
        )
    ridge, gamma = as_scalar(as_positive, "ridge", ridge), as_scalar(as_positive, "gamma", gamma)
    alpha = _solved(K, ridge, labels)
    predictions = K @ alpha
    norm = math.sqrt(max(float(alpha @ predictions), 0.0))
    scale, log_share = round_up(max(norm / gamma, 1e-12))
    complexity = 2 * scale * float(np.sqrt(np.trace(K))) / m
    return MarginBound.of_parts(labels * predictions, gamma, complexity, as_scalar(as_delta, "delta", delta), log_share)


def kernel_ridge_risk_bound(
    gram: Shaped[ArrayLike, "m m"], ridge: Real, noise_std: Real, radius: Real
) -> KernelRidgeRisk:
    """The expected squared error of kernel ridge regression at its own inputs, by the effective dimension.

    For y = f*(X) + noise, independent of mean 0 and standard deviation σ, and f* of norm at most B,

        E (1/m) ‖f − f*‖² ≤ ridge B²/(4m) + σ² d(ridge)/m,   d = tr K(K + ridge·I)⁻¹,

    in expectation over the noise alone, for fixed inputs (Zhang 2005; Bach 2013, section 3; theory.md 14.3). The bias
    is ridge² f*ᵀ(K + ridge·I)⁻²f*/m, in which ridge λ/(λ + ridge)² ≤ 1/4. The variance is σ² Σ(λ/(λ + ridge))²/m.

    Args:
        gram: K, (m, m), symmetric positive semidefinite.
        ridge: A positive number.
        noise_std: σ, the standard deviation of the noise.
        radius: B, at least the norm of f*.

    Returns:
        `KernelRidgeRisk`.

    Raises:
        TypeError: An argument is not a real array, or is traced by JAX.
        ValueError: K is not square, symmetric and finite or has a negative eigenvalue, or a number is out of its range.

    Example:
        >>> import numpy as np
        >>> from bounds.kernels.kernel_ridge import kernel_ridge_risk_bound
        >>> found = kernel_ridge_risk_bound(np.diag([3.0, 1.0, 0.0, 0.0]), ridge=1.0, noise_std=2.0, radius=4.0)
        >>> print(", ".join(f"{part:.2f}" for part in found))  # d = 3/4 + 1/2
        2.25, 1.00, 1.25
    """
    K = as_host_gram("gram", gram)
    ridge = as_scalar(as_positive, "ridge", ridge)
    spectrum = np.linalg.eigvalsh(K)
    check_spectrum("gram", spectrum[0], spectrum[-1])
    spectrum = np.maximum(spectrum, 0)
    bias = ridge * as_scalar(as_nonnegative, "radius", radius) ** 2 / (4 * len(K))
    effective_dim = float(np.sum(spectrum / (spectrum + ridge)))
    variance = as_scalar(as_nonnegative, "noise_std", noise_std) ** 2 * effective_dim / len(K)
    return KernelRidgeRisk(bias + variance, bias, variance)


def _solved(K: Float[np.ndarray, "m m"], ridge: float, labels: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """(K + ridge·I)⁻¹ y; refused where an eigenvalue of K is negative beyond rounding."""
    identity, rounding = np.eye(len(K)), NEGATIVE * float(np.linalg.norm(K))
    try:
        if 0 < rounding < ridge:
            linalg.cho_factor(K + rounding * identity)
        return np.asarray(linalg.cho_solve(linalg.cho_factor(K + ridge * identity), labels))
    except np.linalg.LinAlgError:
        spectrum = np.linalg.eigvalsh(K)
        check_spectrum("gram", spectrum[0], spectrum[-1])
        raise ValueError(
            f"ridge is {ridge:.2g}; expected more than the rounding of gram, with its eigenvalue {spectrum[0]:.2g}."
        ) from None
