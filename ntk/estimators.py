"""Kernel regression with a network's kernels as scikit-learn estimators, for pipelines and grid searches.

This module needs scikit-learn, and the rest of the package does not. Import it by name: `import ntk.estimators`.

The limits of some programs of `ntk.architectures`, such as an LSTM, are sampled. Kernels of training and test inputs
are parts of one kernel only if both are sampled together. For such a program every prediction therefore samples both
together and fits again. The prediction at an input then depends, within the error of sampling, on the other inputs in
X. In a program with batch normalization the training and the test inputs are one batch.
"""

from typing import Literal, TypedDict, overload

import jax
import numpy as np
from jaxtyping import Float, Shaped

from ntk.checks import as_number, check_flag
from ntk.dynamics import GaussianProcess, gp_posterior, log_marginal_likelihood, squared_loss_flow
from ntk.networks import MLP, RNN
from ntk.programs import TensorProgram
from ntk.programs.limit.evaluation import forms_of
from ntk.readings import infinite_kernels, infinite_ntk

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import Tags
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError("ntk.estimators needs scikit-learn: run `pip install 'scikit-learn>=1.6'`.") from None

__all__ = ["NNGPRegressor", "NTKClassifier", "NTKRegressor"]

Described = MLP | RNN | TensorProgram
Data = object  # an array, a list or a data frame; scikit-learn checks it and says what it expects
Rows = Float[np.ndarray, "M ..."]
MeanAndStd = tuple[Rows, Float[np.ndarray, " M"]]
MeanAndCovariance = tuple[Rows, Float[np.ndarray, "M M"]]


class _Ridge(TypedDict):
    ridge: float
    relative_ridge: bool


class _KernelEstimator(BaseEstimator):
    """The base of the estimators: checked inputs, and kernels in float64, with or without JAX's x64 flag."""

    net: Described | None
    ridge: float
    relative_ridge: bool

    # Fitting sets these. A file may set attributes whose names end in _ (ntk.saving.archive).
    n_features_in_: int
    feature_names_in_: np.ndarray
    X_fit_: np.ndarray
    y_fit_: np.ndarray

    def _network(self) -> Described:
        return MLP(depth=2, activation="relu", w_std=2**0.5, b_std=0.1) if self.net is None else self.net

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = isinstance(self, RegressorMixin)
        return tags

    @overload
    def _read(self, X: Data, /) -> Rows: ...
    @overload
    def _read(self, X: Data, y: Data, /, **options: bool) -> tuple[Rows, Shaped[np.ndarray, "N ..."]]: ...
    def _read(self, X: Data, /, *y: Data, **options: bool) -> Rows | tuple[Rows, Shaped[np.ndarray, "N ..."]]:
        """X, or X and y, checked by scikit-learn. An MLP needs rows of features."""
        more_axes = not isinstance(self._network(), MLP)
        shapes = {"allow_nd": more_axes, "ensure_2d": not more_axes}
        try:
            return validate_data(self, X, *y, reset=bool(y), dtype=np.float64, **shapes, **options)
        except OverflowError:
            largest = f"{np.finfo(float).max:.1e}"
            raise ValueError(f"X or y holds an integer beyond {largest}; expected smaller ones.") from None

    def _is_sampled(self) -> bool:
        """Whether kernels are sampled. Kernels of different calls are then not parts of one kernel."""
        net = self._network()
        return isinstance(net, TensorProgram) and not forms_of(net.record(self.X_fit_.shape[1:])).is_exact

    def _regularization(self) -> _Ridge:
        return {"ridge": self.ridge, "relative_ridge": self.relative_ridge}

    def _ntk(self, *inputs: Float[np.ndarray, "_ ..."]) -> Float[np.ndarray, "N1 N2"]:
        with jax.enable_x64(True):
            return np.asarray(infinite_ntk(self._network(), *inputs))

    def _nngp(self, *inputs: Float[np.ndarray, "_ ..."]) -> Float[np.ndarray, "N1 N2"]:
        with jax.enable_x64(True):
            return np.asarray(infinite_kernels(self._network(), *inputs).nngp)


