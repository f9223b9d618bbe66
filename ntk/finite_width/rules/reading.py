"""A function of parameters and one input: traced, read, and evaluated for the operands and δ of a tile of inputs."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntk.finite_width.functions import loops_refused
from ntk.finite_width.rules.interpreter import Interpreter, Taps, Use
from ntk.finite_width.rules.linear_ops import Sum
from ntk.finite_width.rules.views import View

Function = Callable[[Sequence[Any], Any], jax.Array]  # of the leaves of the parameters, and of one input


class Side(NamedTuple):
    """What a kernel needs of a tile of N inputs.

    Attributes:
        outputs: (N, *outputs), the function itself.
        operands: The operand a of every linear use, by its place: (N, lengths of the scans around it, operand).
        gradients: δ of every tap, (N, *outputs, lengths, y), and the gradients in direct parameters,
            (N, *outputs, *parameter).
    """

    outputs: jax.Array
    operands: Taps
    gradients: Taps


@dataclass(frozen=True)
class Reading:
    """A function that has been read.

    Attributes:
        function: The function itself.
        program: Its closed program.
        x: Shapes of one input.
        leaves: Its parameters.
        linear: Which of them are trained, and used linearly.
        direct: Which of them are trained, and used otherwise: their gradient is formed as such.
        uses: The linear uses, by their place.
    """

    function: Function
    program: Any
    x: Any
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
            outputs, pull_back, operands = jax.vjp(lambda taps: self.run(Interpreter(), taps, x), taps, has_aux=True)
            (gradients,) = jax.vmap(pull_back)(units)
            return Side(outputs, operands, {place: g.reshape(*shape, *g.shape[1:]) for place, g in gradients.items()})

        with loops_refused():
            return jax.vmap(of_one_input)(x)

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
        # A tap that is not met would have no gradient, and its parameter no part in the kernel.
        unmet = taps.keys() - interpreter.met - {leaf_place(i) for i in self.direct}
        if unmet:
            raise RuntimeError(f"taps {sorted(unmet)} were not met in the program of f; method='jacobian' has none.")
        return interpreter.value(output), operands


def read(function: Function, leaves: Sequence[jax.Array], x: Any, trained: Iterable[int]) -> Reading:
    """Trace a function at one input x and find the linear uses of the trained parameters."""
    program = jax.make_jaxpr(function)(leaves, x)
    return _with_uses(Reading(function, program, x, leaves, frozenset(trained), frozenset(), {}))


def _with_uses(reading: Reading) -> Reading:
    """The same reading, with the uses that its linear parameters have while the others are arrays."""
    while True:
        interpreter = Interpreter()
        try:
            jax.eval_shape(lambda x, reading=reading, by=interpreter: reading.run(by, {}, x), reading.x)
        except Exception as error:  # f itself was traced before; whatever it is, it is in the reading
            warnings.warn(
                f"the program of f could not be read with JAX {jax.__version__} ({type(error).__name__}: {error}); the"
                " kernel is computed by Jacobian contraction instead. Please report it.",
                RuntimeWarning,
                stacklevel=2,
            )
            interpreter = Interpreter(escaped=set(reading.linear))
        if not interpreter.escaped:
            # Entries that do not exist have no gradient: those of a loop of no steps, or of an empty parameter.
            uses = {place: use for place, use in interpreter.uses.items() if use.size > 0}
            return replace(reading, uses=uses)
        escaped = frozenset(interpreter.escaped)
        reading = replace(reading, linear=reading.linear - escaped, direct=reading.direct | escaped)


def directly(reading: Reading, parameters: Iterable[int]) -> Reading:
    """The same function, with the gradient in some more parameters formed as such."""
    more = frozenset(parameters) & reading.linear
    if not more:
        return reading
    # Taps are shared, so that what is left is used at other taps than before.
    return _with_uses(replace(reading, linear=reading.linear - more, direct=reading.direct | more))


def in_common(reading1: Reading, reading2: Reading) -> tuple[Reading, Reading]:
    """One function read at inputs of two shapes; a parameter that is not used at the same places becomes direct."""
    while True:
        keys1, keys2 = (_keys(reading) for reading in (reading1, reading2))
        leaves = {leaf for leaf in reading1.linear | reading2.linear if keys1.get(leaf) != keys2.get(leaf)}
        leaves |= reading1.direct ^ reading2.direct
        if not leaves:
            return reading1, reading2
        reading1, reading2 = directly(reading1, leaves), directly(reading2, leaves)


def _keys(reading: Reading) -> dict[int, list[tuple]]:
    """Of every linear parameter, what has to agree for its gradients at inputs of two shapes to meet."""
    keys: dict[int, list[tuple]] = {}
    for place, use in reading.uses.items():
        # A sum knows the shape of its output, which may differ; where it stands in the parameter may not.
        op = use.op.sizes if isinstance(use.op, Sum) else use.op
        layout = use.op.layout(use.tap_shape.shape[len(use.paired) :])
        keys.setdefault(use.leaf, []).append((place, use.steps, use.paired, use.tap, op, layout))
    return keys


def leaf_place(leaf: int) -> str:
    """The place of the tap of a direct parameter."""
    return f"parameter {leaf}"
