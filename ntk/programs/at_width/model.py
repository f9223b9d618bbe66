"""A program at finite width: parameters N(0, 1), scales in the forward pass, plain JAX."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from ntk.checks import check_sizes
from ntk.programs.at_width.forward import BATCH, ForwardPass
from ntk.programs.language.options import check_parameter_stds, numbers_as
from ntk.programs.language.program import Recording, TensorProgram, program_inputs
from ntk.programs.language.vectors import Bias


def finite(program: TensorProgram, width: int, outputs: int | None = None) -> "FiniteProgram":
    """The program at finite width, in NTK parameterization, used like a Flax model.

    Matrix products keep JAX's default precision; set `jax.default_matmul_precision` where that matters.

    Args:
        program: A `tensor_program`.
        width: n, of every vector.
        outputs: O, the number of outputs, each with output weights of its own; None for a single one without an axis.

    Returns:
        An object with `init(key, x)` and `apply(params, x)`.

    Raises:
        TypeError: `program` is not a tensor program.
        ValueError: `width` or `outputs` is not a positive integer.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ntk.programs import finite, tensor_program
        >>> @tensor_program
        ... def shallow(net, x):
        ...     return net.output("v") @ net.phi("relu")(net.input_matrix("w") @ x)
        >>> model = finite(shallow, width=64, outputs=10)
        >>> x = jnp.ones((5, 3))
        >>> params = model.init(jax.random.key(0), x)
        >>> model.apply(params, x).shape, params["w"].shape, params["v"].shape
        ((5, 10), (3, 64), (64, 10))
    """
    if not isinstance(program, TensorProgram):
        raise TypeError(f"program is {type(program).__name__}; expected a tensor_program.")
    check_sizes(width, outputs)
    return FiniteProgram(program, width, outputs)


@dataclass(frozen=True)
class FiniteProgram:
    """A program of finite width; made by `finite`. Parameters are a dict by name, with weights (in, out).

    Attributes:
        program: What it computes.
        width: n.
        outputs: O, or None for one output without an axis of its own.
    """

    program: TensorProgram
    width: int
    outputs: int | None

    def init(self, key: jax.Array, x: ArrayLike) -> dict[str, Array]:
        """Parameters N(0, 1) for inputs like x (N, …), in its dtype: matrices (n, n), input matrices (d, n), biases
        (n,), output weights (n,) or (n, O).
        """
        x = program_inputs("x", x)
        recording = self.program.record(x.shape[1:])
        check_parameter_stds(self.program, recording)
        shapes = self._shapes(recording)
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.normal(key, shape, x.dtype)
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def apply(self, params: dict[str, Array], x: ArrayLike) -> Array:
        """The outputs at inputs x (N, …): (N,), or (N, O). A program with batch means takes x as one batch."""
        return self.trace(params, x, {})[0]

    def trace(self, params: dict[str, Array], x: ArrayLike, taps: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """The outputs, and the watched vectors by name, (N, n) each, with `taps` (N, n) added to those they name.

        The gradient in a tap that is zero is that in the vector.
        """
        x = program_inputs("x", x)
        recording = self.program.record(x.shape[1:])
        self.check(recording, params, x.dtype)
        return forward(recording, numbers_as(self.program, x.dtype), params, x, self.width, taps)

    def check(self, recording: Recording, params: Any, dtype: jnp.dtype) -> None:
        """Refuse parameters that are not those of the program, and options that make a standard deviation negative."""
        for name, shape in self._shapes(recording).items():
            if name not in params:
                raise ValueError(f"params has no {name!r}; expected {dtype} of shape {shape}.")
            found = params[name]
            if jnp.shape(found) != shape or jnp.result_type(found) != dtype:
                description = f"{jnp.result_type(found)} of shape {jnp.shape(found)}"
                raise ValueError(f"params has {name!r} of {description}; expected {dtype} of shape {shape}.")
        check_parameter_stds(self.program, recording)

    def _shapes(self, recording: Recording) -> dict[str, tuple[int, ...]]:
        n = self.width
        if self.outputs is not None:
            _check_weights_are_output_only(recording)
        v = (n,) if self.outputs is None else (n, self.outputs)
        shapes = {"matrix": (n, n), "bias": (n,), "output": v}
        return {
            name: shapes[parameter.kind] if parameter.fan_in is None else (parameter.fan_in, n)
            for name, parameter in recording.parameters.items()
        }


def forward(
    recording: Recording,
    numbers: dict[str, Array],
    params: dict[str, Array],
    x: Array,
    width: int,
    taps: dict[str, Array],
) -> tuple[Array, dict[str, Array]]:
    """The outputs of a recorded program, and the watched vectors by name, with taps added to those they name."""

    def one_input(entries: Array, taps: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        return ForwardPass(recording, numbers, params, entries, width, taps).results()

    return jax.vmap(one_input, axis_name=BATCH)(x.reshape(len(x), -1), taps)


def _check_weights_are_output_only(recording: Recording) -> None:
    for node in recording.nodes:
        if isinstance(node, Bias) and node.parameter.kind == "output":
            raise ValueError(
                f"outputs is given, but output weight {node.parameter.name!r} is used as a vector at {node.line};"
                " expected outputs=None, a single output."
            )
