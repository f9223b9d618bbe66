"""A function of parameters and one input: traced, read, and evaluated for the operands and δ of a tile of inputs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntk.finite_width.interpreter import Interpreter, Taps, Use, View


class Side(NamedTuple):
    """What a kernel needs of a tile of N inputs.

    Attributes:
        operands: a of every linear use, by its place: (N, lengths of the scans around it, operand).
        gradients: δ of every tap, (N, *outputs, lengths, y), and the gradients in direct parameters,
            (N, *outputs, *parameter).
    """

    operands: Taps
    gradients: Taps


@dataclass(frozen=True)
class Reading:
    """A function that has been read.

    Attributes:
        program: Its closed program, from the leaves of the parameters and of one input to its outputs.
        leaves: Its parameters.
        linear: Which of them are used linearly, and trained.
        direct: Which of them are trained otherwise: their gradient is formed as such.
        uses: The linear uses, by their place.
    """

    program: Any
    leaves: Sequence[jax.Array]
    linear: frozenset[int]
    direct: frozenset[int]
    uses: dict[str, Use]

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of the outputs of one input."""
        return self.program.out_avals[0].shape

    def side(self, x: Any) -> Side:
        """One forward pass over inputs (N, …), and one backward pass an output."""
        shapes = {use.tap: use.tap_shape for use in self.uses.values()}
        shapes |= {leaf_place(i): jax.typeof(self.leaves[i]) for i in self.direct}
        taps = {place: jnp.zeros(shape.shape, shape.dtype) for place, shape in shapes.items()}
        output = self.program.out_avals[0]
        units = jnp.eye(output.size, dtype=output.dtype).reshape(output.size, *output.shape)

        def of_one_input(x: Any) -> Side:
            _, pull_back, operands = jax.vjp(lambda taps: self.run(Interpreter(), taps, x), taps, has_aux=True)
            (gradients,) = jax.vmap(pull_back)(units)
            return Side(operands, {p: g.reshape(*output.shape, *g.shape[1:]) for p, g in gradients.items()})

        return jax.vmap(of_one_input)(x)

    def run(self, interpreter: Interpreter, taps: Taps, x: Any) -> tuple[jax.Array, Taps]:
        """The outputs and the operands of one input, with `taps` added."""
        leaves: list[Any] = list(self.leaves)
        for i in self.linear:
            leaves[i] = View(i, (), leaves[i])
        for i in self.direct & {i for i in self.direct if leaf_place(i) in taps}:
            leaves[i] = leaves[i] + taps[leaf_place(i)]
        (output,), operands = interpreter.run(self.program, [*leaves, *jax.tree.leaves(x)], taps)
        return interpreter.value(output), operands


def read(
    f: Callable[[Sequence[Any], Any], jax.Array], leaves: Sequence[jax.Array], x: Any, trained: Iterable[int]
) -> Reading:
    """Trace f(leaves, x) at one input x and find the linear uses of the trained parameters."""
    program = jax.make_jaxpr(f)(leaves, x)
    reading = Reading(program, leaves, frozenset(trained), frozenset(), {})
    while True:
        interpreter = Interpreter()
        jax.eval_shape(lambda x, reading=reading, interpreter=interpreter: reading.run(interpreter, {}, x), x)
        if not interpreter.escaped:
            return Reading(program, leaves, reading.linear, reading.direct, interpreter.uses)
        reading = directly(reading, interpreter.escaped)


def directly(reading: Reading, parameters: Iterable[int]) -> Reading:
    """The same function, with the gradient in some more parameters formed as such."""
    more = frozenset(parameters)
    uses = {place: use for place, use in reading.uses.items() if use.leaf not in more}
    return Reading(reading.program, reading.leaves, reading.linear - more, reading.direct | more, uses)


def leaf_place(leaf: int) -> str:
    """The place of the tap of a direct parameter."""
    return f"parameter {leaf}"
