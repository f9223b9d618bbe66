"""A function of parameters and one input: traced, read, and evaluated for the operands and δ of a tile of inputs."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntk.finite_width.rules.interpreter import Interpreter, Taps, Use, View

Function = Callable[[Sequence[Any], Any], jax.Array]  # of the leaves of the parameters, and of one input


class Side(NamedTuple):
    """What a kernel needs of a tile of N inputs.

    Attributes:
        operands: The operand a of every linear use, by its place: (N, lengths of the scans around it, operand).
        gradients: δ of every tap, (N, *outputs, lengths, y), and the gradients in direct parameters,
            (N, *outputs, *parameter).
    """

    operands: Taps
    gradients: Taps


@dataclass(frozen=True)
class Reading:
    """A function that has been read.

    Attributes:
        function: The function itself.
        program: Its closed program.
        leaves: Its parameters.
        linear: Which of them are trained, and used linearly.
        direct: Which of them are trained, and used otherwise: their gradient is formed as such.
        uses: The linear uses, by their place.
    """

    function: Function
    program: Any
    leaves: Sequence[jax.Array]
    linear: frozenset[int]
    direct: frozenset[int]
    uses: dict[str, Use]

    @property
    def output(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the outputs of one input."""
        aval = self.program.out_avals[0]
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype)

    def side(self, x: Any) -> Side:
        """One forward pass over inputs (N, …), and one backward pass an output.

        Raises:
            ValueError: The function has a `while` loop, which has no backward pass.
        """
        shapes = {use.tap: use.tap_shape for use in self.uses.values()}
        shapes |= {leaf_place(i): jax.typeof(self.leaves[i]) for i in self.direct}
        taps = {place: jnp.zeros(shape.shape, shape.dtype) for place, shape in shapes.items()}
        size, shape = self.output.size, self.output.shape
        units = jnp.eye(size, dtype=self.output.dtype).reshape(size, *shape)

        def of_one_input(x: Any) -> Side:
            _, pull_back, operands = jax.vjp(lambda taps: self.run(Interpreter(), taps, x), taps, has_aux=True)
            (gradients,) = jax.vmap(pull_back)(units)
            return Side(operands, {place: g.reshape(*shape, *g.shape[1:]) for place, g in gradients.items()})

        try:
            return jax.vmap(of_one_input)(x)
        except ValueError as error:
            if "Reverse-mode differentiation does not work" not in str(error):
                raise
            raise ValueError(
                "f has a loop of unknown length, through which JAX takes no gradient backward; expected lax.scan, or"
                " lax.fori_loop with bounds that are Python integers."
            ) from None

    def run(self, interpreter: Interpreter, taps: Taps, x: Any) -> tuple[jax.Array, Taps]:
        """The outputs and the operands of one input, with `taps` added."""
        leaves: list[Any] = list(self.leaves)
        for i in self.direct:
            if leaf_place(i) in taps:
                leaves[i] = leaves[i] + taps[leaf_place(i)]
        if not self.linear:
            return self.function(leaves, x), {}
        for i in self.linear:
            leaves[i] = View(i, (), leaves[i])
        (output,), operands = interpreter.run(self.program, [*leaves, *jax.tree.leaves(x)], taps)
        return interpreter.value(output), operands


def read(function: Function, leaves: Sequence[jax.Array], x: Any, trained: Iterable[int]) -> Reading:
    """Trace a function at one input x and find the linear uses of the trained parameters."""
    reading = Reading(function, jax.make_jaxpr(function)(leaves, x), leaves, frozenset(trained), frozenset(), {})
    while True:
        interpreter = Interpreter()
        try:
            jax.eval_shape(lambda x, reading=reading, by=interpreter: reading.run(by, {}, x), x)
        except (ImportError, AttributeError, KeyError, TypeError) as error:
            warnings.warn(
                f"JAX {jax.__version__} does not let the program of f be read ({type(error).__name__}: {error});"
                " the kernel is computed by Jacobian contraction instead.",
                RuntimeWarning,
                stacklevel=2,
            )
            return directly(reading, reading.linear)
        if not interpreter.escaped:
            return replace(reading, uses=interpreter.uses)
        reading = directly(reading, interpreter.escaped)


def directly(reading: Reading, parameters: Iterable[int]) -> Reading:
    """The same function, with the gradient in some more parameters formed as such."""
    more = frozenset(parameters) & reading.linear
    uses = {place: use for place, use in reading.uses.items() if use.leaf not in more}
    return replace(reading, linear=reading.linear - more, direct=reading.direct | more, uses=uses)


def in_common(reading1: Reading, reading2: Reading) -> tuple[Reading, Reading]:
    """One function read at inputs of two shapes; a parameter that is not used at the same places becomes direct."""
    uses1, uses2 = reading1.uses, reading2.uses
    leaves = {use.leaf for place, use in uses1.items() if place not in uses2 or uses2[place].leaf != use.leaf}
    leaves |= {use.leaf for place, use in uses2.items() if place not in uses1}
    leaves |= reading1.direct | reading2.direct
    return directly(reading1, leaves), directly(reading2, leaves)


def leaf_place(leaf: int) -> str:
    """The place of the tap of a direct parameter."""
    return f"parameter {leaf}"
