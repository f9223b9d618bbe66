"""A program at finite width: parameters N(0, 1), scales in the forward pass, plain JAX."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, PyTree

from ntk.checks import check_key, check_sizes, shown
from ntk.programs.at_width.forward import BATCH, ForwardPass
from ntk.programs.batches import program_inputs
from ntk.programs.language.atoms import Bias
from ntk.programs.language.positions import Shape
from ntk.programs.language.program import Recording, TensorProgram, check_program
from ntk.programs.lengths import batch_groups, order_of
from ntk.programs.options import check_options, numbers_as
from ntk.trees import Params


def finite(program: TensorProgram, width: int, outputs: int | None = None) -> "FiniteProgram":
    """The program at finite width, in NTK parameterization, used like a Flax model.

    Matrix products keep JAX's default precision; set `jax.default_matmul_precision` where that matters.

    Args:
        program: A `tensor_program`.
        width: n, of every vector.
        outputs: O, the number of outputs. Each has its own output weights. None gives a single output without an axis.

    Returns:
        An object with `init(key, x)` and `apply(params, x, lengths=None)`.

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
    check_program(program)
    check_sizes(width, outputs)
    return FiniteProgram(program, width, outputs)


@dataclass(frozen=True)
class FiniteProgram:
    """A program of finite width, made by `finite`. Its parameters are a dictionary by name, with weights (in, out).

    Attributes:
        program: The network.
        width: n.
        outputs: O, or None for one output without an axis.
    """

    program: TensorProgram
    width: int
    outputs: int | None

    def init(self, key: jax.Array, x: ArrayLike) -> dict[str, Array]:
        """Parameters N(0, 1) for inputs like x, in its dtype.

        Args:
            key: A PRNG key.
            x: Inputs (N, …), of which the shape and the dtype are read.

        Returns:
            By name, matrices (n, n), input matrices (d, n), biases (n,), and output weights (n,), or (d,) where they
            read the input. With O outputs, output weights are (n, O) or (d, O). Convolutions have the axes of their
            windows before these, and what has a weight for each position has the position axes.

        Raises:
            TypeError: `key` is not a PRNG key, or `x` is not floating-point.
            ValueError: `x` is not what the program reads, or an option makes a standard deviation negative.
        """
        check_key(key)
        x = program_inputs(self.program, "x", x)
        recording = self.program.record(x.shape[1:])
        check_options(self.program, recording)
        shapes = self._shapes(recording)
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.normal(key, shape, x.dtype)
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def apply(
        self,
        params: dict[str, Array],
        x: ArrayLike,
        lengths: Integer[ArrayLike, " N"] | None = None,
        key: jax.Array | None = None,
    ) -> Float[Array, "N ..."]:
        """The outputs, (N,) or (N, O).

        Args:
            params: Parameters as `init` gives them. Those of positions that an input does not have are not read.
            x: Inputs (N, …). A program with batch means takes them as one batch.
            lengths: (N,) concrete integers, how many entries of the first axis of each input count. None means all.
            key: A PRNG key, of which the masks of dropout are drawn, for each input its own. None means no dropout.

        Raises:
            TypeError: `params` is not a dictionary of arrays, `x` is not floating-point, or `key` is not a PRNG key.
            ValueError: The parameters are not the program's, `x` or `lengths` is not what it reads, or a program with
                batch means is given inputs of different lengths.
        """
        groups = batch_groups(self.program, "", x, lengths)
        if len(groups) > 1 and self.program.record(groups[0].shape).couples_inputs:
            raise ValueError("lengths differ; expected inputs of one length for a program with batch means.")
        keys = None
        if key is not None:
            check_key(key)
            keys = jax.random.split(key, sum(len(group.x) for group in groups))
        outputs = [
            self._traced(params, group.x, {}, None if keys is None else keys[group.places])[0] for group in groups
        ]
        return outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs)[order_of(groups)]

    def trace(self, params: dict[str, Array], x: ArrayLike, taps: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """The outputs, and by name the watched vectors: (N, n) each, or (N, *P, n) of a field with position axes P.

        Args:
            params: Parameters as `init` gives them.
            x: Inputs (N, …).
            taps: By the name of a watched vector, an array of its shape that is added to it. The gradient in a tap of
                zeros is the gradient in the vector.

        Raises:
            TypeError: `params` or `taps` is not a dictionary of arrays, or `x` is not floating-point.
            ValueError: The parameters are not the program's, `x` is not what it reads, or a tap belongs to no watched
                vector or has another shape.
        """
        return self._traced(params, program_inputs(self.program, "x", x), taps)

    def _traced(
        self, params: dict[str, Array], x: Array, taps: dict[str, Array], keys: jax.Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """`trace` of checked inputs."""
        recording = self.program.record(x.shape[1:])
        self.check(recording, params, x.dtype)
        _check_taps(taps, recording, len(x), self.width, x.dtype)
        return forward(recording, numbers_as(self.program, x.dtype), params, x, self.width, taps, keys)

    def check(self, recording: Recording, params: Params, dtype: jnp.dtype) -> None:
        """Refuse parameters that are not the program's, and options that make a standard deviation negative.

        Those of positions may be there for more of them than the inputs have.
        """
        if not isinstance(params, Mapping):
            raise TypeError(f"params is {shown(params)}; expected a dictionary by name, as of init.")
        for name, shape in self._shapes(recording).items():
            if name not in params:
                raise ValueError(f"params has no {name!r}; expected {dtype} of shape {shape}.")
            array, count = params[name], len(axes_of(recording)[name])
            if _is_array(array) and all(have >= size for have, size in zip(array.shape[:count], shape, strict=False)):
                shape = (*array.shape[:count], *shape[count:])
            _check_array(f"params has {name!r}", array, shape, dtype)
        check_options(self.program, recording)

    def _shapes(self, recording: Recording) -> dict[str, tuple[int, ...]]:
        n = self.width
        if self.outputs is not None:
            _check_weights_are_output_only(recording)
        to: dict[str, tuple[int, ...]] = {"bias": (), "output": () if self.outputs is None else (self.outputs,)}
        axes = axes_of(recording)
        return {
            name: (
                *axes[name],
                n if parameter.fan_in is None else parameter.fan_in,
                *to.get(parameter.kind, (n,)),
            )
            for name, parameter in recording.parameters.items()
        }


def axes_of(recording: Recording) -> dict[str, Shape]:
    """By name, the sizes of the first axes of each parameter: those of its positions and of its window."""
    read = {weight: vector.shape for weight, vector in recording.output.vectors}
    return {name: read.get(parameter, parameter.axes) for name, parameter in recording.parameters.items()}


def forward(
    recording: Recording,
    numbers: dict[str, Array],
    params: dict[str, Array],
    x: Array,
    width: int,
    taps: dict[str, Array],
    keys: jax.Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """The outputs of a recorded program, and the watched vectors by name, with taps added to those they name.

    With a key for each input there is dropout.
    """
    params = {**params, **{name: _first(params[name], axes) for name, axes in axes_of(recording).items()}}

    def one_input(entries: Array, taps: dict[str, Array], key: jax.Array | None) -> tuple[Array, dict[str, Array]]:
        return ForwardPass(recording, numbers, params, entries, width, taps, key).results()

    return jax.vmap(one_input, axis_name=BATCH)(x.reshape(len(x), -1), taps, keys)


def _first(array: Array, sizes: Shape) -> Array:
    """The first entries along the first axes."""
    return array if array.shape[: len(sizes)] == sizes else array[tuple(map(slice, sizes))]


def _check_taps(taps: PyTree, recording: Recording, num_inputs: int, width: int, dtype: jnp.dtype) -> None:
    """Refuse taps that do not belong to watched vectors."""
    if not isinstance(taps, Mapping):
        raise TypeError(f"taps is {shown(taps)}; expected a dictionary by the names of watched vectors.")
    for name, tap in taps.items():
        if name not in recording.watched:
            raise ValueError(f"taps has {shown(name)}; expected names of watched vectors: {list(recording.watched)}.")
        _, vector = recording.watched[name]
        _check_array(f"taps has {name!r}", tap, (num_inputs, *vector.shape, width), dtype)


def _check_array(said: str, array: PyTree, shape: tuple[int, ...], dtype: jnp.dtype) -> None:
    """Refuse what is not an array of that shape and dtype."""
    expected = f"expected {dtype} of shape {shape}"
    if not _is_array(array):
        raise TypeError(f"{said} as {shown(array)}; {expected}.")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{said} of {array.dtype} of shape {array.shape}; {expected}.")


def _is_array(array: PyTree) -> bool:
    return isinstance(array, np.ndarray | jax.Array)


def _check_weights_are_output_only(recording: Recording) -> None:
    for node in recording.nodes:
        if isinstance(node, Bias) and node.parameter.kind == "output":
            raise ValueError(
                f"outputs is given, but output weight {node.parameter.name!r} is used as a vector at {node.line};"
                " expected outputs=None, a single output."
            )
