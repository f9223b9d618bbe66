"""What the estimators share: checked inputs, and kernels of a network, of a function or given, in float64."""

from collections.abc import Callable
from typing import Literal, TypeAlias, overload

import jax
import numpy as np
from jaxtyping import Float, Shaped
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from ntk.calls import of_user
from ntk.checks import shown
from ntk.networks import MLP, RNN
from ntk.programs import TensorProgram
from ntk.programs.limit.evaluation import forms_of
from ntk.readings import infinite_kernels, infinite_ntk

Described: TypeAlias = MLP | RNN | TensorProgram
Data: TypeAlias = object  # an array, a list or a data frame; scikit-learn checks it and says what it expects
Rows = Float[np.ndarray, "_ ..."]
Matrix = Float[np.ndarray, "_ _"]
# Takes inputs (N1, …) and (N2, …), and returns (N1, N2).
KernelFunction: TypeAlias = Callable[[np.ndarray, np.ndarray], Matrix]
ChosenKernel: TypeAlias = str | KernelFunction | None  # the string is "precomputed"


class KernelEstimator(BaseEstimator):
    """The base of the estimators: checked inputs, and kernels in float64, with or without JAX's x64 flag."""

    reading: Literal["ntk", "nngp"] = "ntk"  # which kernel of the network the estimator uses

    net: Described | None
    kernel: ChosenKernel

    # Fitting sets these. A file may set attributes whose names end in _ (ntk.saving.archive).
    n_features_in_: int
    feature_names_in_: np.ndarray
    X_fit_: np.ndarray
    y_fit_: np.ndarray

    def network(self) -> Described:
        """The network whose kernel is used."""
        return MLP(depth=2, activation="relu", w_std=2**0.5, b_std=0.1) if self.net is None else self.net

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = isinstance(self, RegressorMixin)
        tags.input_tags.pairwise = self.is_given()
        return tags

    @overload
    def read(self, X: Data, /) -> Rows: ...
    @overload
    def read(self, X: Data, y: Data, /, **options: bool) -> tuple[Rows, Shaped[np.ndarray, "N ..."]]: ...
    def read(self, X: Data, /, *y: Data, **options: bool) -> Rows | tuple[Rows, Shaped[np.ndarray, "N ..."]]:
        """X, or X and y, checked by scikit-learn. An MLP needs rows of features, and a given kernel needs rows."""
        self._check_kernel()
        more_axes = not self.is_given() and (self.kernel is not None or not isinstance(self.network(), MLP))
        shapes = {"allow_nd": more_axes, "ensure_2d": not more_axes}
        try:
            found = validate_data(self, X, *y, reset=bool(y), dtype=np.float64, **shapes, **options)
        except OverflowError:
            largest = f"{np.finfo(float).max:.1e}"
            raise ValueError(f"X or y holds an integer beyond {largest}; expected smaller ones.") from None
        if y and self.is_given() and found[0].shape[0] != found[0].shape[1]:
            raise ValueError(f"X has shape {found[0].shape}; expected a kernel (N, N), since kernel is 'precomputed'.")
        return found

    def is_sampled(self) -> bool:
        """Whether kernels are sampled. Kernels of different calls are then not parts of one kernel."""
        net = self.network()
        if self.kernel is not None or not isinstance(net, TensorProgram):
            return False
        return not forms_of(net.record(self.X_fit_.shape[1:])).is_exact

    def gram(self, x1: Rows, x2: Rows | None = None) -> Matrix:
        """The kernel of x1, or of x1 and x2."""
        if isinstance(self.kernel, str):
            return x1
        if self.kernel is not None:
            return self._called(self.kernel, x1, x1 if x2 is None else x2)
        with jax.enable_x64(True):
            if self.reading == "ntk":
                return np.asarray(infinite_ntk(self.network(), x1, x2))
            return np.asarray(infinite_kernels(self.network(), x1, x2).nngp)

    @staticmethod
    def _called(kernel: KernelFunction, x1: Rows, x2: Rows) -> Matrix:
        found = of_user("kernel(x1, x2)", "a function of two arrays of inputs", kernel, x1, x2)
        matrix = np.asarray(found, np.float64)
        if matrix.shape != (len(x1), len(x2)):
            raise ValueError(f"kernel returns an array of shape {matrix.shape}; expected {(len(x1), len(x2))}.")
        return matrix

    def is_given(self) -> bool:
        """Whether X is the kernel itself."""
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _check_kernel(self) -> None:
        if self.kernel is None:
            return
        if not self.is_given() and not callable(self.kernel):
            raise ValueError(
                f"kernel is {shown(self.kernel)}; expected 'precomputed', a function of two arrays, or None."
            )
        if self.net is not None:
            raise ValueError("net and kernel are both given; expected one of them.")
