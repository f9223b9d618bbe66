"""Training on squared loss in closed form: gradient flow, gradient descent, momentum (theory.md 6.2 to 6.4).

The loss is L = ½ Σ (f − y)², a sum over points and outputs.
"""

import jax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Real

from ntk.checks import as_number, as_positive_number
from ntk.dynamics.linear_algebra.precision import in_double, working_precision
from ntk.dynamics.linear_algebra.problems import checked_problem
from ntk.dynamics.linear_algebra.spectral import decompose
from ntk.dynamics.predictors import SquaredLossPredictor


def squared_loss_flow(
    k_train_train: Float[ArrayLike, "N N ..."],
    y_train: Float[ArrayLike, "N ..."],
    *,
    learning_rate: Real[ArrayLike, ""] = 1.0,
    ridge: Real[ArrayLike, ""] = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> SquaredLossPredictor:
    """Gradient flow ∂_t θ = −η ∇L on L = ½ Σ (f − y)², for a network of constant kernel.

        f_t(x) = f_0(x) + Θ(x, X) (Θ + ρ)⁻¹ (I − e^{−η(Θ+ρ)t}) (y − f_0(X))

    (Lee et al. 2019, arXiv:1902.06720, equations 8 to 11). One eigendecomposition serves all times and test points. A
    ridge ρ means the loss L + ½ρ‖θ − θ_0‖². Without a ridge, training leaves out directions of eigenvalue 0 up to
    rounding, such as those of duplicate rows. At t = ∞ the result is therefore the least-squares fit of least norm.

    In `neural_tangents.predict.gradient_descent_mse` the loss is a mean over N points and O outputs. Its time is N·O
    times the time here.

    Args:
        k_train_train: Θ(X, X), (N, N), shared by the outputs, or (N, N, O, O), of float32 or float64.
        y_train: (N,) or (N, O).
        learning_rate: η.
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether to compute in float64 on the CPU, even if x64 is not enabled. The results keep the kernel's
            dtype.

    Returns:
        A `SquaredLossPredictor`, called as `predict(t, fx_train_0, fx_test_0, k_test_train)`.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, the kernel is not symmetric
            or not positive semidefinite, or float64 is True under a transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from ntk import dynamics
        >>> predict = dynamics.squared_loss_flow(jnp.diag(jnp.array([1.0, 2.0])), jnp.array([1.0, 1.0]))
        >>> print(np.asarray(predict(jnp.array([0.0, 1.0, jnp.inf]))).round(3))  # 1 − e^{−t} and 1 − e^{−2t}
        [[0.    0.   ]
         [0.632 0.865]
         [1.    1.   ]]
        >>> print(predict(None, k_test_train=jnp.array([[0.5, 1.0]])).test)  # 0.5/1 + 1/2
        [1.]
    """
    return checked_predictor("flow", k_train_train, y_train, learning_rate, 0.0, ridge, relative_ridge, float64)


def squared_loss_descent(
    k_train_train: Float[ArrayLike, "N N ..."],
    y_train: Float[ArrayLike, "N ..."],
    *,
    learning_rate: Real[ArrayLike, ""],
    momentum: Real[ArrayLike, ""] = 0.0,
    ridge: Real[ArrayLike, ""] = 0.0,
    relative_ridge: bool = False,
    float64: bool = False,
) -> SquaredLossPredictor:
    """Full-batch gradient descent on L = ½ Σ (f − y)², for a network of constant kernel.

    After t steps the error along an eigenvector of Θ + ρI of eigenvalue μ is (1 − ημ)^t times the error at the start.
    Momentum is the heavy ball (Polyak 1964) of `optax.sgd`, started at rest. Steps beyond the largest stable learning
    rate, `max_learning_rate`, are allowed; the error then grows.

    Args:
        k_train_train: Θ(X, X), (N, N), shared by the outputs, or (N, N, O, O), of float32 or float64.
        y_train: (N,) or (N, O).
        learning_rate: η.
        momentum: β, at least 0 and below 1.
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether to compute in float64 on the CPU, even if x64 is not enabled. The results keep the kernel's
            dtype.

    Returns:
        A `SquaredLossPredictor`, called as `predict(t, fx_train_0, fx_test_0, k_test_train)`. Here t counts steps.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, the kernel is not symmetric
            or not positive semidefinite, or float64 is True under a transformation.

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
    return checked_predictor("steps", k_train_train, y_train, learning_rate, momentum, ridge, relative_ridge, float64)


def checked_predictor(
    name: str,
    k_train_train: Float[ArrayLike, "N N ..."],
    y_train: Float[ArrayLike, "N ..."],
    learning_rate: Real[ArrayLike, ""],
    momentum: Real[ArrayLike, ""],
    ridge: Real[ArrayLike, ""],
    relative_ridge: bool,
    float64: bool,
    *,
    shared: bool = False,
) -> SquaredLossPredictor:
    """The predictor with the filter of that name, "flow" or "steps", from arguments that are checked here.

    The arguments are those of `squared_loss_descent`. `shared` refuses a kernel with output axes.
    """
    with working_precision(float64, k_train_train, y_train, learning_rate, momentum, ridge):
        problem = checked_problem(k_train_train, y_train, ridge, relative_ridge, float64=float64, shared=shared)
        rate = as_positive_number("learning_rate", learning_rate, problem.matrix.dtype)
        beta = as_momentum(momentum, problem.matrix.dtype)
        arrays = decompose(problem.matrix, problem.ridge, problem.given_in), problem.targets, rate, beta
        spectrum, targets, rate, beta = in_double(arrays) if float64 else arrays
    return SquaredLossPredictor(spectrum, targets, rate, beta, name, problem.layout, problem.given_in, float64)


def as_momentum(momentum: Real[ArrayLike, ""], dtype: DTypeLike) -> Float[jax.Array, ""]:
    """A momentum in a dtype. Numbers outside [0, 1) are refused."""
    return as_number("momentum", momentum, dtype, lambda beta: 0 <= beta < 1, "one number of at least 0 and below 1")
