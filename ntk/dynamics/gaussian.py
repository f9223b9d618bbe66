"""Gaussian processes with a network's kernels: posteriors and marginal likelihoods."""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from ntk.checks import as_symmetric, is_concrete, shown
from ntk.dynamics.linear_algebra.layout import Layout
from ntk.dynamics.linear_algebra.precision import float64_on_request, in_double, working_precision
from ntk.dynamics.linear_algebra.problems import checked_problem
from ntk.dynamics.linear_algebra.spectral import Array, Spectrum, decompose, filtered
from ntk.linalg import highest_matmul


class Gaussian(NamedTuple):
    """Mean and covariance. Several outputs are independent of each other and have the same covariance.

    Attributes:
        mean: (*t, M) or (*t, M, O).
        covariance: (*t, M, M); its diagonal is never negative.
    """

    mean: Float[jax.Array, "..."]
    covariance: Float[jax.Array, "*t M M"]

    @property
    def std(self) -> Float[jax.Array, "*t M"]:
        """Standard deviations, (*t, M)."""
        return jnp.sqrt(jnp.diagonal(self.covariance, axis1=-2, axis2=-1))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["spectrum", "targets"],
    meta_fields=["layout", "dtype", "float64"],
)
@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """A Gaussian process conditioned on data; made by `gp_posterior`. A pytree, saved by `ntk.save`.

    Attributes:
        spectrum: Eigendecomposition of K + ρI.
        targets: y as columns, (N, 1) or (N, O).
        layout: The axes of the outputs.
        dtype: The dtype of the results.
        float64: Whether the computation is in float64 on the CPU.
    """

    spectrum: Spectrum
    targets: Array
    layout: Layout
    dtype: jnp.dtype
    float64: bool

    @overload
    def __call__(self, k_test_train: None = None, k_test_test: None = None) -> Gaussian: ...
    @overload
    def __call__(
        self, k_test_train: Float[ArrayLike, "M N"], k_test_test: None = None
    ) -> Float[jax.Array, "M ..."]: ...
    @overload
    def __call__(self, k_test_train: Float[ArrayLike, "M N"], k_test_test: Float[ArrayLike, "M M"]) -> Gaussian: ...
    @float64_on_request
    def __call__(
        self, k_test_train: Float[ArrayLike, "M N"] | None = None, k_test_test: Float[ArrayLike, "M M"] | None = None
    ) -> Gaussian | Float[jax.Array, "M ..."]:
        """The posterior of the function, without observation noise, on test points.

        Args:
            k_test_train: (M, N), the kernel between test and training points. None means the training points
                themselves.
            k_test_test: (M, M), the kernel of the test points. The covariance needs it.

        Returns:
            A `Gaussian`. With `k_test_train` and without `k_test_test`: the mean alone, (M,) or (M, O).

        Raises:
            TypeError: A kernel is not a floating-point array.
            ValueError: A shape does not fit, or a value is not finite.
        """
        if k_test_train is None:
            if k_test_test is not None:
                raise ValueError("k_test_test is given without k_test_train; expected both, or none of them.")
            mean, covariance = _posterior_on_train(self)
        else:
            across = self.layout.matrix("k_test_train", k_test_train, len(self.targets), self.targets.dtype)
            prior = (
                None if k_test_test is None else covariance_of_test("k_test_test", k_test_test, "k_test_train", across)
            )
            mean, covariance = _posterior(self, across, prior)
        mean = self.layout.values(mean, ())
        return mean if covariance is None else Gaussian(mean, covariance)


