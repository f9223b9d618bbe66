"""Errors of kernel ridge regression, predicted from the kernel's spectrum (theory.md 7.5 to 7.7)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real
from scipy.optimize import brentq

from ntk.checks import check_nonnegative, shown

LARGEST = 10**308  # of the integers that float64 holds


@dataclass(frozen=True)
class LearningCurve:
    """Predicted errors of kernel ridge regression with N samples, averaged over training sets.

    M is the shape of `num_samples`, () for one number.

    Attributes:
        num_samples: N, (*M,).
        test_mse: The mean squared error at new noisy samples, (*M,). Without the noise it is `test_mse` − σ².
        train_mse: The mean squared error at the training samples, (*M,).
        kappa: κ, the effective ridge, (*M,). Modes with λ above κ are learned.
        learnability: λ_i/(λ_i + κ), the learned share of a mode's coefficient, (*M, K).
        mode_mse: The part of the test error, without noise, in the modes of each eigenvalue, (*M, K).
    """

    num_samples: Float[np.ndarray, "*M"]
    test_mse: Float[np.ndarray, "*M"]
    train_mse: Float[np.ndarray, "*M"]
    kappa: Float[np.ndarray, "*M"]
    learnability: Float[np.ndarray, "*M K"]
    mode_mse: Float[np.ndarray, "*M K"]


def learning_curve(
    eigenvalues: Sequence[int | float] | Real[ArrayLike, " K"],
    degeneracies: Sequence[int] | Real[ArrayLike, " K"],
    target_power: Sequence[int | float] | Real[ArrayLike, " K"],
    num_samples: Sequence[int | float] | Real[ArrayLike, "*M"],
    *,
    ridge: Real[ArrayLike, ""] = 0.0,
    noise: Real[ArrayLike, ""] = 0.0,
) -> LearningCurve:
    """The mean errors of kernel ridge regression (theory.md 7.5 to 7.7; Canatar et al. 2021; Simon et al. 2023).

    The prediction is Θ(x, X) (Θ(X, X) + δ I)⁻¹ y of N samples y = f*(x) + noise. The formula is exact as N grows with
    the number of modes. It holds within some percent for N of about ten and more.

    This function runs on the host, in float64.

    Args:
        eigenvalues: (K,), not negative: the eigenvalues of the kernel under the distribution of inputs. Their sum with
            degeneracies is the mean of K(ξ, ξ).
        degeneracies: (K,), how many modes share each eigenvalue.
        target_power: (K,), the squared coefficients of the target, summed over the modes of each eigenvalue. Their sum
            is E f*(ξ)².
        num_samples: N, one number or an array of them, positive.
        ridge: δ, added to the diagonal of the kernel matrix. The eigenvalues beyond those given act like a ridge of
            the size of their sum, such as `ZonalSpectrum.tail`.
        noise: σ, the standard deviation of the noise of the targets.

    Returns:
        A `LearningCurve`.

    Raises:
        ValueError: An argument is negative, not finite, or not of one shape with the others.

    Example:
        >>> import ntk
        >>> curve = ntk.learning_curve([1.0], [100], [1.0], [50, 200], noise=0.5)  # linear regression, d = 100
        >>> print(curve.test_mse)
        [1. 0.5]
    """
    lam, power = (
        _as_nonnegative(name, a) for name, a in (("eigenvalues", eigenvalues), ("target_power", target_power))
    )
    counts = _as_nonnegative("degeneracies", _exact_as_float(degeneracies))
    N, delta, sigma = (
        _as_nonnegative(name, a) for name, a in (("num_samples", num_samples), ("ridge", ridge), ("noise", noise))
    )
    for name, number in (("ridge", delta), ("noise", sigma)):
        if number.ndim:
            raise ValueError(f"{name} has shape {number.shape}; expected one number.")
    if lam.ndim != 1 or not lam.shape == counts.shape == power.shape:
        raise ValueError(
            f"eigenvalues, degeneracies and target_power have the shapes {lam.shape}, {counts.shape} and "
            f"{power.shape}; expected one shape (K,)."
        )
    if not (N > 0).all():
        raise ValueError(f"num_samples is {shown(num_samples)}; expected positive numbers.")
    kappa = np.vectorize(lambda n: _effective_ridge(lam, counts, n, float(delta)), otypes=[float])(N)
    learned = _learnability(lam, kappa[..., None])
    # At the peak, N modes of eigenvalues above 0 and no ridge, the test error is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        overfitting = 1 / np.maximum(1 - np.sum(counts * learned**2, axis=-1) / N, 0.0)
        test = np.asarray(overfitting * (np.sum((1 - learned) ** 2 * power, axis=-1) + sigma**2))
        # δ/(Nκ), which has a limit as δ and κ go to 0.
        shrinkage = np.maximum(1 - np.sum(counts * learned, axis=-1) / N, 0.0)
        train = np.asarray(np.where(shrinkage > 0, shrinkage**2 * test, 0.0))
        modes = (1 - learned) ** 2 * power + counts * learned**2 * (test / N)[..., None]
    return LearningCurve(N, test, train, kappa, learned, modes)


def _learnability(lam: Float[np.ndarray, " K"], kappa: Float[np.ndarray, "*M 1"]) -> Float[np.ndarray, "*M K"]:
    """λ/(λ + κ); a mode that the kernel does not have is not learned, also where κ = 0."""
    return np.divide(lam, lam + kappa, out=np.zeros(np.broadcast_shapes(lam.shape, kappa.shape)), where=lam > 0)


def _effective_ridge(lam: Float[np.ndarray, " K"], counts: Float[np.ndarray, " K"], N: float, ridge: float) -> float:
    """κ with Σ λ/(λ + κ) + δ/κ = N, or 0 if there are at most N modes and no ridge (theory.md 7.5)."""
    if ridge == 0 and counts[lam > 0].sum() <= N:
        return 0.0
    # κ lies below (trace + δ)/N, since λ/(λ + κ) ≤ λ/κ.
    upper = float(np.log((counts @ lam + ridge) / N))

    def excess(log_kappa: float) -> float:
        kappa = np.exp(log_kappa)
        return float(np.sum(counts * _learnability(lam, np.array([kappa]))) + ridge / kappa - N)

    lower = upper - 1.0
    while excess(lower) < 0:
        lower -= 2 * (upper - lower)
    return float(np.exp(brentq(excess, lower, upper + 1e-12, xtol=1e-14, rtol=4 * np.finfo(float).eps)))


def _exact_as_float(counts: Sequence[int] | ArrayLike) -> Sequence[float] | ArrayLike:
    """Integers as floats, since those of high degrees are too large for NumPy's integers; all else as it is."""
    if isinstance(counts, Sequence) and all(type(count) is int for count in counts):
        return [float(count) if abs(count) < LARGEST else np.inf for count in counts]
    return counts


def _as_nonnegative(name: str, value: Sequence[int | float] | ArrayLike) -> Float[np.ndarray, "..."]:
    check_nonnegative(name, value)
    return np.asarray(value, float)
