"""Gaussian processes with the NNGP of an infinitely wide network."""

from typing import Literal, overload

import jax
import numpy as np
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ntk.checks import check_flag
from ntk.dynamics import GaussianProcess, gp_posterior, log_marginal_likelihood
from ntk.estimators.kernels import ChosenKernel, Data, Described, KernelEstimator, Rows

MeanAndStd = tuple[Rows, Float[np.ndarray, " M"]]
MeanAndCovariance = tuple[Rows, Float[np.ndarray, "M M"]]


class NNGPRegressor(RegressorMixin, KernelEstimator):
    """Bayesian regression with an infinitely wide network: the Gaussian process of its NNGP.

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
        kernel: None means the kernel of `net`. A function takes inputs (N1, …) and (N2, …) and returns (N1, N2). With
            "precomputed", X is the kernel itself: (N, N) to fit, and (M, N) of test and training inputs to predict.
        ridge: ρ, the variance of the observation noise, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Attributes:
        X_fit_: The training inputs.
        y_fit_: The targets.
        posterior_: The `ntk.dynamics.GaussianProcess`.
        log_marginal_likelihood_: ln p(y) of the training targets, by which networks and ridges can be compared.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> model = NNGPRegressor(ridge=1e-4).fit(X, X[:, 0] ** 2)
        >>> mean, std = model.predict(np.array([[0.5], [3.0]]), return_std=True)
        >>> bool(abs(mean[0] - 0.25) < 0.02), bool(std[0] < std[1])
        (True, True)
    """

    reading = "nngp"
    posterior_: GaussianProcess
    log_marginal_likelihood_: float

    def __init__(
        self,
        net: Described | None = None,
        *,
        kernel: ChosenKernel = None,
        ridge: float = 1e-3,
        relative_ridge: bool = True,
    ):
        self.net = net
        self.kernel = kernel
        self.ridge = ridge
        self.relative_ridge = relative_ridge

    def fit(self, X: Data, y: Data) -> "NNGPRegressor":
        """Condition on X, (N, d) or in another shape that the network reads, and targets (N,) or (N, O)."""
        X, y = self.read(X, y, multi_output=True, y_numeric=True)
        self.X_fit_, self.y_fit_ = X, np.asarray(y, float)
        kernel = self.gram(X)
        self.posterior_ = self._posterior(kernel)
        with jax.enable_x64(True):
            self.log_marginal_likelihood_ = float(
                log_marginal_likelihood(kernel, self.y_fit_, ridge=self.ridge, relative_ridge=self.relative_ridge)
            )
        return self

    def _posterior(self, kernel: Float[np.ndarray, "N N"]) -> GaussianProcess:
        with jax.enable_x64(True):
            return jax.tree.map(
                np.asarray, gp_posterior(kernel, self.y_fit_, ridge=self.ridge, relative_ridge=self.relative_ridge)
            )

    @overload
    def predict(self, X: Data, return_std: Literal[False] = False, return_cov: Literal[False] = False) -> Rows: ...
    @overload
    def predict(self, X: Data, return_std: Literal[True], return_cov: Literal[False] = False) -> MeanAndStd: ...
    @overload
    def predict(
        self, X: Data, return_std: Literal[False] = False, *, return_cov: Literal[True]
    ) -> MeanAndCovariance: ...
    def predict(
        self, X: Data, return_std: bool = False, return_cov: bool = False
    ) -> Rows | MeanAndStd | MeanAndCovariance:
        """The posterior of the function, without observation noise.

        Args:
            X: (M, d), or in another shape that the network reads.
            return_std: Whether to return standard deviations (M,) as well, shared by the outputs.
            return_cov: Whether to return the covariance (M, M) as well.

        Returns:
            The mean, (M,) or (M, O). With either option: a pair, the mean and the standard deviations or covariance.
        """
        check_is_fitted(self)
        check_flag("return_std", return_std)
        check_flag("return_cov", return_cov)
        if return_std and return_cov:
            raise ValueError("return_std and return_cov are both True; expected at most one of them.")
        X, count, uncertain = self.read(X), len(self.X_fit_), return_std or return_cov
        if uncertain and self.is_given():
            raise ValueError("kernel is 'precomputed', without the kernel of the test inputs; expected the mean alone.")
        if self.is_sampled():
            kernel = self.gram(np.concatenate([self.X_fit_, X]))
            posterior, across = self._posterior(kernel[:count, :count]), kernel[count:, :count]
            prior = kernel[count:, count:] if uncertain else None
        else:
            posterior, across = self.posterior_, self.gram(X, self.X_fit_)
            prior = self.gram(X) if uncertain else None
        with jax.enable_x64(True):
            if prior is None:
                return np.asarray(posterior(across))
            found = posterior(across, prior)
            return np.asarray(found.mean), np.asarray(found.std if return_std else found.covariance)