def gp_posterior(
    k_train_train: Float[ArrayLike, "N N"],
    y_train: Float[ArrayLike, "N ..."],
    *,
    ridge: Real[ArrayLike, ""] = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> GaussianProcess:
    """The posterior N(K_* (K + ρ)⁻¹ y, K_** − K_* (K + ρ)⁻¹ K_*ᵀ) of a Gaussian process of prior covariance K.

    With the NNGP as K this is Bayesian inference with an infinitely wide network (Neal 1996; Lee et al. 2018,
    arXiv:1711.00165). With the NTK as K it is the "NTKGP" of He et al. 2020 (arXiv:2007.05864). Trained networks have
    another distribution; see `squared_loss_ensemble`. Without a ridge, the inverse is a pseudo-inverse: it leaves out
    eigenvalues of K that are 0 up to rounding.

    Args:
        k_train_train: K, (N, N), shared by the outputs, of float32 or float64.
        y_train: (N,) or (N, O).
        ridge: ρ, the variance of the observation noise, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether to compute in float64 on the CPU, even if x64 is not enabled. The results keep the kernel's
            dtype.

    Returns:
        A `GaussianProcess`, called as `posterior(k_test_train, k_test_test)`.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, the ridge is negative, the kernel is not symmetric or
            not positive semidefinite, or float64 is True under a transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> posterior = dynamics.gp_posterior(jnp.array([[1.0]]), jnp.array([2.0]), ridge=1.0)
        >>> mean, covariance = posterior(jnp.array([[0.5]]), jnp.array([[1.0]]))
        >>> print(mean, covariance)  # 0.5/2 · 2 and 1 − 0.5²/2
        [0.5] [[0.875]]
    """
    with working_precision(float64, k_train_train, y_train, ridge):
        problem = checked_problem(k_train_train, y_train, ridge, relative_ridge, float64=float64, shared=True)
        arrays = decompose(problem.matrix, problem.ridge, problem.given_in), problem.targets
        spectrum, targets = in_double(arrays) if float64 else arrays
    return GaussianProcess(spectrum, targets, problem.layout, problem.given_in, float64)


def log_marginal_likelihood(
    k_train_train: Float[ArrayLike, "N N"],
    y_train: Float[ArrayLike, "N ..."],
    *,
    ridge: Real[ArrayLike, ""] = 0.0,
    relative_ridge: bool = False,
) -> Float[jax.Array, ""]:
    """The log marginal likelihood of a Gaussian process, summed over outputs (Rasmussen & Williams 2006, equation 5.8).

        ln p(y) = −½ yᵀ(K + ρ)⁻¹y − ½ ln det(K + ρ) − (N/2) ln 2π

    It is differentiable in the kernel and in the ridge.

    Args:
        k_train_train: K, (N, N), shared by the outputs, of float32 or float64.
        y_train: (N,) or (N, O).
        ridge: ρ, the variance of the observation noise, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Returns:
        A scalar.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, the ridge is negative, the kernel is not symmetric, or
            K + ρI is not positive definite in its dtype.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> k, y = jnp.array([[1.0]]), jnp.array([1.0])
        >>> print(round(float(dynamics.log_marginal_likelihood(k, y)), 4))  # −1/2 − ln(2π)/2
        -1.4189
        >>> slope = jax.grad(lambda ridge: dynamics.log_marginal_likelihood(k, y, ridge=ridge))(1.0)
        >>> print(f"{slope:.4f}")  # 1/8 − 1/4
        -0.1250
    """
    problem = checked_problem(k_train_train, y_train, ridge, relative_ridge, shared=True)
    result = _log_marginal_likelihood(problem.matrix, problem.targets)
    if is_concrete(result) and not np.isfinite(float(result)):
        raise ValueError(
            f"k_train_train with ridge {shown(ridge)} is not positive definite in {problem.given_in}; expected a larger"
            " ridge or float64 (see ntk.dynamics.condition_report)."
        )
    return result


def covariance_of_test(
    name: str, kernel: Float[ArrayLike, "M M"], across_name: str, across: Float[jax.Array, "M N"]
) -> Float[jax.Array, "M M"]:
    """The checked prior covariance of the test points. It has as many rows as `across`, the argument `across_name`."""
    kernel = as_symmetric(name, kernel)
    if len(kernel) != len(across):
        raise ValueError(
            f"{name} has shape {kernel.shape}; expected {(len(across), len(across))}: {across_name} has"
            f" {len(across)} rows."
        )
    return kernel.astype(across.dtype)


def symmetric_with_variances(covariance: Float[jax.Array, "*T M M"]) -> Float[jax.Array, "*T M M"]:
    """The covariance without the asymmetry and the negative variances that rounding leaves."""
    covariance = (covariance + covariance.mT) / 2
    diagonal = jnp.diagonal(covariance, axis1=-2, axis2=-1)
    identity = jnp.broadcast_to(jnp.eye(covariance.shape[-1], dtype=covariance.dtype), covariance.shape)
    return covariance + jnp.maximum(-diagonal, 0)[..., None] * identity


@jax.jit
def _posterior(
    process: GaussianProcess, across: jax.Array, prior: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    mean = highest_matmul(across, _solved(process, process.targets))
    if prior is None:
        return mean, None
    explained = highest_matmul(across, _solved(process, across.T))
    return mean, symmetric_with_variances(prior - explained)


@jax.jit
def _posterior_on_train(process: GaussianProcess) -> tuple[jax.Array, jax.Array]:
    """The posterior on the training points.

    The covariance is K − K(K + ρ)⁻¹K = ρ(1 − ρ(K + ρ)⁻¹). The second form keeps its digits: no kernel is subtracted.
    """
    ridge, n = process.spectrum.ridge, len(process.targets)
    mean = process.targets - _ended(process, "residual", process.targets)
    identity = jnp.eye(n, dtype=process.targets.dtype)
    return mean, symmetric_with_variances(ridge * (identity - ridge * _solved(process, identity)))


def _solved(process: GaussianProcess, columns: jax.Array) -> jax.Array:
    """(K + ρ)⁻¹ times columns."""
    return _ended(process, "coefficients", columns)


def _ended(process: GaussianProcess, which: str, columns: jax.Array) -> jax.Array:
    """The filter `which` at the end of gradient flow, times columns."""
    one = jnp.ones((), columns.dtype)
    return filtered(process.spectrum, ("flow", which), jnp.full(1, jnp.inf, one.dtype), one, one, columns)[0]


@jax.jit
def _log_marginal_likelihood(matrix: jax.Array, targets: jax.Array) -> jax.Array:
    factor = jnp.linalg.cholesky(matrix)
    whitened = jax.scipy.linalg.solve_triangular(factor, targets, lower=True)
    constant = len(matrix) * math.log(2 * math.pi) / 2
    log_det = jnp.sum(jnp.log(jnp.diag(factor)))
    return -jnp.sum(whitened**2) / 2 - targets.shape[1] * (log_det + constant)
