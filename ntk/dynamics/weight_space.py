"""Training in weight space by any Optax optimizer: of a model, or of its linearization."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from ntk.caches.lifetimes import compiled
from ntk.calls import of_user
from ntk.checks import MOST_STEPS, as_arrays, as_floating, check_count, check_finite, check_flag, is_concrete, shown
from ntk.dynamics.loss_problems import Loss, as_targets, check_loss, check_loss_takes
from ntk.finite_width import linearize
from ntk.finite_width.arguments import check_model_function
from ntk.finite_width.functions import ModelFunction
from ntk.trees import Params

_State = tuple[PyTree, PyTree]  # the parameters and the state of the optimizer


class Trajectory(NamedTuple):
    """The records of a training run. The S recorded steps are 0, every, 2·every, …, num_steps.

    Attributes:
        params: The parameters after the last step.
        steps: (S,), the numbers of the recorded steps.
        loss: (S,), the summed loss at these steps.
        fx_train: (S, N, …), the outputs on the training points.
        fx_test: (S, M, …), the outputs on the test points. None without test points.
    """

    params: Params
    steps: Int[Array, " S"]
    loss: Float[Array, " S"]
    fx_train: Float[Array, "S N ..."]
    fx_test: Float[Array, "S M ..."] | Any  # or None, which callers with test points need not rule out


def train(
    f: ModelFunction,
    params: Params,
    x_train: PyTree,
    y_train: PyTree,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    *,
    loss: Loss = optax.l2_loss,
    linearized: bool = False,
    x_test: PyTree = None,
    every: int = 1,
) -> Trajectory:
    """Full-batch training of f(params, x), or of its linearization about `params`, as one compiled program.

    Let Θ be `empirical_ntk(f, params, x, trace_axes=())`. With `optax.sgd(η)` and the default loss, ½(f − y)², the
    linearized model follows `squared_loss_descent(Θ, y, learning_rate=η)` exactly (Lee et al. 2019, arXiv:1902.06720).
    `train` works under `jax.vmap`, for example over `params`.

    Args:
        f: f(params, x), pure. The compiled program is kept as long as f, the loss and the optimizer.
        params: A pytree of floating-point arrays.
        x_train: Inputs, an array (N, …) or a pytree of arrays.
        y_train: Targets, (N, …), or a dictionary or tuple of such arrays if the loss takes one.
        optimizer: An Optax optimizer. It is given the gradient of the summed loss.
        num_steps: The number of steps, a multiple of `every`.
        loss: loss(f, y), for example one of Optax. Its values are summed, not averaged.
        linearized: Whether to train f(θ₀, x) + ∇f(θ₀, x)·(θ − θ₀) instead of f.
        x_test: Inputs at which outputs are recorded too. None means none.
        every: The number of steps from one record to the next.

    Returns:
        A `Trajectory`.

    Raises:
        TypeError: f or the loss is not a function that returns real numbers, the optimizer is not one of Optax, or an
            array is not of numbers.
        ValueError: A number of steps is below 1, `every` does not divide `num_steps`, a value is not finite, f or the
            loss fails on its arguments, or training diverges. Outputs (N, 1) with targets (N,) are refused too: they
            broadcast, and the loss would compare outputs with the targets of other points.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from ntk import dynamics
        >>> x, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])
        >>> trajectory = dynamics.train(lambda w, x: x @ w, jnp.zeros(1), x, y, optax.sgd(0.1), num_steps=2)
        >>> print(trajectory.loss, trajectory.params)  # w ← w − 0.1 · 5 (w − 1)
        [2.5     0.625   0.15625] [0.75]
    """
    check_model_function(f)
    check_loss(loss)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {shown(optimizer)}; expected an Optax optimizer, such as optax.sgd(0.1).")
    check_steps(num_steps, every)
    check_flag("linearized", linearized)
    data = _checked_data(f, loss, params, x_train, y_train, x_test)
    trajectory = _train(f, loss, optimizer.init, optimizer.update, num_steps, every, bool(linearized), data)
    check_trained(trajectory)
    return trajectory


def check_trained(trajectory: Trajectory) -> None:
    """Refuse a concrete trajectory whose loss is not finite: it has diverged.

    Raises:
        ValueError: The loss is not finite. The message names the first such step.
    """
    if not is_concrete(trajectory):
        return
    with jax.ensure_compile_time_eval():
        finite = jax.device_get(jnp.isfinite(trajectory.loss))
    if not finite.all():
        raise ValueError(
            f"loss is not finite after {int(trajectory.steps[~finite][0])} steps; expected steps that do not diverge:"
            " a smaller learning_rate or another optimizer, or fewer num_steps."
        )


class _Data(NamedTuple):
    """The parameters, inputs and targets of a run, as `_checked_data` found them. Each field is a pytree of arrays.

    Attributes:
        params: The parameters before training.
        x_train: Inputs (N, …).
        y_train: Targets (N, …).
        x_test: Inputs (M, …). None without test points.
    """

    params: Params
    x_train: PyTree
    y_train: PyTree
    x_test: PyTree


def _checked_data(f: ModelFunction, loss: Loss, params: Params, x_train: PyTree, y: PyTree, x_test: PyTree) -> _Data:
    """The checked arrays of a run. f must accept them, and the loss must accept the outputs of f."""
    params, x_train = _as_params(params), _as_inputs("x_train", x_train)
    outputs = _outputs_of(f, params, x_train, "x_train")
    y_train = _as_targets(y, outputs)
    if x_test is not None:
        x_test = _as_inputs("x_test", x_test)
        _outputs_of(f, params, x_test, "x_test")
    check_loss_takes(loss, outputs, y_train, "y_train of the shape that f returns for params and x_train")
    return _Data(params, x_train, y_train, x_test)


def _as_params(params: Params) -> PyTree:
    """The parameters as a pytree of JAX arrays. They must be floating-point and finite."""
    leaves, structure = jax.tree.flatten(params)
    if not leaves:
        raise ValueError(f"params is {shown(params)}; expected a pytree of floating-point arrays, at least one.")
    arrays = [as_floating("params", leaf) for leaf in leaves]
    for array in arrays:
        check_finite("params", array)
    return jax.tree.unflatten(structure, arrays)


def _as_inputs(name: str, x: PyTree) -> PyTree:
    """The inputs as a pytree of JAX arrays. Floating-point numbers must be finite."""
    arrays = as_arrays(name, x)
    leaves = jax.tree.leaves(arrays)
    if not leaves:
        raise TypeError(f"{name} is {shown(x)}; expected an array or a pytree of arrays.")
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            check_finite(name, leaf)
    return arrays


def _as_targets(y: PyTree, outputs: jax.ShapeDtypeStruct) -> PyTree:
    """The targets: an array with as many rows as the outputs, or a dictionary or tuple of such arrays."""

    def checked(part: ArrayLike) -> jax.Array:
        targets = as_targets("y_train", part)
        if targets.shape[:1] != outputs.shape[:1]:
            raise ValueError(
                f"y_train has shape {targets.shape}; expected ({outputs.shape[0]}, …): f returns"
                f" {outputs.shape[0]} rows for x_train."
            )
        return targets

    return jax.tree.map(checked, y) if isinstance(y, dict | tuple) and jax.tree.leaves(y) else checked(y)


def _outputs_of(f: ModelFunction, params: Params, x: PyTree, name: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype of f for inputs of that name. An f that fails, or does not return real numbers, is refused."""
    shapes = ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(x)[:3])
    expected = f"a function of such params and {name}, of shape {shapes}"
    found = of_user(f"f(params, {name})", expected, jax.eval_shape, f, params, x)
    if not isinstance(found, jax.ShapeDtypeStruct) or not jnp.issubdtype(found.dtype, jnp.floating):
        raise TypeError(f"f returns {shown(found)} for {name}; expected one real floating-point array.")
    if not found.shape:
        raise ValueError(f"f returns one number for {name}, of shape {shapes}; expected outputs (N, …).")
    return found


