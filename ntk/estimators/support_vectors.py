"""Support vector machines with the NTK of an infinitely wide network."""

import numpy as np
from jaxtyping import Shaped
from sklearn.base import ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ntk.estimators.kernels import ChosenKernel, Data, Described, KernelEstimator, Rows


class NTKSVC(ClassifierMixin, KernelEstimator):
    """Scikit-learn's support vector classifier with the NTK (Arora et al. 2020, arXiv:1910.01663).

    Parameters:
        net: `ntk.MLP`, `ntk.RNN` or an `ntk.tensor_program`. None means an MLP of two hidden layers of ReLU.
        kernel: None means the kernel of `net`. A function takes inputs (N1, …) and (N2, …) and returns (N1, N2). With
            "precomputed", X is the kernel itself: (N, N) to fit, and (M, N) of test and training inputs to predict.
        C: The weight of the hinge losses, above 0. The scale of the kernel multiplies it.

    Attributes:
        classes_: The labels.
        X_fit_: The training inputs.
        y_fit_: The labels of the training inputs.
        svc_: The `sklearn.svm.SVC` of the kernel matrix.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> model = NTKSVC(C=10.0).fit(X[:300] / 8 - 1, y[:300])
        >>> bool(model.score(X[1500:] / 8 - 1, y[1500:]) > 0.85)
        True
    """

    classes_: np.ndarray
    svc_: SVC

    def __init__(self, net: Described | None = None, *, kernel: ChosenKernel = None, C: float = 1.0):
        self.net = net
        self.kernel = kernel
        self.C = C

    def fit(self, X: Data, y: Data) -> "NTKSVC":
        """Train on X, (N, d) or in another shape that the network reads, and labels (N,)."""
        self.X_fit_, self.y_fit_ = self.read(X, y)
        check_classification_targets(self.y_fit_)
        self.svc_ = self._trained(self.gram(self.X_fit_))
        self.classes_ = self.svc_.classes_
        return self

    def _trained(self, kernel: Rows) -> SVC:
        return SVC(C=self.C, kernel="precomputed").fit(kernel, self.y_fit_)

    def decision_function(self, X: Data) -> Rows:
        """The outputs, (M,) for two classes, else one against the rest, (M, K)."""
        svc, across = self._across(X)
        return svc.decision_function(across)

    def predict(self, X: Data) -> Shaped[np.ndarray, " M"]:
        """The labels, (M,)."""
        svc, across = self._across(X)
        return svc.predict(across)

    def _across(self, X: Data) -> tuple[SVC, Rows]:
        """A classifier, and the kernel between X and the inputs that it was trained on."""
        check_is_fitted(self)
        X, count = self.read(X), len(self.X_fit_)
        if not self.is_sampled():
            return self.svc_, self.gram(X, self.X_fit_)
        kernel = self.gram(np.concatenate([self.X_fit_, X]))
        return self._trained(kernel[:count, :count]), kernel[count:, :count]
