"""Gradient flow in function space for any loss, by an ODE solver (theory.md 6.1, 6.6). Needs Diffrax."""

import functools
import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Real, Shaped

from ntk.caches.lifetimes import compiled
from ntk.checks import MOST_STEPS, as_positive_number, as_real, check_count, check_nonnegative, is_concrete, shown
from ntk.dynamics.linear_algebra.layout import Layout
from ntk.dynamics.loss_problems import Loss, LossProblem, checked_loss_problem
from ntk.dynamics.predictors import Prediction
from ntk.dynamics.results import check_in_range
from ntk.linalg import highest_matmul

State = tuple[jax.Array, jax.Array, jax.Array]  # the time, the dual coefficients, and whether the solver arrived


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["matrix", "targets", "learning_rate", "rtol", "atol"],
    meta_fields=["loss", "full", "solver", "max_steps"],
)
@dataclass(frozen=True, eq=False)
class LossFlowPredictor(LossProblem):
    """A network trained by gradient flow on any loss; made by `loss_flow`. A pytree.

    Attributes:
        matrix: The kernel on the training points, as one matrix (N', N').
        targets: y, (N, …), which the loss takes.
        loss: loss(f, y). Training minimizes its sum.
        full: Whether the kernel has output axes.
        learning_rate: η, a scalar.
        rtol: Relative tolerance of the solver, a scalar.
        atol: Absolute tolerance of the solver, a scalar.
        solver: A Diffrax solver, or None.
        max_steps: The most steps of the solver from one time to the next.
    """

    learning_rate: jax.Array
    rtol: jax.Array
    atol: jax.Array
    solver: Any
    max_steps: int

    @overload
    def __call__(
        self,
        t: Real[ArrayLike, "..."],
        fx_train_0: Real[ArrayLike, "..."] = 0.0,
        fx_test_0: Real[ArrayLike, "..."] = 0.0,
        k_test_train: None = None,
    ) -> Float[jax.Array, "..."]: ...
    @overload
    def __call__(
        self,
        t: Real[ArrayLike, "..."],
        fx_train_0: Real[ArrayLike, "..."] = 0.0,
        fx_test_0: Real[ArrayLike, "..."] = 0.0,
        *,
        k_test_train: Float[ArrayLike, "M N ..."],
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        t: Real[ArrayLike, "..."],
        fx_train_0: Real[ArrayLike, "..."],
        fx_test_0: Real[ArrayLike, "..."],
        k_test_train: Float[ArrayLike, "M N ..."],
    ) -> Prediction: ...
    def __call__(
        self,
        t: Real[ArrayLike, "..."],
        fx_train_0: Real[ArrayLike, "..."] = 0.0,
        fx_test_0: Real[ArrayLike, "..."] = 0.0,
        k_test_train: Float[ArrayLike, "M N ..."] | None = None,
    ) -> Float[jax.Array, "..."] | Prediction:
        """The outputs at finite times t of any shape and order, from one integration.

        Args:
            t: Times, of any shape.
            fx_train_0: f_0 on the training points, (N,) or (N, O). One number if the targets have the shape of the
                outputs.
            fx_test_0: f_0 on the test points, (M,) or (M, O), or one number.
            k_test_train: (M, N) or (M, N, O, O). None means no test points.

        Returns:
            Outputs on the training points, (*t, N) or (*t, N, O). With `k_test_train`: a `Prediction`, the outputs on
            the training and on the test points.

        Raises:
            TypeError: The kernel is not floating-point, outputs or times are not numbers, or the loss does not return
                real numbers.
            ValueError: A shape does not fit, a value or a time is not finite, a time is negative, the loss fails, the
                outputs leave the range of their dtype, or the loss compares outputs with the targets of other points,
                because shapes (N, 1) and (N,) broadcast.
            RuntimeError: The solver stopped before the last time. Under a transformation the results are NaN instead.
        """
        check_nonnegative("t", t)
        layout, start = self.start(fx_train_0, fx_test_0, k_test_train)
        times = as_real("t", t).astype(self.matrix.dtype)
        numbers, flat = (self.learning_rate, self.rtol, self.atol), jnp.ravel(times)
        coefficients, arrived = _integrate(
            self.loss, layout, self.solver, self.max_steps, self.matrix, self.targets, numbers, flat, start.train
        )
        if is_concrete(coefficients) and not bool(arrived):
            raise RuntimeError(
                f"the ODE solver stopped before t = {float(jnp.max(times)):g}; expected shorter times, max_steps"
                f" above {self.max_steps}, looser tolerances, or an implicit solver such as diffrax.Kvaerno5()."
            )
        advice = "shorter times, or smaller targets, outputs or kernels"
        on_train = _outputs(start.train, self.matrix, coefficients)
        check_in_range("outputs", on_train, flat, advice)
        train = layout.values(on_train, times.shape)
        if start.test is None or start.k_test_train is None:
            return train
        on_test = _outputs(start.test, start.k_test_train, coefficients)
        check_in_range("outputs", on_test, flat, advice)
        return Prediction(train, layout.values(on_test, times.shape))


