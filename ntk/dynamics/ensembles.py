"""The distribution of trained networks over their random initialization, in the limit of infinite width."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk.checks import as_symmetric, check_choice, check_flag, shown
from ntk.dynamics.gaussian import Gaussian, check_shared, covariance_of_test, symmetric_with_variances
from ntk.dynamics.linear_algebra.precision import float64_on_request, in_double, working_precision
from ntk.dynamics.linear_algebra.spectral import Array, filtered
from ntk.dynamics.predictors import SquaredLossPredictor
from ntk.dynamics.squared_loss import squared_loss_descent, squared_loss_flow
from ntk.linalg import highest_matmul

_TRAINED = {"all": "ntk", "readout": "nngp"}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["predictor", "nngp"], meta_fields=["trained"])
@dataclass(frozen=True, eq=False)
class SquaredLossEnsemble:
    """Mean and covariance of trained networks; made by `squared_loss_ensemble`. A pytree, saved by `ntk.save`.

    Attributes:
        predictor: What training makes of one network.
        nngp: Covariance of the networks at the start, on the training points.
        trained: "all" or "readout".
    """

    predictor: SquaredLossPredictor
    nngp: Array
    trained: str

    @property
    def float64(self) -> bool:
        """Whether all is computed in float64 on the CPU."""
        return self.predictor.float64

    @property
    def dtype(self) -> Any:
        """Of the results."""
        return self.predictor.dtype

    @float64_on_request
    def __call__(
        self, t: ArrayLike | None = None, kernels_test_train: Any = None, nngp_test_test: ArrayLike | None = None
    ) -> Any:
        """Mean and covariance at times t, all of them at once.

        Args:
            t: Times, or numbers of steps, of any shape; None means the end, as inf does.
            kernels_test_train: `ntk.Kernels` between test and training points, or anything with `ntk` and `nngp` of
                shape (M, N); None for the training points themselves.
            nngp_test_test: (M, M), the NNGP of the test points; without it there is no covariance.

        Returns:
            A `Gaussian`; with `kernels_test_train` and without `nngp_test_test` the mean alone, (*t, M) or (*t, M, O).

        Raises:
            TypeError: A kernel is missing, or is not a floating-point array.
            ValueError: A shape does not fit, a time is negative, or a value is not finite.
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
    kernels_train_train: Any,
    y_train: ArrayLike,
    *,
    learning_rate: ArrayLike = 1.0,
    steps: bool = False,
    momentum: ArrayLike = 0.0,
    trained: str = "all",
    ridge: ArrayLike = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> SquaredLossEnsemble:
    """Mean and covariance over random initializations of infinitely wide networks, trained on squared loss.

    Networks start as f_0 ~ N(0, Σ), Σ the NNGP, and what training makes of each is affine in f_0. With
    A_t = Θ_* g(Θ, t), as in `squared_loss_flow`,

        mean A_t y,   covariance Σ_** − A_t Σ_*ᵀ − Σ_* A_tᵀ + A_t Σ A_tᵀ

    (Lee et al. 2019, arXiv:1902.06720, equations 13 to 16). When the read-out alone is trained Σ stands for Θ as well,
    and without a ridge the end is the NNGP's Bayesian posterior.

    Args:
        kernels_train_train: `ntk.infinite_kernels(net, x)`, or anything with `ntk` and `nngp` of shape (N, N).
        y_train: (N,) or (N, O).
        learning_rate: η.
        steps: Whether training goes in steps, which t counts, or as a flow.
        momentum: β of steps, at least 0 and below 1; 0 for a flow.
        trained: "all" parameters, or the "readout" alone.
        ridge: ρ.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether to compute in float64 on the CPU, also where x64 is not enabled. The results keep the kernel's
            dtype.

    Returns:
        A `SquaredLossEnsemble`, called as `predict(t, kernels_test_train, nngp_test_test)`.

    Raises:
        TypeError: A kernel is missing, or an array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, a kernel is not symmetric or
            not positive semidefinite, `trained` is unknown, or momentum is given for a flow.

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
    options: dict[str, Any] = {"ridge": ridge, "relative_ridge": relative_ridge, "float64": float64}
    make: Callable[..., SquaredLossPredictor]
    if steps:
        make = functools.partial(squared_loss_descent, momentum=momentum)
    else:
        if not isinstance(momentum, int | float) or momentum != 0:
            raise ValueError(f"momentum is {shown(momentum)} of a flow; expected 0, or steps=True.")
        make = squared_loss_flow
    predictor = make(theta, y_train, learning_rate=learning_rate, **options)
    check_shared(predictor.layout)
    with working_precision(float64, sigma):
        start = as_symmetric(name, sigma).astype(predictor.targets.dtype)
        if start.shape != np.shape(theta):
            raise ValueError(f"{name} has shape {start.shape}; expected {np.shape(theta)} as the NTK has.")
        start = in_double(start) if float64 else start
    return SquaredLossEnsemble(predictor, start, trained)


def _kernels(name: str, kernels: Any, trained: str) -> list[tuple[str, Any]]:
    """The kernel that training goes by and the NNGP, by name; the same where the read-out alone is trained."""
    fields = (_TRAINED[trained], "nngp")
    for field in fields:
        if getattr(kernels, field, None) is None:
            kind = type(kernels).__name__
            raise TypeError(f"{name} is {kind} without {field}; expected ntk and nngp, as ntk.Kernels has.")
    return [(f"{name}.{field}", getattr(kernels, field)) for field in fields]


@jax.jit
def _on_train(ensemble: SquaredLossEnsemble, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """With R_t what is left of an error: mean y − R_t y, covariance R_t Σ R_tᵀ."""
    predictor = ensemble.predictor
    mean = predictor.targets[None] - _filtered(ensemble, "residual", t, predictor.targets)
    left = _filtered(ensemble, "residual", t, jnp.eye(predictor.num_train, dtype=predictor.targets.dtype))
    covariance = highest_matmul(highest_matmul(left, ensemble.nngp[None]), left.mT)
    return mean, symmetric_with_variances(covariance)


@jax.jit
def _on_test(
    ensemble: SquaredLossEnsemble, t: jax.Array, trained: jax.Array, start: jax.Array, prior: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """`trained` is the kernel of training between test and training points, `start` the NNGP there."""
    mean = highest_matmul(trained[None], _filtered(ensemble, "coefficients", t, ensemble.predictor.targets))
    if prior is None:
        return mean, None
    responses = _filtered(ensemble, "coefficients", t, trained.T).mT  # A_t
    crossed = highest_matmul(responses, start.T[None])
    spread = highest_matmul(highest_matmul(responses, ensemble.nngp[None]), responses.mT)
    return mean, symmetric_with_variances(prior[None] - crossed - crossed.mT + spread)


def _filtered(ensemble: SquaredLossEnsemble, which: str, t: jax.Array, columns: jax.Array) -> jax.Array:
    predictor = ensemble.predictor
    kind = (predictor.filter, which)
    return filtered(predictor.spectrum, kind, t, predictor.learning_rate, predictor.momentum, columns)
