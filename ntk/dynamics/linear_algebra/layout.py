"""Kernels and targets of several outputs as one matrix and its columns. They are checked here, and only here."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Real

from ntk.checks import as_floating, as_real, as_symmetric, check_finite


class Start(NamedTuple):
    """Outputs before training as columns; made by `Layout.start`.

    Attributes:
        train: f_0 on the training points, (N', c).
        test: f_0 on the test points, (M', c). None without test points.
        k_test_train: The kernel between test and training points, (M', N'). None without test points.
    """

    train: Float[jax.Array, "R c"]
    test: Float[jax.Array, "S c"] | None
    k_test_train: Float[jax.Array, "S R"] | None


@dataclass(frozen=True)
class Layout:
    """The axes of the outputs. It turns arrays with these axes into a matrix (M', N') and columns (N', c), and back.

    Attributes:
        outputs: () or (O,), the axes of y after the first.
        full: Whether the kernel has output axes, (N, N, O, O). If so, the rows of the matrix are the pairs of point and
            output, and there is one column. If not, the outputs share the kernel, and each is a column.
    """

    outputs: tuple[int, ...]
    full: bool

    def start(
        self,
        fx_train_0: Real[ArrayLike, "..."],
        fx_test_0: Real[ArrayLike, "..."],
        k_test_train: Float[ArrayLike, "M N ..."] | None,
        num_train: int,
        dtype: DTypeLike,
    ) -> Start:
        """The checked outputs before training, and with test points the kernel between them and the training points."""
        train = self.columns("fx_train_0", fx_train_0, num_train, dtype)
        if k_test_train is None:
            return Start(train, None, None)
        kernel = self.matrix("k_test_train", k_test_train, num_train, dtype)
        return Start(train, self.columns("fx_test_0", fx_test_0, np.shape(k_test_train)[0], dtype), kernel)

    def matrix(self, name: str, kernel: ArrayLike, num_train: int, dtype: DTypeLike) -> Float[jax.Array, "S R"]:
        """The checked kernel between test and training points, as a matrix."""
        kernel = as_floating(name, kernel)
        expected = (*self.outputs, *self.outputs) if self.full else ()
        if kernel.ndim != 2 + len(expected) or kernel.shape[1:] != (num_train, *expected):
            wanted = ", ".join(map(str, ("M", num_train, *expected)))
            raise ValueError(f"{name} has shape {kernel.shape}; expected ({wanted}).")
        check_finite(name, kernel)
        return self.flat(kernel.astype(dtype))

    def flat(self, kernel: jax.Array) -> jax.Array:
        """A kernel (M, N) unchanged, a kernel (M, N, O, O) as a matrix (M·O, N·O)."""
        if not self.full:
            return kernel
        m, n, o, _ = kernel.shape
        return kernel.transpose(0, 2, 1, 3).reshape(m * o, n * o)

    def columns(self, name: str, values: ArrayLike, num_points: int, dtype: DTypeLike) -> Float[jax.Array, "R c"]:
        """Outputs at the rows of a kernel as columns. They are given as one number or an array (M, *outputs)."""
        values = as_real(name, values).astype(dtype)
        shape = (num_points, *self.outputs)
        if values.shape not in ((), shape):
            rows = "k_test_train" if name == "fx_test_0" else "k_train_train"
            raise ValueError(
                f"{name} has shape {values.shape}; expected {shape}, or one number for all: {rows} has"
                f" {num_points} rows."
            )
        check_finite(name, values)
        return jnp.broadcast_to(values, shape).reshape(-1, 1 if self.full else int(np.prod(self.outputs)))

    def values(self, columns: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        """Columns (T, M', c) as outputs (*axes, M, *outputs)."""
        num_points = columns.shape[-2] // (self.outputs[0] if self.full else 1)
        return columns.reshape(*axes, num_points, *self.outputs)


class KernelProblem(NamedTuple):
    """A kernel on training points and its targets, as `checked_problem` found them.

    Attributes:
        matrix: The kernel as one symmetric matrix, (N', N').
        targets: y as columns, (N', c), in the dtype of the matrix.
        layout: The axes of the outputs.
        given_in: The dtype of the kernel as the caller gave it.
    """

    matrix: Float[jax.Array, "R R"]
    targets: Float[jax.Array, "R c"]
    layout: Layout
    given_in: jnp.dtype


def checked_problem(
    k_train_train: Float[ArrayLike, "N N ..."], y_train: Float[ArrayLike, "N ..."], float64: bool = False
) -> KernelProblem:
    """The kernel and the targets as a matrix and columns, in float64 on request, and their layout.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape does not fit, the kernel is not symmetric, or a value is not finite.
    """
    kernel, y = as_floating("k_train_train", k_train_train), as_floating("y_train", y_train)
    squares = [kernel.shape[axis] == kernel.shape[axis + 1] > 0 for axis in range(0, kernel.ndim - 1, 2)]
    if kernel.ndim not in (2, 4) or not all(squares):
        raise ValueError(f"k_train_train has shape {kernel.shape}; expected (N, N) or (N, N, O, O).")
    full = kernel.ndim == 4
    outputs = (kernel.shape[2],) if full else y.shape[1:]
    if y.ndim not in (1, 2) or y.shape != (len(kernel), *outputs):
        expected = (len(kernel), *outputs) if full else f"({len(kernel)},) or ({len(kernel)}, O)"
        raise ValueError(f"y_train has shape {y.shape}; expected {expected}: k_train_train has shape {kernel.shape}.")
    if y.size == 0:
        raise ValueError(f"y_train has shape {y.shape}; expected at least one point and one output.")
    layout = Layout(outputs, full)
    matrix = as_symmetric("k_train_train", layout.flat(kernel))
    targets = layout.columns("y_train", y, len(y), matrix.dtype)
    dtype = jnp.float64 if float64 else matrix.dtype
    return KernelProblem(matrix.astype(dtype), targets.astype(dtype), layout, matrix.dtype)


def as_matrix(k_train_train: Float[ArrayLike, "N N ..."]) -> Float[jax.Array, "R R"]:
    """A kernel alone as one symmetric matrix, checked as by `checked_problem`."""
    kernel = as_floating("k_train_train", k_train_train)
    outputs = kernel.shape[2:3] if kernel.ndim == 4 else ()
    return checked_problem(kernel, jnp.zeros((*kernel.shape[:1], *outputs), kernel.dtype)).matrix
