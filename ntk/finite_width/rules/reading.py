"""A function of parameters and one input: traced, read, and evaluated for the operands and δ of a tile of inputs."""

import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ntk.finite_width.rules.interpreter import Interpreter
from ntk.finite_width.rules.linear_ops import Sum
from ntk.finite_width.rules.uses import Taps, Use
from ntk.finite_width.rules.views import View
from ntk.jaxprs import Program

Function = Callable[[Sequence[Array], PyTree], Array]  # of the leaves of the parameters, and of one input
Leaf = Array | jax.ShapeDtypeStruct  # a shape suffices where nothing is computed


class Side(NamedTuple):
    """The arrays of a tile of N inputs from which a kernel is computed.

    Attributes:
        outputs: (N, *outputs), the function itself.
        operands: The operand a of every linear use, by place: (N, lengths of the scans around it, operand).
        gradients: δ of every tap, (N, *outputs, lengths, y), and the gradients in direct parameters, (N, *outputs,
            *parameter).
    """

    outputs: Float[Array, " N *outputs"]
    operands: Taps
    gradients: Taps


@jax.tree_util.register_static
@dataclass(frozen=True)
class Found:
    """The findings of an evaluation. They hold no array, so that `jax.eval_shape` returns them unchanged.

    Attributes:
        uses: Linear uses with their places.
        escaped: Parameters that met an equation without a rule.
    """

    uses: tuple[tuple[str, Use], ...]
    escaped: frozenset[int]


@dataclass(frozen=True)
class Reading:
    """A function that has been read.

    Attributes:
        function: The function itself.
        program: Its closed program.
        x: Shapes of one input.
        leaves: Its parameters.
        linear: Which of them are trained and used linearly.
        direct: Which of them are trained and used in another way. The backward pass forms their gradients.
        uses: The linear uses, by their place.
    """

    function: Function
    program: Program
    x: PyTree
    leaves: Sequence[Leaf]
    linear: frozenset[int]
    direct: frozenset[int]
    uses: dict[str, Use]

    @property
    def output(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the outputs of one input."""
        aval = self.program.out_avals[0]
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype)

    def side(self, x: PyTree) -> Side:
        """One forward pass over inputs (N, …), and one backward pass for each output."""
        shapes = {use.tap: use.tap_shape for use in self.uses.values()}
        shapes |= {leaf_place(i): jax.typeof(self.leaves[i]) for i in self.direct}
        taps = {place: jnp.zeros(shape.shape, shape.dtype) for place, shape in shapes.items()}
        size, shape = self.output.size, self.output.shape
        units = jnp.eye(size, dtype=self.output.dtype).reshape(size, *shape)

        def of_one_input(x: PyTree) -> Side:
            outputs, pull_back, operands = jax.vjp(lambda taps: self.run(Interpreter(), taps, x), taps, has_aux=True)
            (gradients,) = jax.vmap(pull_back)(units)
            return Side(outputs, operands, {place: g.reshape(*shape, *g.shape[1:]) for place, g in gradients.items()})

        return jax.vmap(of_one_input)(x)

    def run(self, interpreter: Interpreter, taps: Taps, x: PyTree) -> tuple[Float[Array, "*outputs"], Taps]:
        """The outputs and the operands of one input, with `taps` added."""
        leaves: list[PyTree] = list(self.leaves)
        for i in self.direct:
            if leaf_place(i) in taps:
                leaves[i] = leaves[i] + taps[leaf_place(i)]
        if not self.linear:
            return self.function(leaves, x), {}
        for i in self.linear:
            leaves[i] = View(i, (), leaves[i])
        (output,), operands = interpreter.run(self.program, [*leaves, *jax.tree.leaves(x)], taps)
        # A tap that is not met would have no gradient, and its parameter would be missing in the kernel.
        unmet = taps.keys() - interpreter.met - {leaf_place(i) for i in self.direct}
        if unmet:
            raise RuntimeError(f"taps {sorted(unmet)} were not met in the program of f; method='jacobian' has none.")
        return interpreter.value(output), operands


def read(function: Function, leaves: Sequence[Leaf], x: PyTree, trained: Iterable[int]) -> Reading:
    """Trace a function at one input and find the linear uses of the trained parameters.

    Args:
        function: A function of leaves and of one input.
        leaves: The leaves of the parameters.
        x: The shapes of one input.
        trained: Which leaves are trained.
    """
    program = jax.make_jaxpr(function)(leaves, x)
    return _with_uses(Reading(function, program, x, leaves, frozenset(trained), frozenset(), {}))


def _with_uses(reading: Reading) -> Reading:
    """The same reading with the uses of its linear parameters. All other parameters are arrays."""
    while True:
        found = _find(reading)
        if not found.escaped:
            # A loop of no steps and an empty parameter have no entries, and no gradient.
            return replace(reading, uses={place: use for place, use in found.uses if use.size > 0})
        reading = replace(reading, linear=reading.linear - found.escaped, direct=reading.direct | found.escaped)


def _find(reading: Reading) -> Found:
    """Evaluate the program on shapes alone. If this fails, every parameter counts as escaped."""

    def found(leaves: list[Array], x: PyTree) -> Found:
        interpreter = Interpreter()
        replace(reading, leaves=leaves).run(interpreter, {}, x)
        return Found(tuple(interpreter.uses.items()), frozenset(interpreter.escaped))

    try:
        return jax.eval_shape(found, list(reading.leaves), reading.x)
    except Exception as error:  # f itself was traced before: the fault is in the reading
        warnings.warn(
            f"the program of f could not be read with JAX {jax.__version__} ({type(error).__name__}: {error}); the"
            " kernel is computed by Jacobian contraction instead. Please report it.",
            RuntimeWarning,
            stacklevel=2,
        )
        return Found((), reading.linear)


def directly(reading: Reading, parameters: Iterable[int]) -> Reading:
    """The same function, with some more parameters whose gradients the backward pass forms."""
    more = frozenset(parameters) & reading.linear
    if not more:
        return reading
    # Parameters share taps. A parameter that stays linear may now have another tap than before.
    return _with_uses(replace(reading, linear=reading.linear - more, direct=reading.direct | more))


def in_common(reading1: Reading, reading2: Reading) -> tuple[Reading, Reading]:
    """One function read at inputs of two shapes. A parameter that is not used at the same places becomes direct."""
    while True:
        keys1, keys2 = (_keys(reading) for reading in (reading1, reading2))
        leaves = {leaf for leaf in reading1.linear | reading2.linear if keys1.get(leaf) != keys2.get(leaf)}
        leaves |= reading1.direct ^ reading2.direct
        if not leaves:
            return reading1, reading2
        reading1, reading2 = directly(reading1, leaves), directly(reading2, leaves)


def _keys(reading: Reading) -> dict[int, list[tuple[Hashable, ...]]]:
    """The properties of each linear parameter's uses that must agree between readings at inputs of two shapes."""
    keys: dict[int, list[tuple[Hashable, ...]]] = {}
    for place, use in reading.uses.items():
        # The shape of a sum's output may differ between the readings; the axes of the parameter may not.
        op = use.op.sizes if isinstance(use.op, Sum) else use.op
        layout = use.op.layout(use.tap_shape.shape[len(use.paired) :])
        keys.setdefault(use.leaf, []).append((place, use.steps, use.paired, use.tap, op, layout))
    return keys


def leaf_place(leaf: int) -> str:
    """The place of the tap of a direct parameter."""
    return f"parameter {leaf}"