def check_steps(num_steps: int, every: int) -> None:
    """Refuse numbers of steps that are not positive integers, and a `num_steps` that `every` does not divide."""
    check_count("num_steps", num_steps, maximum=MOST_STEPS)
    check_count("every", every)
    if num_steps % every:
        raise ValueError(f"every is {shown(every)}; expected a divisor of num_steps = {num_steps}.")


@compiled(owners=4, static=3)
def _train(
    f: ModelFunction,
    loss: Loss,
    start_optimizer: Callable[[PyTree], PyTree],
    update: Callable[[PyTree, PyTree, PyTree], _State],
    num_steps: int,
    every: int,
    linearized: bool,
    data: _Data,
) -> Trajectory:
    model = linearize(f, data.params) if linearized else f

    def total(params: Params) -> tuple[jax.Array, jax.Array]:
        outputs = model(params, data.x_train)
        return jnp.sum(loss(outputs, data.y_train)), outputs

    def step(_: jax.Array, state: _State) -> _State:
        params, memory = state
        updates, memory = update(jax.grad(total, has_aux=True)(params)[0], memory, params)
        return optax.apply_updates(params, updates), memory

    def record(params: Params) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        return *total(params), None if data.x_test is None else model(params, data.x_test)

    def advance(state: _State, _: None) -> tuple[_State, tuple[jax.Array, jax.Array, jax.Array | None]]:
        state = jax.lax.fori_loop(0, every, step, state)
        return state, record(state[0])

    start = data.params, start_optimizer(data.params)
    (trained, _), records = jax.lax.scan(advance, start, length=num_steps // every)
    first = record(data.params)
    losses, train, test = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, records)
    return Trajectory(trained, jnp.arange(0, num_steps + 1, every), losses, train, test)
