"""The distribution of trained networks over their random initialization, in the limit of infinite width."""

import functools
from dataclasses import dataclass
from typing import Protocol, overload, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from ntk.checks import as_symmetric, check_choice, check_flag, shown
from ntk.dynamics.gaussian import Gaussian, covariance_of_test, symmetric_with_variances
from ntk.dynamics.linear_algebra.precision import float64_on_request, in_double, working_precision
from ntk.dynamics.linear_algebra.spectral import Array
from ntk.dynamics.predictors import SquaredLossPredictor
from ntk.dynamics.squared_loss import checked_predictor
from ntk.linalg import highest_matmul

_TRAINED = {"all": "ntk", "readout": "nngp"}
Times = Real[ArrayLike, "..."]


@runtime_checkable
class KernelPair(Protocol):
    """The part of `ntk.Kernels` that an ensemble reads.

    Attributes:
        ntk: Θ, (N1, N2).
        nngp: Σ, (N1, N2).
    """

    @property
    def ntk(self) -> Float[ArrayLike, "N1 N2"]:
        """Θ, (N1, N2)."""

    @property
    def nngp(self) -> Float[ArrayLike, "N1 N2"]:
        """Σ, (N1, N2)."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["predictor", "nngp"], meta_fields=["trained"])
@dataclass(frozen=True, eq=False)
class SquaredLossEnsemble:
    """Mean and covariance of trained networks; made by `squared_loss_ensemble`. A pytree, saved by `ntk.save`.

    Attributes:
        predictor: The training of one network.
        nngp: (N, N), the covariance of the networks at the start, on the training points.
        trained: "all" or "readout".
    """

    predictor: SquaredLossPredictor
    nngp: Array
    trained: str

    @property
    def float64(self) -> bool:
        """Whether the computation is in float64 on the CPU."""
        return self.predictor.float64

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the results."""
        return self.predictor.dtype

    @overload
    def __call__(
        self, t: Times | None = None, kernels_test_train: None = None, nngp_test_test: None = None
    ) -> Gaussian: ...
    @overload
    def __call__(
        self, t: Times | None, kernels_test_train: KernelPair, nngp_test_test: None = None
    ) -> Float[jax.Array, "..."]: ...
    @overload
    def __call__(
        self, t: Times | None = None, *, kernels_test_train: KernelPair, nngp_test_test: None = None
    ) -> Float[jax.Array, "..."]: ...
    @overload
    def __call__(
        self, t: Times | None, kernels_test_train: KernelPair, nngp_test_test: Float[ArrayLike, "M M"]
    ) -> Gaussian: ...
    @overload
    def __call__(
        self, t: Times | None = None, *, kernels_test_train: KernelPair, nngp_test_test: Float[ArrayLike, "M M"]
    ) -> Gaussian: ...
    @float64_on_request
    def __call__(
        self,
        t: Times | None = None,
        kernels_test_train: KernelPair | None = None,
        nngp_test_test: Float[ArrayLike, "M M"] | None = None,
    ) -> Gaussian | Float[jax.Array, "..."]:
        """Mean and covariance at all times t at once.

        Args:
            t: Times of a flow, or whole numbers of steps, of any shape. None and inf mean the end.
            kernels_test_train: `ntk.Kernels` between test and training points, or anything with `ntk` and `nngp` of
                shape (M, N). None means the training points themselves.
            nngp_test_test: (M, M), the NNGP of the test points. The covariance needs it.

        Returns:
            A `Gaussian`. With `kernels_test_train` and without `nngp_test_test`: the mean alone, (*t, M) or (*t, M, O).

        Raises:
            TypeError: A kernel is missing, or is not a floating-point array.
            ValueError: A shape does not fit, a value is not finite, a time is negative, t is not a whole number of
                steps, t is inf although the steps diverge, or a result leaves the range of its dtype.
        """
        predictor = self.predictor
        times, shape = predictor.times(t)
        if kernels_test_train is None:
            if nngp_test_test is not None:
                raise ValueError("nngp_test_test is given without kernels_test_train; expected both, or none of them.")
            mean, covariance = _on_train(self, times)
        else:
            trained, start = (
                predictor.layout.matrix(name, kernel, predictor.num_train, predictor.targets.dtype)
                for name, kernel in _kernels("kernels_test_train", kernels_test_train, self.trained)
            )
            prior = nngp_test_test
            if prior is not None:
                prior = covariance_of_test("nngp_test_test", prior, "kernels_test_train", trained)
            mean, covariance = _on_test(self, times, trained, start, prior)
        predictor.look_at("mean and covariance", (mean, covariance), times, predictor.targets)
        mean = predictor.layout.values(mean, shape)
        return mean if covariance is None else Gaussian(mean, covariance.reshape(*shape, *covariance.shape[1:]))


