"""Kernels and outputs with output axes as one matrix and its columns, and back."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Real

from ntk.checks import as_floating, as_real, check_finite


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
