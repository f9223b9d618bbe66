"""A kernel on training points, its ridge and its targets, checked once for every predictor."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from ntk.checks import as_floating, as_nonnegative_number, as_symmetric, check_flag
from ntk.dynamics.linear_algebra.layout import Layout


class TrainingKernel(NamedTuple):
    """A kernel on N training points, as `checked_kernel` found it.

    Attributes:
        matrix: The kernel as one symmetric matrix, (N', N'). N' is N, or N·O if the kernel has output axes.
        shape: The shape that was given, (N, N) or (N, N, O, O).
    """

    matrix: Float[jax.Array, "R R"]
    shape: tuple[int, ...]

    @property
    def num_points(self) -> int:
        """N."""
        return self.shape[0]

    @property
    def full(self) -> bool:
        """Whether the kernel has output axes."""
        return len(self.shape) == 4


class KernelProblem(NamedTuple):
    """A kernel on training points, its ridge and its targets, as `checked_problem` found them.

    Attributes:
        matrix: K + ρI as one symmetric matrix, (N', N').
        ridge: ρ.
        targets: y as columns, (N', c), in the dtype of the matrix.
        layout: The axes of the outputs.
        given_in: The dtype of the kernel as the caller gave it.
    """

    matrix: Float[jax.Array, "R R"]
    ridge: Float[jax.Array, ""]
    targets: Float[jax.Array, "R c"]
    layout: Layout
    given_in: jnp.dtype


def checked_kernel(k_train_train: Float[ArrayLike, "N N ..."]) -> TrainingKernel:
    """The kernel as one symmetric matrix.

    Raises:
        TypeError: The kernel is not an array of float32 or float64.
        ValueError: The kernel is not of shape (N, N) or (N, N, O, O), is empty, is not symmetric or is not finite.
    """
    kernel = as_floating("k_train_train", k_train_train)
    squares = [kernel.shape[axis] == kernel.shape[axis + 1] > 0 for axis in range(0, kernel.ndim - 1, 2)]
    if kernel.ndim not in (2, 4) or not all(squares):
        raise ValueError(f"k_train_train has shape {kernel.shape}; expected (N, N) or (N, N, O, O).")
    layout = Layout(kernel.shape[2:3], full=kernel.ndim == 4)
    return TrainingKernel(as_symmetric("k_train_train", layout.flat(kernel)), kernel.shape)


def checked_problem(
    k_train_train: Float[ArrayLike, "N N ..."],
    y_train: Float[ArrayLike, "N ..."],
    ridge: Real[ArrayLike, ""],
    relative_ridge: bool,
    *,
    float64: bool = False,
    shared: bool = False,
) -> KernelProblem:
    """The kernel with its ridge as one matrix, the targets as columns, and their layout.

    Args:
        k_train_train: K, (N, N) or (N, N, O, O).
        y_train: (N,) or (N, O).
        ridge: ρ, at least 0.
        relative_ridge: Whether ρ is `ridge` times the mean of the kernel's diagonal.
        float64: Whether the matrix, the ridge and the targets are cast to float64.
        shared: Whether the outputs must share the kernel. A kernel with output axes is then refused.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, the kernel is not symmetric, the ridge is negative, or a value is not finite.
    """
    kernel, y = checked_kernel(k_train_train), as_floating("y_train", y_train)
    if shared and kernel.full:
        raise ValueError("k_train_train has output axes; expected (N, N), shared by outputs that are independent.")
    num_points = kernel.num_points
    outputs = kernel.shape[2:3] if kernel.full else y.shape[1:]
    if y.ndim not in (1, 2) or y.shape != (num_points, *outputs):
        expected = (num_points, *outputs) if kernel.full else f"({num_points},) or ({num_points}, O)"
        raise ValueError(f"y_train has shape {y.shape}; expected {expected}: k_train_train has shape {kernel.shape}.")
    if y.size == 0:
        raise ValueError(f"y_train has shape {y.shape}; expected at least one point and one output.")
    layout, given_in = Layout(outputs, kernel.full), kernel.matrix.dtype
    targets = layout.columns("y_train", y, num_points, given_in)
    dtype = jnp.float64 if float64 else given_in
    matrix, rho = with_ridge(kernel.matrix.astype(dtype), ridge, relative_ridge)
    return KernelProblem(matrix, rho, targets.astype(dtype), layout, given_in)


def with_ridge(
    kernel: Float[jax.Array, "N N"], ridge: Real[ArrayLike, ""], relative_ridge: bool
) -> tuple[Float[jax.Array, "N N"], Float[jax.Array, ""]]:
    """K + ρI and ρ. If `relative_ridge`, ρ is `ridge` times the mean of K's diagonal, else `ridge`.

    Raises:
        TypeError: The ridge is not a number, or `relative_ridge` is neither True nor False.
        ValueError: The ridge is not one finite number of at least 0.
    """
    check_flag("relative_ridge", relative_ridge)
    rho = as_nonnegative_number("ridge", ridge, kernel.dtype)
    rho = rho * jnp.mean(jnp.diag(kernel)) if relative_ridge else rho
    return kernel + rho * jnp.eye(len(kernel), dtype=kernel.dtype), rho