def squared_loss_ensemble(
    kernels_train_train: KernelPair,
    y_train: Float[ArrayLike, "N ..."],
    *,
    learning_rate: Real[ArrayLike, ""] = 1.0,
    steps: bool = False,
    momentum: Real[ArrayLike, ""] = 0.0,
    trained: str = "all",
    ridge: Real[ArrayLike, ""] = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> SquaredLossEnsemble:
    """Mean and covariance over random initializations of infinitely wide networks, trained on squared loss.

    A network starts as f_0 ~ N(0, Σ), where Σ is the NNGP. The trained network is an affine function of f_0. With
    A_t = Θ_* (Θ + ρ)⁻¹ (I − e^{−η(Θ+ρ)t}) for a flow,

        mean A_t y,   covariance Σ_** − A_t Σ_*ᵀ − Σ_* A_tᵀ + A_t Σ A_tᵀ

    (Lee et al. 2019, arXiv:1902.06720, equations 13 to 16). If the read-out alone is trained, Θ is replaced by Σ.
    The end without a ridge is then the Bayesian posterior of the NNGP.

    Args:
        kernels_train_train: `ntk.infinite_kernels(net, x)`, or anything with `ntk` and `nngp` of shape (N, N).
        y_train: (N,) or (N, O).
        learning_rate: η.
        steps: True for steps of gradient descent, which t then counts. False for gradient flow.
        momentum: β of steps, at least 0 and below 1. A flow has none: 0.
        trained: "all" for all parameters, "readout" for the read-out alone.
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether to compute in float64 on the CPU, even if x64 is not enabled. The results keep the kernel's
            dtype.

    Returns:
        A `SquaredLossEnsemble`, called as `predict(t, kernels_test_train, nngp_test_test)`.

    Raises:
        TypeError: A kernel is missing, or an array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, a kernel is not symmetric or
            not positive semidefinite, `trained` is unknown, momentum is given for a flow, or float64 is True under a
            transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> kernels = ntk.infinite_kernels(ntk.MLP(depth=2), x)
        >>> predict = ntk.dynamics.squared_loss_ensemble(kernels, jnp.array([1.0, -1.0, 0.0]))
        >>> mean, covariance = predict(jnp.array([0.0, jnp.inf]))
        >>> print(mean.round(3) + 0.0, covariance.shape)
        [[ 0.  0.  0.]
         [ 1. -1.  0.]] (2, 3, 3)
    """
    check_choice("trained", trained, _TRAINED)
    check_flag("steps", steps)
    (_, theta), (name, sigma) = _kernels("kernels_train_train", kernels_train_train, trained)
    if not steps and (not isinstance(momentum, int | float) or momentum != 0):
        raise ValueError(f"momentum is {shown(momentum)}, but a flow has none; expected 0, or steps=True.")
    numbers = learning_rate, momentum, ridge, relative_ridge, float64
    predictor = checked_predictor("steps" if steps else "flow", theta, y_train, *numbers, shared=True)
    with working_precision(float64, sigma):
        start = as_symmetric(name, sigma).astype(predictor.targets.dtype)
        if start.shape != np.shape(theta):
            raise ValueError(f"{name} has shape {start.shape}; expected {np.shape(theta)}, the shape of the NTK.")
        start = in_double(start) if float64 else start
    return SquaredLossEnsemble(predictor, start, trained)


def _kernels(name: str, kernels: KernelPair, trained: str) -> list[tuple[str, ArrayLike]]:
    """The kernel of training and the NNGP, each with its name. If the read-out alone is trained, both are the NNGP."""
    fields = (_TRAINED[trained], "nngp")
    for field in fields:
        if getattr(kernels, field, None) is None:
            kind = type(kernels).__name__
            raise TypeError(f"{name} is {kind} without {field}; expected ntk and nngp, as in ntk.Kernels.")
    return [(f"{name}.{field}", getattr(kernels, field)) for field in fields]


@jax.jit
def _on_train(ensemble: SquaredLossEnsemble, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean y − R_t y and covariance R_t Σ R_tᵀ, where R_t maps the error at the start to the error at time t."""
    predictor = ensemble.predictor
    mean = predictor.targets[None] - predictor.filtered("residual", t, predictor.targets)
    left = predictor.filtered("residual", t, jnp.eye(predictor.num_train, dtype=predictor.targets.dtype))
    covariance = highest_matmul(highest_matmul(left, ensemble.nngp[None]), left.mT)
    return mean, symmetric_with_variances(covariance)


@jax.jit
def _on_test(
    ensemble: SquaredLossEnsemble, t: jax.Array, trained: jax.Array, start: jax.Array, prior: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """Between test and training points, `trained` is the kernel of training and `start` is the NNGP."""
    predictor = ensemble.predictor
    mean = highest_matmul(trained[None], predictor.filtered("coefficients", t, predictor.targets))
    if prior is None:
        return mean, None
    responses = predictor.filtered("coefficients", t, trained.T).mT  # A_t
    crossed = highest_matmul(responses, start.T[None])
    spread = highest_matmul(highest_matmul(responses, ensemble.nngp[None]), responses.mT)
    return mean, symmetric_with_variances(prior[None] - crossed - crossed.mT + spread)
