"""Training on squared loss in closed form: flow, steps of gradient descent, momentum (theory.md 6.2 to 6.4).

The loss is L = ½ Σ (f − y)², a sum over points and outputs.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk.checks import MOST_STEPS, as_number, as_numpy, as_positive, as_real, is_concrete
from ntk.dynamics.linear_algebra.layout import Layout, arranged
from ntk.dynamics.linear_algebra.precision import float64_on_request, in_double, working_precision
from ntk.dynamics.linear_algebra.spectral import Array, Spectrum, decompose, filtered
from ntk.dynamics.results import check_in_range, warn_of_lost_digits
from ntk.linalg import highest_matmul


class Prediction(NamedTuple):
    """Outputs on training and on test points.

    Attributes:
        train: (*t, N) or (*t, N, O).
        test: (*t, M) or (*t, M, O).
    """

    train: jax.Array
    test: jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["spectrum", "targets", "learning_rate", "momentum"],
    meta_fields=["filter", "layout", "dtype", "float64"],
)
@dataclass(frozen=True, eq=False)
class SquaredLossPredictor:
    """What training on squared loss makes of a network; made by `squared_loss_flow` and `squared_loss_descent`.

    A pytree: it passes through `jax.jit`, and is saved by `ntk.save`.

    Attributes:
        spectrum: Eigendecomposition of the kernel on the training points, with its ridge.
        targets: y as columns.
        learning_rate: η.
        momentum: β.
        filter: "flow" or "steps".
        layout: How outputs are laid out.
        dtype: Of the results.
        float64: Whether all is computed in float64 on the CPU.
    """

    spectrum: Spectrum
    targets: Array
    learning_rate: Array
    momentum: Array
    filter: str
    layout: Layout
    dtype: Any
    float64: bool

    @float64_on_request
    def __call__(
        self,
        t: ArrayLike | None = None,
        fx_train_0: ArrayLike = 0.0,
        fx_test_0: ArrayLike = 0.0,
        k_test_train: ArrayLike | None = None,
    ) -> Any:
        """The outputs at times t, all of them at once.

        Args:
            t: Times of a flow, or whole numbers of steps, of any shape; None means the end, as inf does.
            fx_train_0: f_0 on the training points, of the shape of y_train, or one number.
            fx_test_0: f_0 on the test points, (M,) or (M, O), or one number.
            k_test_train: Kernel between test and training points, (M, N) or (M, N, O, O); None for no test points.

        Returns:
            Outputs on the training points, (*t.shape, N) or (*t.shape, N, O); with `k_test_train` a `Prediction` of
            these and those on the test points. With a ridge both are of the regularized model, which does not
            reach the targets.

        Raises:
            TypeError: k_test_train is not a floating-point array.
            ValueError: A shape does not fit, a time is negative, no whole number of steps, or the end of steps that
                diverge, a value is not finite, or the outputs leave the range of their dtype, as those of steps that
                diverge do.

        Warns where rounding of the kernel leaves fewer than three digits at a finite time (under a transformation it
        cannot).
        """
        times, shape = self.times(t)
        dtype = self.targets.dtype
        start = self.layout.columns("fx_train_0", fx_train_0, self.num_train, dtype)
        if k_test_train is None:
            found = _train(self, times, start)
            self.look_at("outputs", found, times, self.targets - start)
            return self.layout.values(found, shape)
        kernel = self.layout.matrix("k_test_train", k_test_train, self.num_train, dtype)
        start_test = self.layout.columns("fx_test_0", fx_test_0, np.shape(k_test_train)[0], dtype)
        pair = _train_and_test(self, times, start, start_test, kernel)
        self.look_at("outputs", pair, times, self.targets - start)
        return Prediction(*(self.layout.values(columns, shape) for columns in pair))

    @float64_on_request
    def coefficients(self, t: ArrayLike | None = None, fx_train_0: ArrayLike = 0.0) -> jax.Array:
        """The dual coefficients α_t at times t, (*t.shape, N) or (*t.shape, N, O): f_t(x) = f_0(x) + Θ(x, X) α_t.

        Arguments and errors are those of a call.
        """
        times, shape = self.times(t)
        start = self.layout.columns("fx_train_0", fx_train_0, self.num_train, self.targets.dtype)
        found = _coefficients(self, times, start)
        self.look_at("coefficients", found, times, self.targets - start)
        return self.layout.values(found, shape)

    @property
    def num_train(self) -> int:
        """N, the number of training points."""
        return len(self.targets) // (self.layout.outputs[0] if self.layout.full else 1)

    def times(self, t: ArrayLike | None) -> tuple[Any, tuple[int, ...]]:
        """The times in a row, checked, and the shape that they had."""
        t = np.inf if t is None else t
        if is_concrete(t):
            self._check_times(as_numpy("t", t, "times that are not negative").astype(np.float64))
        t = as_real("t", t)
        return jnp.ravel(t.astype(self.targets.dtype)), t.shape

    def look_at(self, name: str, results: Any, t: jax.Array, error: Array) -> None:
        """Refuse concrete results at times t that have left the range of their dtype; warn of digits that are lost.

        `error` is what training is to remove, as columns.
        """
        slow = 1 - self.momentum
        if is_concrete(self, t):
            double = "" if self.targets.dtype == jnp.float64 else ", or float64=True"
            if self.filter == "steps" and float(self.learning_rate) >= self._stable_rate():
                advice = f"a learning_rate below {self._stable_rate():.6g}, beyond which steps diverge, fewer steps"
            else:
                advice = "smaller targets, outputs or kernels"
            check_in_range(name, results, t, advice + double)
        warn_of_lost_digits(self.spectrum, t, self.learning_rate / slow, error, self.dtype)

    def _stable_rate(self) -> float:
        """The learning rate below which steps converge."""
        return 2 * (1 + float(self.momentum)) / max(float(jnp.max(self.spectrum.eigenvalues)), 1e-300)

    def _check_times(self, times: np.ndarray) -> None:
        if not (times >= 0).all():
            raise ValueError(f"t goes from {times.min()} to {times.max()}; expected times that are not negative.")
        if self.filter == "flow":
            return
        finite = times[np.isfinite(times)]
        dtype = self.targets.dtype
        # Up to here a floating-point number tells every step from the next.
        most = min(MOST_STEPS, 2 ** (jnp.finfo(dtype).nmant + 1))
        uncounted = finite[(finite != np.round(finite)) | (finite > most)]
        if uncounted.size:
            raise ValueError(
                f"t is {uncounted[0]:.17g}; expected whole numbers of steps, up to {most} in {dtype}, or inf."
            )
        if np.isinf(times).any() and is_concrete(self) and float(self.learning_rate) >= self._stable_rate():
            raise ValueError(
                f"t is inf with learning_rate {float(self.learning_rate):g}, at which steps diverge; expected a"
                f" learning rate below {self._stable_rate():.6g}."
            )


def squared_loss_flow(
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    *,
    learning_rate: ArrayLike = 1.0,
    ridge: ArrayLike = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> SquaredLossPredictor:
    """Gradient flow ∂_t θ = −η ∇L on L = ½ Σ (f − y)², for a network of constant kernel, at any times at once.

        f_t(x) = f_0(x) + Θ(x, X) (Θ + ρ)⁻¹ (I − e^{−η(Θ+ρ)t}) (y − f_0(X))

    One symmetric eigendecomposition serves all times and test points. The ridge ρ is that of the loss
    L + ½ρ‖θ − θ_0‖². Directions in which rounding does not tell the kernel from 0 (duplicate rows) are not trained, so
    that t = ∞ is the least-squares fit of least norm.

    Lee et al. 2019 (arXiv:1902.06720), equations 8 to 11. Of `neural_tangents.predict.gradient_descent_mse`, whose
    squared loss is a mean over N points and O outputs, the time is N·O times the one here.

    Args:
        k_train_train: Θ(X, X), (N, N), shared by the outputs, or (N, N, O, O), of float32 or float64.
        y_train: (N,) or (N, O).
        learning_rate: η.
        ridge: ρ.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether to compute in float64 on the CPU, also where x64 is not enabled; results keep the kernel's
            dtype.

    Returns:
        A `SquaredLossPredictor`, called as `predict(t, fx_train_0, fx_test_0, k_test_train)`.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, a number is negative, the kernel is not symmetric or
            not positive semidefinite, or float64 is asked for under a transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> predict = dynamics.squared_loss_flow(jnp.diag(jnp.array([1.0, 2.0])), jnp.array([1.0, 1.0]))
        >>> print(predict(jnp.array([0.0, 1.0, jnp.inf])).round(3))  # 1 − e^{−t} and 1 − e^{−2t}
        [[0.    0.   ]
         [0.632 0.865]
         [1.    1.   ]]
        >>> print(predict(None, k_test_train=jnp.array([[0.5, 1.0]])).test)  # 0.5/1 + 1/2
        [1.]
    """
    return _predictor("flow", k_train_train, y_train, learning_rate, 0.0, ridge, relative_ridge, float64)


def squared_loss_descent(
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    *,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> SquaredLossPredictor:
    """Full-batch gradient descent on L = ½ Σ (f − y)², after any numbers of steps at once.

    Along an eigenvector of Θ + ρI of eigenvalue μ the error is multiplied by (1 − ημ)^t; with momentum (the heavy ball
    of Polyak 1964, as `optax.sgd` has it, started at rest) by what its two-term recursion leaves. Also beyond the
    largest stable learning rate, `max_learning_rate`, where it grows.

    Args:
        k_train_train: As for `squared_loss_flow`.
        y_train: Likewise.
        learning_rate: η.
        momentum: β, at least 0 and below 1.
        ridge: ρ.
        relative_ridge: As for `squared_loss_flow`.
        float64: Likewise.

    Returns:
        A `SquaredLossPredictor`, in which t counts steps.

    Raises:
        TypeError: As for `squared_loss_flow`.
        ValueError: As there.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> k, y = jnp.diag(jnp.array([1.0, 2.0])), jnp.array([1.0, 1.0])
        >>> predict = dynamics.squared_loss_descent(k, y, learning_rate=0.25)
        >>> print(predict(jnp.arange(3)))  # 1 − (3/4)^t and 1 − (1/2)^t
        [[0.     0.    ]
         [0.25   0.5   ]
         [0.4375 0.75  ]]
    """
    return _predictor("steps", k_train_train, y_train, learning_rate, momentum, ridge, relative_ridge, float64)


def _predictor(
    name: str,
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike,
    ridge: ArrayLike,
    relative_ridge: bool,
    float64: bool,
) -> SquaredLossPredictor:
    with working_precision(float64, k_train_train, y_train, learning_rate, momentum, ridge):
        matrix, targets, layout = arranged(k_train_train, y_train)
        dtype = matrix.dtype
        if float64:
            matrix, targets = (jnp.asarray(part) for part in in_double((matrix, targets)))
        rate, beta = as_positive("learning_rate", learning_rate, matrix.dtype), as_momentum(momentum, matrix.dtype)
        arrays = decompose(matrix, ridge, relative_ridge, dtype), targets, rate, beta
        spectrum, targets, rate, beta = in_double(arrays) if float64 else arrays
    return SquaredLossPredictor(spectrum, targets, rate, beta, name, layout, dtype, float64)


def as_momentum(momentum: ArrayLike, dtype: Any) -> jax.Array:
    """A momentum in a dtype; refused outside [0, 1)."""
    return as_number("momentum", momentum, dtype, lambda beta: 0 <= beta < 1, "one number of at least 0 and below 1")


@jax.jit
def _train(predictor: SquaredLossPredictor, t: jax.Array, start: jax.Array) -> jax.Array:
    error = start - predictor.targets
    return predictor.targets[None] + _filtered(predictor, "residual", t, error)


@jax.jit
def _train_and_test(
    predictor: SquaredLossPredictor, t: jax.Array, start: jax.Array, start_test: jax.Array, k_test_train: jax.Array
) -> tuple[jax.Array, jax.Array]:
    coefficients = _coefficients(predictor, t, start)
    return _train(predictor, t, start), start_test[None] + highest_matmul(k_test_train[None], coefficients)


@jax.jit
def _coefficients(predictor: SquaredLossPredictor, t: jax.Array, start: jax.Array) -> jax.Array:
    return _filtered(predictor, "coefficients", t, predictor.targets - start)


def _filtered(predictor: SquaredLossPredictor, which: str, t: jax.Array, columns: jax.Array) -> jax.Array:
    kind = (predictor.filter, which)
    return filtered(predictor.spectrum, kind, t, predictor.learning_rate, predictor.momentum, columns)
