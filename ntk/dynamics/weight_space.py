"""Training in weight space by any Optax optimizer: of a model, or of its linearization, which kernels predict."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ntk.checks import check_count
from ntk.finite_width import linearize


class Trajectory(NamedTuple):
    """What training left behind; the S recorded steps are 0, every, 2·every, …, num_steps.

    Attributes:
        params: After the last step.
        steps: (S,), the numbers of the recorded steps.
        loss: (S,), the summed loss at them.
        fx_train: (S, N, …), outputs on the training points.
        fx_test: (S, M, …), outputs on the test points; None without any.
    """

    params: Any
    steps: jax.Array
    loss: jax.Array
    fx_train: jax.Array
    fx_test: Any


def train(
    f: Callable[[Any, Any], jax.Array],
    params: Any,
    x_train: Any,
    y_train: Any,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    *,
    loss: Callable[[Any, Any], jax.Array] = optax.l2_loss,
    linearized: bool = False,
    x_test: Any = None,
    every: int = 1,
) -> Trajectory:
    """Full-batch training of f(params, x), or of its linearization about `params`, as one compiled program.

    With `optax.sgd(η)` and the default loss, ½(f − y)², the linearized model follows
    `squared_loss_descent(Θ, y, learning_rate=η)` exactly, Θ being `empirical_ntk(f, params, x)` with
    `trace_axes=()` (Lee et al. 2019, arXiv:1902.06720). It vmaps, for example over `params`.

    Args:
        f: f(params, x), pure. What is compiled is kept for the same f, loss and optimizer.
        params: A pytree of floating-point arrays.
        x_train: Inputs.
        y_train: Targets, as the loss takes them.
        optimizer: Of Optax; it sees the gradient of the summed loss.
        num_steps: How many steps, a multiple of `every`.
        loss: loss(f, y), any function of Optax's kind. Its values are summed, never averaged.
        linearized: Whether f(θ₀, x) + ∇f(θ₀, x)·(θ − θ₀) is trained in place of f.
        x_test: More inputs, on which outputs are recorded.
        every: Steps from one record to the next.

    Returns:
        A `Trajectory`.

    Raises:
        TypeError: f, the loss or the optimizer is none.
        ValueError: A number of steps is not as above.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from ntk import dynamics
        >>> x, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])
        >>> trajectory = dynamics.train(lambda w, x: x @ w, jnp.zeros(1), x, y, optax.sgd(0.1), num_steps=2)
        >>> print(trajectory.loss, trajectory.params)  # w ← w − 0.1 · 5 (w − 1)
        [2.5     0.625   0.15625] [0.75]
    """
    for name, value in (("f", f), ("loss", loss)):
        if not callable(value):
            raise TypeError(f"{name} is {value!r}; expected a function.")
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {optimizer!r}; expected one of Optax, such as optax.sgd(0.1).")
    check_steps(num_steps, every)
    return _train(f, loss, optimizer, num_steps, every, bool(linearized), params, x_train, y_train, x_test)


def check_steps(num_steps: int, every: int) -> None:
    """Refuse a number of steps that is no positive integer, or no multiple of the steps between records."""
    check_count("num_steps", num_steps)
    check_count("every", every)
    if num_steps % every:
        raise ValueError(f"every is {every}; expected a divisor of num_steps = {num_steps}.")


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))
def _train(
    f: Callable[[Any, Any], jax.Array],
    loss: Callable[[Any, Any], jax.Array],
    optimizer: optax.GradientTransformation,
    num_steps: int,
    every: int,
    linearized: bool,
    params: Any,
    x_train: Any,
    y_train: Any,
    x_test: Any,
) -> Trajectory:
    model = linearize(f, params) if linearized else f

    def total(params: Any) -> tuple[jax.Array, jax.Array]:
        outputs = model(params, x_train)
        return jnp.sum(loss(outputs, y_train)), outputs

    def step(_: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
        params, memory = state
        updates, memory = optimizer.update(jax.grad(total, has_aux=True)(params)[0], memory, params)
        return optax.apply_updates(params, updates), memory

    def record(params: Any) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        return *total(params), None if x_test is None else model(params, x_test)

    def advance(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], Any]:
        state = jax.lax.fori_loop(0, every, step, state)
        return state, record(state[0])

    (trained, _), records = jax.lax.scan(advance, (params, optimizer.init(params)), length=num_steps // every)
    first = record(params)
    losses, train, test = jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first, records)
    return Trajectory(trained, jnp.arange(0, num_steps + 1, every), losses, train, test)
