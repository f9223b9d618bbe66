"""Evaluates the traced program of a function, and finds where its parameters are used linearly.

A parameter travels through the program as a `View`: seen through transposes, casts, slices and scalar factors. Where a
view meets a product, a convolution, a lookup or a sum, y = op(a, W), the output receives a *tap*, a zero to be added,
and the operand a is kept. The gradient of f in the tap is δ = ∇_y f, and with a it is all that the kernel of W needs
(theory.md 5.1). Everything else is evaluated as the program has it, its derivatives included.

Between an operation and its tap may lie sums and scalar factors: σ_w x@w + σ_b b is one `Pending` sum of two uses,
which share one tap and one δ; the factors go to the operands.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntk.finite_width.rules.contraction import at_least_float32
from ntk.finite_width.rules.linear_ops import LinearOp, Lookup, Sum, added, linear_op
from ntk.finite_width.rules.views import Joined, Pending, Term, View, multiplied, rearranged, scaled, split, times
from ntk.jaxprs import (
    WRAPPERS,
    Scan,
    as_scan,
    evaluate,
    initial_values,
    inner_programs,
    is_variable,
    needed_equations,
    read_atom,
)

Taps = dict[str, jax.Array]
Shape = jax.ShapeDtypeStruct


@dataclass(frozen=True)
class Use:
    """One equation in which a parameter is used linearly, y = op(a, W), possibly inside scans.

    Attributes:
        leaf: Which parameter.
        steps: What it was seen through.
        op: The operation.
        paired: For every scan around it, outermost first, whether each step uses its own slice of the parameter.
        operand: Shape of a, the axes of the scans first.
        tap: Where its tap is.
        tap_shape: Shape of y, the axes of the scans first.
    """

    leaf: int
    steps: tuple
    op: LinearOp
    paired: tuple[bool, ...]
    operand: Shape
    tap: str
    tap_shape: Shape

    @property
    def size(self) -> int:
        """Products of an entry of the operand and one of the output: zero where there is nothing to be learned."""
        return math.prod(self.tap_shape.shape) * math.prod(self.op.sizes)


@dataclass
class Interpreter:
    """Evaluates a program whose parameters are views, and records what it finds on the way.

    Attributes:
        uses: The linear uses, by their place in the program.
        escaped: Parameters that met an equation for which there is no rule; they are arrays from there on.
        met: The taps that were added.
    """

    uses: dict[str, Use] = field(default_factory=dict)
    escaped: set[int] = field(default_factory=set)
    met: set[str] = field(default_factory=set)

    def run(
        self, program: Any, inputs: Sequence[Any], taps: Taps, place: str = "", lengths: tuple[int, ...] = ()
    ) -> tuple[list[Any], Taps]:
        """The outputs of a closed program at inputs that are arrays or views, and the operands of its linear uses.

        `taps` are added at the places they are named for; `lengths` are those of the scans around the program.
        """
        jaxpr = program.jaxpr
        needed = needed_equations(jaxpr)
        values = initial_values(program, inputs)
        readers: dict[Any, list[str]] = defaultdict(list)
        for equation in needed:
            for atom in filter(is_variable, equation.invars):
                readers[atom].append(equation.primitive.name)
        for atom in filter(is_variable, jaxpr.outvars):
            readers[atom].append("output")
        operands: Taps = {}

        for number, equation in enumerate(needed):
            here = Frame(f"{place}{number}/", lengths, taps, operands)
            found = [read_atom(atom, values) for atom in equation.invars]
            if any(isinstance(value, View | Pending | Joined) for value in found):
                is_added = [readers[variable] for variable in equation.outvars] in ([["add"]], [["sub"]])
                outputs = self._equation(program, equation, found, here, is_added)
            else:
                outputs = evaluate(program, equation, found)
            for variable, output in zip(equation.outvars, outputs, strict=True):
                # A tap may wait for what else is added only where nothing else reads the value.
                waits = isinstance(output, Pending) and len(readers[variable]) == 1
                values[variable] = output if waits else self._settled(output, here)
        here = Frame(f"{place}end/", lengths, taps, operands)
        return [self._settled(read_atom(atom, values), here) for atom in jaxpr.outvars], operands

    def value(self, value: Any) -> Any:
        """An array in place of views, which are recorded to have escaped."""
        if isinstance(value, View | Joined):
            self.escaped |= {view.leaf for view in (value.parts if isinstance(value, Joined) else (value,))}
            return value.value
        return value

    def _equation(self, program: Any, equation: Any, inputs: list[Any], here: "Frame", is_added: bool) -> Sequence[Any]:
        """The outputs of an equation that reads a view or a pending value; `is_added` if only a sum reads them."""
        name, params = equation.primitive.name, equation.params
        if not equation.outvars:  # it prints, and has no derivative
            return evaluate(program, equation, [getattr(value, "value", value) for value in inputs])
        if name in ("mul", "div", "neg", "sub"):  # row numbers take no factor, their tap does
            lookups = [isinstance(value, Pending) and value.has_lookup for value in inputs]
            inputs = [self._settled(v, here) if lookup else v for v, lookup in zip(inputs, lookups, strict=True)]
            if not any(isinstance(value, View | Pending | Joined) for value in inputs):
                return evaluate(program, equation, inputs)
        if any(isinstance(value, Joined) for value in inputs) and name not in (*WRAPPERS, "scan", "cond"):
            return self._with_joined(program, equation, inputs, here)
        if (product := multiplied(equation, inputs)) is not None:
            return [product]
        if name in ("add", "sub") and (total := self._sum(equation, inputs, here)) is not None:
            return [total]
        inputs = [self._settled(value, here) for value in inputs]
        if not any(isinstance(value, View | Joined) for value in inputs):
            return evaluate(program, equation, inputs)
        if name in WRAPPERS:
            return self._inner_program(equation, inputs, here)
        if name == "scan":
            return self._scan(as_scan(equation), inputs, here)
        if name == "cond":
            return self._cond(inner_programs(equation), inputs, here)
        if name == "concatenate" and all(isinstance(value, View) for value in inputs):
            return [Joined(tuple(inputs), params["dimension"])]
        if name == "stop_gradient":
            return [lax.stop_gradient(inputs[0].value)]
        inputs, position = self._with_one_view(inputs)
        view = inputs[position]
        others = inputs[:position] + inputs[position + 1 :]
        bare = [*inputs[:position], view.value, *inputs[position + 1 :]]
        if (moved := rearranged(equation, view)) is not None:
            return [replace(moved, value=evaluate(program, equation, bare)[0])]
        if name == "split":
            return split(equation, view)
        op = linear_op(equation, position) if _is_real(equation, position) else None
        # Where a broadcast parameter is not added it is multiplied: its own gradient is smaller than that.
        if op is not None and (is_added or not isinstance(op, Sum)):
            y = evaluate(program, equation, bare)[0]
            operand = others[0] if others else jnp.ones((), y.dtype)
            if isinstance(op, Lookup) and view.factor is not None:
                tap = Pending(jnp.zeros_like(y), (Term(here.name, view, op, operand, None),))
                return [y + scaled(self._settled(tap, here), view.factor)]
            return [Pending(y, (Term(here.name, view, op, operand, view.factor),))]
        return evaluate(program, equation, [self.value(v) for v in inputs])

    def _sum(self, equation: Any, inputs: list[Any], here: "Frame") -> Pending | None:
        """A sum or difference with parameters or pending values, whose tap is added later.

        Arrays of shape (1, n) count as (m, n).
        """
        shape = equation.outvars[0].aval.shape
        terms: list[Any] = []
        total = jnp.zeros((), equation.outvars[0].aval.dtype)
        if equation.primitive.name == "sub":
            first, second = inputs
            read = isinstance(second, View | Pending)
            inputs = [first, times(second, -jnp.ones((), total.dtype)) if read else -second]
        for number, value in enumerate(inputs):
            if isinstance(value, View) and value.value.ndim == len(shape):
                one = jnp.ones((), value.value.dtype)
                term = Term(f"{here.name}{number}:", value, added(value.value.shape, shape), one, value.factor)
                value = Pending(value.value, (term,))
            elif isinstance(value, View) or (isinstance(value, Pending) and value.value.shape != shape):
                value = self.value(self._settled(value, here))
            if isinstance(value, Pending):
                terms += value.terms
                value = value.value
            total = total + value
        return Pending(total, tuple(terms)) if terms else None

    def _settled(self, value: Any, here: "Frame") -> Any:
        """A pending value with its tap, its uses recorded; anything else as it is."""
        if not isinstance(value, Pending):
            return value
        tap = value.terms[0].place
        shape = Shape((*here.lengths, *value.value.shape), value.value.dtype)
        for place, view, op, operand, factor in value.terms:
            if factor is not None:  # in a narrow dtype the product might overflow
                operand = scaled(at_least_float32(operand), factor)
            paired = tuple(depth in view.paired for depth in range(len(here.lengths)))
            kept = Shape((*here.lengths, *operand.shape), operand.dtype)
            self.uses[place] = Use(view.leaf, view.steps, op, paired, kept, tap, shape)
            here.operands[place] = operand
        if tap not in here.taps:
            return value.value
        self.met.add(tap)
        return value.value + here.taps[tap]

    def _with_joined(self, program: Any, equation: Any, inputs: list[Any], here: "Frame") -> Sequence[Any]:
        """An equation that reads joined parameters: a product is taken with each of them, all else with an array."""
        position = next(i for i, value in enumerate(inputs) if isinstance(value, Joined))
        joined = inputs[position]
        inputs = [value if i == position else self.value(self._settled(value, here)) for i, value in enumerate(inputs)]
        axis = None
        if equation.primitive.name == "dot_general":
            numbers = equation.params["dimension_numbers"]
            axis = _product_axis(numbers, position, joined.axis, equation.invars[0].aval.ndim)
        if axis is None:
            return evaluate(program, equation, [self.value(value) for value in inputs])
        pieces = []
        for number, part in enumerate(joined.parts):
            operands = [*inputs[:position], part, *inputs[position + 1 :]]
            shapes = [jax.typeof(part.value if x is part else x) for x in operands]
            alone = jax.make_jaxpr(lambda *xs: equation.primitive.bind(*xs, **equation.params))(*shapes)
            (piece,), kept = self.run(alone, operands, here.taps, f"{here.name}{number}:", here.lengths)
            here.operands.update(kept)
            pieces.append(piece)
        return [lax.concatenate(pieces, axis)]

    def _inner_program(self, equation: Any, inputs: list[Any], here: "Frame") -> list[Any]:
        """The same program, run here; if its values are not to be kept for the backward pass, they are not."""
        params = equation.params
        (program,) = inner_programs(equation)

        def run(taps: Taps) -> tuple[list[Any], Taps]:
            return self.run(program, inputs, taps, here.name, here.lengths)

        if "policy" not in params:
            outputs, operands = run(here.taps)
            here.operands.update(operands)
            return outputs
        # A parameter that comes out as it went in stays what it was.
        results, arguments = program.jaxpr.outvars, program.jaxpr.invars
        passed = {i: inputs[arguments.index(atom)] for i, atom in enumerate(results) if atom in arguments}

        def arrays(taps: Taps) -> tuple[list[Any], Taps]:
            outputs, operands = run(taps)
            return [None if i in passed else self.value(value) for i, value in enumerate(outputs)], operands

        checkpointed = jax.checkpoint(arrays, policy=params["policy"], prevent_cse=params["prevent_cse"])
        outputs, operands = checkpointed({name: tap for name, tap in here.taps.items() if name.startswith(here.name)})
        here.operands.update(operands)
        return [passed.get(i, value) for i, value in enumerate(outputs)]

    def _scan(self, scan: Scan, inputs: list[Any], here: "Frame") -> list[Any]:
        """The same scan, with taps among what it runs over and operands among what it stacks."""
        num_carry = scan.num_carry
        consts, rest = inputs[: scan.num_consts], inputs[scan.num_consts :]
        start = [self.value(v) for v in rest[:num_carry]]
        over = [self.value(v) if isinstance(v, Joined) else v for v in rest[num_carry:]]
        depth, lengths = len(here.lengths), (*here.lengths, scan.options["length"])

        def step(carry: list, slices: tuple[list, Taps]) -> tuple[list, tuple[list, Taps]]:
            values, taps = slices
            elements = [
                replace(v, steps=(*v.steps, "each"), value=x, paired=v.paired | {depth}) if isinstance(v, View) else x
                for v, x in zip(over, values, strict=True)
            ]
            outputs, operands = self.run(scan.body, [*consts, *carry, *elements], taps, here.name, lengths)
            outputs = [self.value(v) for v in outputs]
            return outputs[:num_carry], (outputs[num_carry:], operands)

        slices = [v.value if isinstance(v, View) else v for v in over]
        taps = {name: tap for name, tap in here.taps.items() if name.startswith(here.name)}
        carry, (stacked, operands) = lax.scan(step, start, (slices, taps), **scan.options)
        here.operands.update(operands)
        return [*carry, *stacked]

    def _cond(self, programs: list[Any], inputs: list[Any], here: "Frame") -> list[Any]:
        """The same branches; the operands of those not taken are zero, and so are the gradients in their taps."""
        index, *arguments = inputs

        def branch(number: int) -> tuple[list[Any], Taps]:
            place = f"{here.name}{number}:"
            outputs, operands = self.run(programs[number], arguments, here.taps, place, here.lengths)
            return [self.value(v) for v in outputs], operands

        numbers = range(len(programs))
        shapes = [jax.eval_shape(lambda number=number: branch(number)[1]) for number in numbers]

        def complete(number: int) -> tuple[list[Any], Taps]:
            outputs, operands = branch(number)
            zeros = {name: jnp.zeros(s.shape, s.dtype) for other in shapes for name, s in other.items()}
            return outputs, zeros | operands

        branches = [lambda number=number: complete(number) for number in numbers]
        outputs, operands = lax.switch(self.value(index), branches)
        here.operands.update(operands)
        return outputs

    def _with_one_view(self, inputs: list[Any]) -> tuple[list[Any], int]:
        """Only the largest of several parameters in one equation stays a view; and where it stands."""
        views = [i for i, value in enumerate(inputs) if isinstance(value, View)]
        largest = max(views, key=lambda i: inputs[i].value.size)
        return [value if i == largest else self.value(value) for i, value in enumerate(inputs)], largest


@dataclass(frozen=True)
class Frame:
    """Where an equation stands: its name, the lengths of the scans around it, taps and operands of its program."""

    name: str
    lengths: tuple[int, ...]
    taps: Taps
    operands: Taps


def _product_axis(dimension_numbers: Any, position: int, axis: int, lhs_ndim: int) -> int | None:
    """Where an axis of an operand is in its product with the other; None if it is summed over, or of both."""
    (lhs_contracted, rhs_contracted), (lhs_batch, rhs_batch) = dimension_numbers
    contracted, batch = ((lhs_contracted, lhs_batch), (rhs_contracted, rhs_batch))[position]
    if axis in contracted or axis in batch:
        return None
    before = [other for other in range(axis) if other not in contracted and other not in batch]
    return len(batch) + len(before) + (lhs_ndim - len(lhs_contracted) - len(lhs_batch) if position == 1 else 0)


def _is_real(equation: Any, position: int) -> bool:
    """Whether the result, and what a parameter is multiplied by, are of real floating-point types."""
    operands = [atom for i, atom in enumerate(equation.invars) if i != position]
    if equation.primitive.name == "gather":
        operands = []  # row numbers
    dtypes = [atom.aval.dtype for atom in (*operands, equation.outvars[0])]
    return all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes)
