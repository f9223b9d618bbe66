"""A network trained on squared loss, at any times: the result of `squared_loss_flow` and `squared_loss_descent`."""

import functools
from dataclasses import dataclass
from typing import NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, PyTree, Real

from ntk.checks import MOST_STEPS, as_numpy, as_real, is_concrete
from ntk.dynamics.linear_algebra.layout import Layout, Start
from ntk.dynamics.linear_algebra.precision import float64_on_request
from ntk.dynamics.linear_algebra.spectral import Array, Spectrum, filtered
from ntk.dynamics.results import check_in_range, warn_of_lost_digits
from ntk.linalg import highest_matmul


class Prediction(NamedTuple):
    """Outputs on the training and on the test points.

    Attributes:
        train: (*t, N) or (*t, N, O).
        test: (*t, M) or (*t, M, O).
    """

    train: Float[jax.Array, "..."]
    test: Float[jax.Array, "..."]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["spectrum", "targets", "learning_rate", "momentum"],
    meta_fields=["filter", "layout", "dtype", "float64"],
)
@dataclass(frozen=True, eq=False)
class SquaredLossPredictor:
    """A network trained on squared loss; made by `squared_loss_flow` and `squared_loss_descent`.

    It is a pytree, which passes through `jax.jit`. `ntk.save` saves it.

    Attributes:
        spectrum: Eigendecomposition of the kernel on the training points, with its ridge.
        targets: y as columns: (N, 1) or (N, O), or (N·O, 1) if the kernel has output axes.
        learning_rate: η, a scalar.
        momentum: β, a scalar.
        filter: "flow" or "steps".
        layout: The axes of the outputs.
        dtype: The dtype of the results.
        float64: Whether the computation is in float64 on the CPU.
    """

    spectrum: Spectrum
    targets: Array
    learning_rate: Array
    momentum: Array
    filter: str
    layout: Layout
    dtype: jnp.dtype
    float64: bool

    @overload
    def __call__(
        self,
        t: Real[ArrayLike, "..."] | None = None,
        fx_train_0: Real[ArrayLike, "..."] = 0.0,
        fx_test_0: Real[ArrayLike, "..."] = 0.0,
        k_test_train: None = None,
    ) -> Float[jax.Array, "..."]: ...
    @overload
    def __call__(
        self,
        t: Real[ArrayLike, "..."] | None = None,
        fx_train_0: Real[ArrayLike, "..."] = 0.0,
        fx_test_0: Real[ArrayLike, "..."] = 0.0,
        *,
        k_test_train: Float[ArrayLike, "M N ..."],
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        t: Real[ArrayLike, "..."] | None,
        fx_train_0: Real[ArrayLike, "..."],
        fx_test_0: Real[ArrayLike, "..."],
        k_test_train: Float[ArrayLike, "M N ..."],
    ) -> Prediction: ...
    @float64_on_request
    def __call__(
        self,
        t: Real[ArrayLike, "..."] | None = None,
        fx_train_0: Real[ArrayLike, "..."] = 0.0,
        fx_test_0: Real[ArrayLike, "..."] = 0.0,
        k_test_train: Float[ArrayLike, "M N ..."] | None = None,
    ) -> Float[jax.Array, "..."] | Prediction:
        """The outputs at all times t at once.

        It warns if rounding of the kernel leaves fewer than three digits at a finite time. Under a transformation it
        cannot warn.

        Args:
            t: Times of a flow, or whole numbers of steps, of any shape. None and inf mean the end.
            fx_train_0: f_0 on the training points, (N,) or (N, O) as y_train, or one number.
            fx_test_0: f_0 on the test points, (M,) or (M, O), or one number.
            k_test_train: The kernel between test and training points, (M, N) or (M, N, O, O). None means no test
                points.

        Returns:
            Outputs on the training points, (*t, N) or (*t, N, O). With `k_test_train`: a `Prediction`, the outputs on
            the training and on the test points. With a ridge the outputs do not reach the targets.

        Raises:
            TypeError: k_test_train is not a floating-point array, or times or outputs are not numbers.
            ValueError: A shape does not fit, a value is not finite, a time is negative, t is not a whole number of
                steps, t is inf although the steps diverge, or the outputs leave the range of their dtype.
        """
        times, shape = self.times(t)
        start = self.layout.start(fx_train_0, fx_test_0, k_test_train, self.num_train, self.targets.dtype)
        train, test = _outputs(self, times, start)
        self.look_at("outputs", (train, test), times, self.targets - start.train)
        on_train = self.layout.values(train, shape)
        return on_train if test is None else Prediction(on_train, self.layout.values(test, shape))

    @float64_on_request
    def coefficients(
        self, t: Real[ArrayLike, "..."] | None = None, fx_train_0: Real[ArrayLike, "..."] = 0.0
    ) -> Float[jax.Array, "..."]:
        """The dual coefficients α_t at all times t at once: f_t(x) = f_0(x) + Θ(x, X) α_t.

        Args:
            t: Times of a flow, or whole numbers of steps, of any shape. None and inf mean the end.
            fx_train_0: f_0 on the training points, (N,) or (N, O) as y_train, or one number.

        Returns:
            (*t, N) or (*t, N, O).

        Raises:
            TypeError: Times or outputs are not numbers.
            ValueError: A shape does not fit, a value is not finite, a time is negative, t is not a whole number of
                steps, t is inf although the steps diverge, or the coefficients leave the range of their dtype.
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

    def times(self, t: Real[ArrayLike, "..."] | None) -> tuple[Float[jax.Array, " T"], tuple[int, ...]]:
        """The checked times as one axis, and their shape before."""
        t = np.inf if t is None else t
        if is_concrete(t):
            self._check_times(as_numpy("t", t, "times that are not negative").astype(np.float64))
        t = as_real("t", t)
        return jnp.ravel(t.astype(self.targets.dtype)), t.shape

    def filtered(
        self, which: str, t: Float[jax.Array, " T"], columns: Float[jax.Array, "R c"]
    ) -> Float[jax.Array, "T R c"]:
        """The filter `which`, "residual" or "coefficients", of the kernel at times t, times columns."""
        return filtered(self.spectrum, (self.filter, which), t, self.learning_rate, self.momentum, columns)

    def look_at(self, name: str, results: PyTree, t: jax.Array, error: Array) -> None:
        """Refuse concrete results at times t beyond the range of their dtype, and warn of lost digits.

        `error` is the error at the start, as columns.
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
        # The largest number up to which the dtype holds all integers.
        most = min(MOST_STEPS, 2 ** (jnp.finfo(dtype).nmant + 1))
        uncounted = finite[(finite != np.round(finite)) | (finite > most)]
        if uncounted.size:
            raise ValueError(
                f"t is {uncounted[0]:.17g}; expected whole numbers of steps, up to {most} in {dtype}, or inf."
            )
        if np.isinf(times).any() and is_concrete(self) and float(self.learning_rate) >= self._stable_rate():
            raise ValueError(
                f"t is inf, but steps of learning_rate {float(self.learning_rate):g} diverge; expected a learning_rate"
                f" below {self._stable_rate():.6g}."
            )


@jax.jit
def _outputs(
    predictor: SquaredLossPredictor, t: Float[jax.Array, " T"], start: Start
) -> tuple[Float[jax.Array, "T R c"], Float[jax.Array, "T S c"] | None]:
    """The outputs on the training and on the test points. The latter are None without test points."""
    error = start.train - predictor.targets
    train = predictor.targets[None] + predictor.filtered("residual", t, error)
    if start.test is None or start.k_test_train is None:
        return train, None
    moved = highest_matmul(start.k_test_train[None], _coefficients(predictor, t, start.train))
    return train, start.test[None] + moved


@jax.jit
def _coefficients(predictor: SquaredLossPredictor, t: jax.Array, start: jax.Array) -> jax.Array:
    return predictor.filtered("coefficients", t, predictor.targets - start)
