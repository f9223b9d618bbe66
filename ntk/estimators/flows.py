"""Networks of infinite width trained by gradient flow on squared loss: kernel regression with the NTK."""

import jax
import numpy as np
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ntk.checks import as_number
from ntk.dynamics import squared_loss_flow
from ntk.estimators.kernels import ChosenKernel, Data, Described, KernelEstimator, Rows


class _Flow(KernelEstimator):
    """Gradient flow with the NTK. Fitting stores the dual coefficients."""

    dual_coef_: np.ndarray

    def __init__(
        self,
        net: Described | None = None,
        *,
        kernel: ChosenKernel = None,
        t: float | None = None,
        ridge: float = 1e-6,
        relative_ridge: bool = True,
    ):
        self.net = net
        self.kernel = kernel
        self.t = t
        self.ridge = ridge
        self.relative_ridge = relative_ridge

    def _fit_targets(self, X: Float[np.ndarray, "N ..."], targets: Float[np.ndarray, "N ..."]) -> None:
        self.X_fit_, self.y_fit_ = X, targets
        self.dual_coef_ = self._coefficients(self.gram(X))

    def _coefficients(self, kernel: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N ..."]:
        if self.t is not None:
            as_number("t", self.t, float, lambda t: t >= 0, "one time that is not negative, or None")
        with jax.enable_x64(True):
            return np.asarray(
                squared_loss_flow(
                    kernel, self.y_fit_, ridge=self.ridge, relative_ridge=self.relative_ridge
                ).coefficients(self.t)
            )

    def _outputs(self, X: Data) -> Rows:
        check_is_fitted(self)
        X, count = self.read(X), len(self.X_fit_)
        if not self.is_sampled():
            return self.gram(X, self.X_fit_) @ self.dual_coef_
        kernel = self.gram(np.concatenate([self.X_fit_, X]))
        return kernel[count:, :count] @ self._coefficients(kernel[:count, :count])


class NTKRegressor(RegressorMixin, _Flow):
    """Regression by infinitely wide networks trained on squared loss, started at 0: kernel regression with the NTK.

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
        kernel: None means the kernel of `net`. A function takes inputs (N1, …) and (N2, …) and returns (N1, N2). With
            "precomputed", X is the kernel itself: (N, N) to fit, and (M, N) of test and training inputs to predict.
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
        X, y = self.read(X, y, multi_output=True, y_numeric=True)
        self._fit_targets(X, np.asarray(y, float))
        return self

    def predict(self, X: Data) -> Rows:
        """The outputs, (M,) or (M, O)."""
        return self._outputs(X)


class NTKClassifier(ClassifierMixin, _Flow):
    """Classification by infinitely wide networks trained on squared loss: the class of the largest output.

    The targets of two classes are −1 and 1. K > 2 classes have one output each. Its target is 1 − 1/K for the class
    itself and −1/K for the others.

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
        kernel: None means the kernel of `net`. A function takes inputs (N1, …) and (N2, …) and returns (N1, N2). With
            "precomputed", X is the kernel itself: (N, N) to fit, and (M, N) of test and training inputs to predict.
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
        X, y = self.read(X, y)
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
