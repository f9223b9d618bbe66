"""Checks of a loss, its outputs and its targets before training."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, PyTree, Real, Shaped

from ntk.calls import check_function, of_user
from ntk.checks import as_real, check_finite, is_concrete, shown
from ntk.dynamics.linear_algebra.layout import Layout, Start
from ntk.dynamics.linear_algebra.problems import checked_kernel
from ntk.dynamics.linear_algebra.spectral import check_semidefinite

# loss(f, y) returns real numbers. Training minimizes their sum.
Loss = Callable[[PyTree, PyTree], jax.Array]  # of outputs and targets, each an array or a pytree


@dataclass(frozen=True, eq=False)
class LossProblem:
    """A kernel, the targets and the loss, as `checked_loss_problem` found them.

    Attributes:
        matrix: The kernel on the training points, as one matrix (N', N').
        targets: y, (N, …), which the loss takes.
        loss: loss(f, y). Training minimizes its sum.
        full: Whether the kernel has output axes.
    """

    matrix: Float[jax.Array, "R R"]
    targets: Shaped[jax.Array, "N ..."]
    loss: Loss
    full: bool

    def start(
        self,
        fx_train_0: Real[ArrayLike, "..."],
        fx_test_0: Real[ArrayLike, "..."],
        k_test_train: Float[ArrayLike, "M N ..."] | None,
    ) -> tuple[Layout, Start]:
        """The layout of the outputs, and the checked outputs before training.

        The shape of the outputs is that of fx_train_0, or of the targets if fx_train_0 is one number.

        Raises:
            TypeError: An array is not of numbers, or the loss does not return real numbers or raises a TypeError.
            ValueError: A shape does not fit the kernel, a value is not finite, or the loss fails on such outputs.
        """
        given = as_real("fx_train_0", fx_train_0).shape
        shape, num_train = given or self.targets.shape, len(self.targets)
        expected = (num_train, len(self.matrix) // num_train) if self.full else None
        if shape[:1] != self.targets.shape[:1] or len(shape) > 2 or (expected and shape != expected):
            wanted = expected or f"that of the outputs, (N,) or (N, O) with N = {num_train}"
            raise ValueError(f"fx_train_0 has shape {given}; expected {wanted}.")
        advice = f"fx_train_0 of the shape of the outputs, such as ({num_train}, classes)"
        check_loss_takes(self.loss, jax.ShapeDtypeStruct(shape, self.matrix.dtype), self.targets, advice)
        layout = Layout(shape[1:], self.full)
        return layout, layout.start(fx_train_0, fx_test_0, k_test_train, num_train, self.matrix.dtype)


def checked_loss_problem(
    k_train_train: Float[ArrayLike, "N N ..."], y_train: Shaped[ArrayLike, "N ..."], loss: Loss
) -> LossProblem:
    """The kernel as one matrix, and the targets as an array.

    Raises:
        TypeError: The kernel is not floating-point, the targets are not numbers, or loss is not a function.
        ValueError: A shape does not fit, a value is not finite, or the kernel is not symmetric or not positive
            semidefinite.
    """
    check_loss(loss)
    kernel, targets = checked_kernel(k_train_train), as_targets("y_train", y_train)
    matrix, num_points = kernel.matrix, kernel.num_points
    if jnp.issubdtype(targets.dtype, jnp.floating):
        targets = targets.astype(matrix.dtype)
    if targets.ndim < 1 or targets.shape[0] != num_points:
        raise ValueError(
            f"y_train has shape {targets.shape}; expected ({num_points}, …): k_train_train has {num_points} rows."
        )
    if is_concrete(matrix):
        spectrum = np.linalg.eigvalsh(np.asarray(matrix))
        check_semidefinite(float(spectrum[0]), float(spectrum[-1]), matrix.dtype)
    return LossProblem(matrix, targets, loss, kernel.full)


def check_loss(loss: object) -> None:
    """Refuse a loss that is not a function."""
    check_function("loss", loss, "a function of outputs and targets")


def as_targets(name: str, y: ArrayLike) -> jax.Array:
    """Targets as an array of finite real numbers, integers or truth values."""
    if isinstance(y, np.ndarray | jax.Array) and y.dtype == jnp.bool_:
        return jnp.asarray(y)
    targets = as_real(name, y)
    check_finite(name, targets)
    return targets


def check_loss_takes(loss: Loss, outputs: PyTree, targets: PyTree, advice: str) -> None:
    """Refuse a loss that fails on such outputs and targets, or that compares outputs with targets of other points.

    Args:
        loss: loss(f, y).
        outputs: Shapes and dtypes of f, a pytree of `jax.ShapeDtypeStruct`.
        targets: y, a pytree of arrays.
        advice: What the message recommends if the loss fails.

    Raises:
        TypeError: The loss does not return real numbers, or raises a TypeError.
        ValueError: The loss raises another error, or compares outputs with targets of other points.
    """
    of_outputs, of_targets = ([leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (outputs, targets))
    given = f"outputs of shape {_joined(of_outputs)} and targets of shape {_joined(of_targets)}"
    found = of_user(f"loss of {given}", f"another loss, or {advice}", jax.eval_shape, loss, outputs, targets)
    if not isinstance(found, jax.ShapeDtypeStruct) or not jnp.issubdtype(found.dtype, jnp.floating):
        raise TypeError(f"loss returns {shown(found)} for {given}; expected real numbers.")
    if len(of_outputs) == len(of_targets) == 1 and _mixes_points(loss, outputs, targets):
        raise ValueError(
            f"y_train has shape {of_targets[0]}, but the outputs have shape {of_outputs[0]}: the loss compares every"
            f" output with the targets of all points; expected targets of shape {of_outputs[0]}."
        )


def _joined(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


def _mixes_points(loss: Loss, outputs: PyTree, targets: PyTree) -> bool:
    """Whether the gradient at one point depends on the target of another point, because the shapes broadcast.

    Shapes (N, 1) and (N,) broadcast to (N, N). A loss that sums hides this. The loss is therefore tried on numbers.
    """
    (output,), (target,) = jax.tree.leaves(outputs), jax.tree.leaves(targets)
    if output.shape == target.shape or output.shape[:1] != target.shape[:1] or len(target) < 2:
        return False
    try:
        np.broadcast_shapes(output.shape, target.shape)
    except ValueError:
        return False
    with jax.ensure_compile_time_eval():
        f = jnp.linspace(0.25, 0.75, output.size, dtype=output.dtype).reshape(output.shape)
        y = jnp.zeros(target.shape, target.dtype)
        gradient = jax.jit(jax.grad(lambda f, y: jnp.sum(loss(f, y))))
        one, other = (gradient(f, targets)[1:] for targets in (y, y.at[0].set(1)))
        # A loss may close over traced arrays. Then it cannot be tried.
        return is_concrete(one, other) and not bool(jnp.array_equal(one, other, equal_nan=True))
