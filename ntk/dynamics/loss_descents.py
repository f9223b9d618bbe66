"""Gradient descent in function space for any loss, step by step (theory.md 6.6)."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Real, Shaped

from ntk.caches.lifetimes import compiled
from ntk.checks import as_positive_number
from ntk.dynamics.linear_algebra.layout import Layout, Start
from ntk.dynamics.loss_problems import Loss, checked_loss_problem
from ntk.dynamics.squared_loss import as_momentum
from ntk.dynamics.weight_space import Trajectory, check_steps, check_trained
from ntk.linalg import highest_matmul

State = tuple[jax.Array, jax.Array]  # the dual coefficients and their velocity
Record = tuple[jax.Array, jax.Array, jax.Array | None]  # the loss, the outputs on the training and on the test points


def loss_descent(
    k_train_train: Float[ArrayLike, "N N ..."],
    y_train: Shaped[ArrayLike, "N ..."],
    loss: Loss,
    num_steps: int,
    *,
    learning_rate: Real[ArrayLike, ""],
    momentum: Real[ArrayLike, ""] = 0.0,
    fx_train_0: Real[ArrayLike, "..."] = 0.0,
    fx_test_0: Real[ArrayLike, "..."] = 0.0,
    k_test_train: Float[ArrayLike, "M N ..."] | None = None,
    every: int = 1,
) -> Trajectory:
    """Full-batch gradient descent on any loss, for a network of constant kernel.

    The dual coefficients take the steps of `optax.sgd(η, β)`: p ← βp + ∇_f L(f), then α ← α − ηp, where
    f(x) = f_0(x) + Θ(x, X) α. Each step costs one product with the kernel, and no pass through a network.
    `train(linearized=True)` takes the same steps in weight space. `squared_loss_descent` is the closed form for squared
    loss, `loss_flow` is the limit of small steps.

    Args:
        k_train_train: Θ(X, X), (N, N), shared by the outputs, or (N, N, O, O), of float32 or float64.
        y_train: (N, …), the targets that the loss takes.
        loss: loss(f, y), for example one of Optax. Its values are summed, not averaged.
        num_steps: The number of steps, a multiple of `every`.
        learning_rate: η.
        momentum: β, at least 0 and below 1.
        fx_train_0: f_0 on the training points, (N,) or (N, O). One number if the targets have the shape of the outputs.
        fx_test_0: f_0 on the test points, (M,) or (M, O), or one number.
        k_test_train: (M, N) or (M, N, O, O). None means no test points.
        every: The number of steps from one record to the next.

    Returns:
        A `Trajectory`. Its `params` are the dual coefficients after the last step, in the shape of the outputs.

    Raises:
        TypeError: A kernel is not floating-point, targets or outputs are not numbers, or loss is not a function of
            outputs and targets that returns real numbers.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, the kernel is not symmetric
            or not positive semidefinite, `every` does not divide `num_steps`, the loss fails, or the steps diverge.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from ntk import dynamics
        >>> k, y = jnp.diag(jnp.array([1.0, 2.0])), jnp.array([1.0, 1.0])
        >>> print(dynamics.loss_descent(k, y, optax.l2_loss, 2, learning_rate=0.25).fx_train)
        [[0.     0.    ]
         [0.25   0.5   ]
         [0.4375 0.75  ]]
    """
    check_steps(num_steps, every)
    problem = checked_loss_problem(k_train_train, y_train, loss)
    layout, start = problem.start(fx_train_0, fx_test_0, k_test_train)
    dtype = problem.matrix.dtype
    rates = as_positive_number("learning_rate", learning_rate, dtype), as_momentum(momentum, dtype)
    trajectory = _descend(loss, layout, num_steps, every, problem.matrix, problem.targets, rates, start)
    check_trained(trajectory)
    return trajectory


@compiled(static=3)
def _descend(
    loss: Loss,
    layout: Layout,
    num_steps: int,
    every: int,
    matrix: jax.Array,
    targets: jax.Array,
    rates: tuple[jax.Array, jax.Array],
    start: Start,
) -> Trajectory:
    def total(columns: jax.Array) -> jax.Array:
        return jnp.sum(loss(layout.values(columns, ()), targets))

    def outputs(coefficients: jax.Array) -> jax.Array:
        return start.train + highest_matmul(matrix, coefficients)

    def step(_: jax.Array, state: State) -> State:
        coefficients, velocity = state
        velocity = rates[1] * velocity + jax.grad(total)(outputs(coefficients))
        return coefficients - rates[0] * velocity, velocity

    def record(coefficients: jax.Array) -> Record:
        train = outputs(coefficients)
        if start.test is None or start.k_test_train is None:
            return total(train), layout.values(train, ()), None
        test = start.test + highest_matmul(start.k_test_train, coefficients)
        return total(train), layout.values(train, ()), layout.values(test, ())

    def advance(state: State, _: None) -> tuple[State, Record]:
        state = jax.lax.fori_loop(0, every, step, state)
        return state, record(state[0])

    nothing = jnp.zeros_like(start.train)
    (coefficients, _), records = jax.lax.scan(advance, (nothing, nothing), length=num_steps // every)
    joined = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), record(nothing), records)
    return Trajectory(layout.values(coefficients, ()), jnp.arange(0, num_steps + 1, every), *joined)