class _NTKEstimator(_KernelEstimator):
    """Gradient flow with the NTK. Fitting stores the dual coefficients."""

    dual_coef_: np.ndarray

    def __init__(
        self, net: Described | None = None, *, t: float | None = None, ridge: float = 1e-6, relative_ridge: bool = True
    ):
        self.net = net
        self.t = t
        self.ridge = ridge
        self.relative_ridge = relative_ridge

    def _fit_targets(self, X: Float[np.ndarray, "N ..."], targets: Float[np.ndarray, "N ..."]) -> None:
        self.X_fit_, self.y_fit_ = X, targets
        self.dual_coef_ = self._coefficients(self._ntk(X))

    def _coefficients(self, kernel: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N ..."]:
        if self.t is not None:
            as_number("t", self.t, float, lambda t: t >= 0, "one time that is not negative, or None")
        with jax.enable_x64(True):
            return np.asarray(squared_loss_flow(kernel, self.y_fit_, **self._regularization()).coefficients(self.t))

    def _outputs(self, X: Data) -> Rows:
        check_is_fitted(self)
        X, count = self._read(X), len(self.X_fit_)
        if not self._is_sampled():
            return self._ntk(X, self.X_fit_) @ self.dual_coef_
        kernel = self._ntk(np.concatenate([self.X_fit_, X]))
        return kernel[count:, :count] @ self._coefficients(kernel[:count, :count])


class NTKRegressor(RegressorMixin, _NTKEstimator):
    """Regression by infinitely wide networks trained on squared loss, started at 0: kernel regression with the NTK.

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
        t: The time for which gradient flow trains, on L = ½ Σ (f − y)² at rate 1. None means until it converges.
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Attributes:
        X_fit_: The training inputs.
        y_fit_: The targets.
        dual_coef_: The dual coefficients, (N,) or (N, O). The predictions are Θ(x, X) times the coefficients.

    Example:
        >>> import numpy as np
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> model = make_pipeline(StandardScaler(), NTKRegressor()).fit(X, X[:, 0] ** 2)
        >>> bool(model.score(X, X[:, 0] ** 2) > 0.999)
        True
    """

    def fit(self, X: Data, y: Data) -> "NTKRegressor":
        """Train on X, (N, d) or in another shape that the network reads, and targets (N,) or (N, O)."""
        X, y = self._read(X, y, multi_output=True, y_numeric=True)
        self._fit_targets(X, np.asarray(y, float))
        return self

    def predict(self, X: Data) -> Rows:
        """The outputs, (M,) or (M, O)."""
        return self._outputs(X)


class NTKClassifier(ClassifierMixin, _NTKEstimator):
    """Classification by infinitely wide networks trained on squared loss: the class of the largest output.

    The targets of two classes are −1 and 1. K > 2 classes have one output each. Its target is 1 − 1/K for the class
    itself and −1/K for the others.

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
        t: The time for which gradient flow trains, on L = ½ Σ (f − y)² at rate 1. None means until it converges.
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.

    Attributes:
        classes_: The labels.
        X_fit_: The training inputs.
        y_fit_: The targets.
        dual_coef_: The dual coefficients, (N,) or (N, K).

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> model = NTKClassifier().fit(X[:300] / 8 - 1, y[:300])
        >>> bool(model.score(X[1500:] / 8 - 1, y[1500:]) > 0.85)
        True
    """

    classes_: np.ndarray

    def fit(self, X: Data, y: Data) -> "NTKClassifier":
        """Train on X, (N, d) or in another shape that the network reads, and labels (N,)."""
        X, y = self._read(X, y)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(f"y holds one class, {self.classes_[0]!r}; expected at least two.")
        self._fit_targets(X, 2.0 * numbers - 1 if count == 2 else np.eye(count)[numbers] - 1 / count)
        return self

    def decision_function(self, X: Data) -> Rows:
        """The outputs, (M,) for two classes, else (M, K)."""
        return self._outputs(X)

    def predict(self, X: Data) -> Shaped[np.ndarray, " M"]:
        """The labels, (M,)."""
        outputs = self._outputs(X)
        return self.classes_[(outputs > 0).astype(int) if outputs.ndim == 1 else outputs.argmax(axis=1)]


class NNGPRegressor(RegressorMixin, _KernelEstimator):
    """Bayesian regression with an infinitely wide network: the Gaussian process of its NNGP.

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
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

    posterior_: GaussianProcess
    log_marginal_likelihood_: float

    def __init__(self, net: Described | None = None, *, ridge: float = 1e-3, relative_ridge: bool = True):
        self.net = net
        self.ridge = ridge
        self.relative_ridge = relative_ridge

    def fit(self, X: Data, y: Data) -> "NNGPRegressor":
        """Condition on X, (N, d) or in another shape that the network reads, and targets (N,) or (N, O)."""
        X, y = self._read(X, y, multi_output=True, y_numeric=True)
        self.X_fit_, self.y_fit_ = X, np.asarray(y, float)
        kernel = self._nngp(X)
        self.posterior_ = self._posterior(kernel)
        with jax.enable_x64(True):
            self.log_marginal_likelihood_ = float(
                log_marginal_likelihood(kernel, self.y_fit_, **self._regularization())
            )
        return self

    def _posterior(self, kernel: Float[np.ndarray, "N N"]) -> GaussianProcess:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, gp_posterior(kernel, self.y_fit_, **self._regularization()))

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
        X, count, uncertain = self._read(X), len(self.X_fit_), return_std or return_cov
        if self._is_sampled():
            kernel = self._nngp(np.concatenate([self.X_fit_, X]))
            posterior, across = self._posterior(kernel[:count, :count]), kernel[count:, :count]
            prior = kernel[count:, count:] if uncertain else None
        else:
            posterior, across = self.posterior_, self._nngp(X, self.X_fit_)
            prior = self._nngp(X) if uncertain else None
        with jax.enable_x64(True):
            if prior is None:
                return np.asarray(posterior(across))
            found = posterior(across, prior)
            return np.asarray(found.mean), np.asarray(found.std if return_std else found.covariance)