def loss_flow(
    k_train_train: Float[ArrayLike, "N N ..."],
    y_train: Shaped[ArrayLike, "N ..."],
    loss: Loss,
    *,
    learning_rate: Real[ArrayLike, ""] = 1.0,
    rtol: Real[ArrayLike, ""] = 1e-6,
    atol: Real[ArrayLike, ""] = 1e-8,
    solver: Any = None,
    max_steps: int = 2**14,
) -> LossFlowPredictor:
    """Gradient flow ∂_t f = −η Θ ∇_f L(f) on any loss, such as cross-entropy, for a network of constant kernel.

    The dual coefficients are integrated: ∂_t α = −η ∇_f L(f_0 + Θα). One solution therefore serves any number of test
    points: f_t(x) = f_0(x) + Θ(x, X) α_t. `squared_loss_flow` is the closed form for squared loss. With cross-entropy
    on separable data training has no end: the outputs grow like ln t.

    Args:
        k_train_train: Θ(X, X), (N, N), shared by the outputs, or (N, N, O, O), of float32 or float64.
        y_train: (N, …), the targets that the loss takes: one-hot rows for `optax.softmax_cross_entropy`, integers for
            `optax.softmax_cross_entropy_with_integer_labels`.
        loss: loss(f, y), for example one of Optax. Its values are summed, not averaged.
        learning_rate: η.
        rtol: Relative tolerance of the solver for α.
        atol: Absolute tolerance of the solver for α.
        solver: A Diffrax solver. None means `diffrax.Tsit5()`. Times far above 1/(η λ_max) need an implicit solver,
            such as `diffrax.Kvaerno5()`.
        max_steps: The most steps of the solver from one time to the next.

    Returns:
        A `LossFlowPredictor`, called as `predict(t, fx_train_0, fx_test_0, k_test_train)`.

    Raises:
        TypeError: The kernel is not floating-point, targets are not numbers, loss is not a function, or solver is not
            a Diffrax solver.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, or the kernel is not
            symmetric or not positive semidefinite.
        ImportError: Diffrax is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from ntk import dynamics
        >>> labels = jnp.array([0, 1])
        >>> loss = optax.softmax_cross_entropy_with_integer_labels
        >>> predict = dynamics.loss_flow(jnp.eye(2), labels, loss)
        >>> fx = predict(jnp.array([0.0, 10.0]), jnp.zeros((2, 3)))
        >>> print(fx.shape, fx[1].argmax(axis=1))
        (2, 2, 3) [0 1]
    """
    diffrax = _diffrax()
    check_count("max_steps", max_steps, maximum=MOST_STEPS)
    if solver is not None and not isinstance(solver, diffrax.AbstractSolver):
        raise TypeError(f"solver is {shown(solver)}; expected a Diffrax solver, such as diffrax.Kvaerno5().")
    problem = checked_loss_problem(k_train_train, y_train, loss)
    dtype = problem.matrix.dtype
    return LossFlowPredictor(
        problem.matrix,
        problem.targets,
        problem.loss,
        problem.full,
        learning_rate=as_positive_number("learning_rate", learning_rate, dtype),
        rtol=as_positive_number("rtol", rtol, dtype),
        atol=as_positive_number("atol", atol, dtype),
        solver=solver,
        max_steps=max_steps,
    )


@compiled(static=3)
def _integrate(
    loss: Loss,
    layout: Layout,
    solver: Any,
    max_steps: int,
    matrix: jax.Array,
    targets: jax.Array,
    numbers: tuple[jax.Array, jax.Array, jax.Array],
    t: jax.Array,
    start: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The dual coefficients at times t, (T, N', c), and whether the solver arrived. If it did not, they are NaN."""
    diffrax = _diffrax()
    rate, rtol, atol = numbers
    shape = (len(targets), *layout.outputs)

    def total(columns: jax.Array) -> jax.Array:
        return jnp.sum(loss(columns.reshape(shape), targets))

    def velocity(_: jax.Array, coefficients: jax.Array, __: None) -> jax.Array:
        outputs = start + highest_matmul(matrix, coefficients)
        return -rate * jax.grad(total)(outputs)

    def advance(state: State, until: jax.Array) -> tuple[State, jax.Array]:
        now, coefficients, arrived = state
        # One call for each time, because a SaveAt of all times would check them by a callback to the host. `unwrap`
        # removes Diffrax's own jit, whose cache would keep the loss alive.
        solution = inspect.unwrap(diffrax.diffeqsolve)(
            diffrax.ODETerm(velocity),
            solver or diffrax.Tsit5(),
            t0=now,
            t1=until,
            dt0=None,
            y0=coefficients,
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
            throw=False,
        )
        moved = until > now
        coefficients = jnp.where(moved, solution.ys[0], coefficients)
        arrived &= ~moved | (solution.result == diffrax.RESULTS.successful)
        return (until, coefficients, arrived), coefficients

    order = jnp.argsort(t)
    first = (jnp.zeros((), t.dtype), jnp.zeros_like(start), jnp.array(True))
    (_, _, arrived), sorted_coefficients = jax.lax.scan(advance, first, t[order])
    return jnp.where(arrived, sorted_coefficients[jnp.argsort(order)], jnp.nan), arrived


@jax.jit
def _outputs(start: jax.Array, kernel: jax.Array, coefficients: jax.Array) -> jax.Array:
    return start[None] + highest_matmul(kernel[None], coefficients)


def _diffrax() -> ModuleType:
    try:
        import diffrax
    except ImportError:
        raise ImportError("loss_flow needs Diffrax: run `pip install 'diffrax>=0.7'`.") from None
    return diffrax
