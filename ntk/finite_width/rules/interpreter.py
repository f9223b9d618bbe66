"""Evaluates the traced program of a function, and finds where its parameters are used linearly.

A parameter travels through the program as a `View`: seen through transposes, casts, slices and scalar factors. A view
may meet a product, a convolution, a lookup or a sum, y = op(a, W). Then a *tap*, which is a zero, is added to the
output, and the operand a is kept. The gradient of f in the tap is δ = ∇_y f. The kernel of W needs a and δ, and nothing
else (theory.md 5.1). All other equations are evaluated as they stand, and keep the derivatives that they have.

Sums and scalar factors may lie between an operation and its tap. σ_w x@w + σ_b b is one `Pending` sum of two uses: they
share one tap and one δ, and the factors go to the operands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ntk import jaxprs
from ntk.dtypes import at_least_float32
from ntk.finite_width.rules.linear_ops import Lookup, Sum, added, linear_op
from ntk.finite_width.rules.uses import Frame, Shape, Step, Taps, Use
from ntk.finite_width.rules.views import (
    Joined,
    Pending,
    Term,
    Value,
    View,
    multiplied,
    product_axis,
    rearranged,
    scaled,
    split,
    times,
)


@dataclass
class Interpreter:
    """Evaluates a program whose parameters are views, and records how they are used.

    Attributes:
        uses: The linear uses, by their place in the program.
        escaped: Parameters that met an equation without a rule. From there on they are arrays.
        met: The taps that were added.
    """

    uses: dict[str, Use] = field(default_factory=dict)
    escaped: set[int] = field(default_factory=set)
    met: set[str] = field(default_factory=set)

    def run(
        self,
        program: jaxprs.Program,
        inputs: Sequence[Value],
        taps: Taps,
        place: str = "",
        lengths: tuple[int, ...] = (),
    ) -> tuple[list[Value], Taps]:
        """The outputs of a closed program, and the operands of its linear uses.

        Args:
            program: The program.
            inputs: Its inputs, arrays or views.
            taps: The taps to add, by place.
            place: Where the program stands in the whole one.
            lengths: Steps of the scans around it, outermost first.
        """
        jaxpr = program.jaxpr
        needed = jaxprs.needed_equations(jaxpr)
        values = jaxprs.initial_values(program, inputs)
        readers = jaxprs.readers(jaxpr, needed)
        operands: Taps = {}

        for number, equation in enumerate(needed):
            here = Frame(f"{place}{number}/", lengths, taps, operands)
            found = [jaxprs.read_atom(atom, values) for atom in equation.invars]
            if any(isinstance(value, View | Pending | Joined) for value in found):
                is_added = [readers[variable] for variable in equation.outvars] in ([["add"]], [["sub"]])
                outputs = self._equation(program, equation, found, here, is_added)
            else:
                outputs = jaxprs.evaluate(program, equation, found)
            for variable, output in zip(equation.outvars, outputs, strict=True):
                if output is None:  # nothing reads it
                    continue
                # A tap may wait for further terms only if nothing else reads the value.
                waits = isinstance(output, Pending) and len(readers[variable]) == 1
                values[variable] = output if waits else self._settled(output, here)
        here = Frame(f"{place}end/", lengths, taps, operands)
        return [self._settled(jaxprs.read_atom(atom, values), here) for atom in jaxpr.outvars], operands

    def value(self, value: Value) -> Array:
        """The value as an array. A parameter in it is recorded as escaped: it has no rule from here on."""
        if isinstance(value, View | Joined):
            self.escaped |= {view.leaf for view in (value.parts if isinstance(value, Joined) else (value,))}
            return value.value
        return value

    def _equation(
        self, program: jaxprs.Program, equation: jaxprs.Equation, inputs: list[Value], here: Frame, is_added: bool
    ) -> Sequence[Value]:
        """The outputs of an equation that reads a view or a pending value.

        `is_added` is True if one sum or difference reads the output and nothing else does.
        """
        name, params = equation.primitive.name, equation.params
        if not equation.outvars:  # it prints, and has no derivative
            return jaxprs.evaluate(program, equation, [getattr(value, "value", value) for value in inputs])
        if name in ("mul", "div", "neg", "sub"):  # a row number cannot take a factor, but its tap can
            lookups = [isinstance(value, Pending) and value.has_lookup for value in inputs]
            inputs = [self._settled(v, here) if lookup else v for v, lookup in zip(inputs, lookups, strict=True)]
            if not any(isinstance(value, View | Pending | Joined) for value in inputs):
                return jaxprs.evaluate(program, equation, inputs)
        if any(isinstance(value, Joined) for value in inputs) and name not in (*jaxprs.WRAPPERS, "scan", "cond"):
            return self._with_joined(program, equation, inputs, here)
        if (product := multiplied(equation, inputs)) is not None:
            return [product]
        if name in ("add", "sub") and (total := self._sum(equation, inputs, here)) is not None:
            return [total]
        inputs = [self._settled(value, here) for value in inputs]
        if not any(isinstance(value, View | Joined) for value in inputs):
            return jaxprs.evaluate(program, equation, inputs)
        if name in jaxprs.WRAPPERS:
            return self._inner_program(equation, inputs, here)
        if name == "scan":
            return self._scan(jaxprs.as_scan(equation), inputs, here)
        if name == "cond":
            return self._cond(jaxprs.inner_programs(equation), inputs, here)
        if name == "concatenate" and all(isinstance(value, View) for value in inputs):
            return [Joined(tuple(inputs), params["dimension"])]
        if name == "stop_gradient":
            return [lax.stop_gradient(inputs[0].value)]
        inputs, position = self._with_one_view(inputs)
        view = inputs[position]
        others = inputs[:position] + inputs[position + 1 :]
        bare = [*inputs[:position], view.value, *inputs[position + 1 :]]
        if (moved := rearranged(equation, view)) is not None:
            return [replace(moved, value=jaxprs.evaluate(program, equation, bare)[0])]
        if name == "split":
            return split(equation, view)
        op = linear_op(equation, position)
        # A broadcast parameter that is not added is multiplied. A tap would be larger than the parameter.
        if op is not None and (is_added or not isinstance(op, Sum)):
            y = jaxprs.evaluate(program, equation, bare)[0]
            operand = others[0] if others else jnp.ones((), y.dtype)
            if isinstance(op, Lookup) and view.factor is not None:
                tap = Pending(jnp.zeros_like(y), (Term(here.name, view, op, operand, None),))
                return [y + scaled(self._settled(tap, here), view.factor)]
            return [Pending(y, (Term(here.name, view, op, operand, view.factor),))]
        return jaxprs.evaluate(program, equation, [self.value(v) for v in inputs])

    def _sum(self, equation: jaxprs.Equation, inputs: list[Value], here: Frame) -> Pending | None:
        """A sum or difference with parameters or pending values. Its tap is added later. None for any other sum.

        JAX broadcasts arrays of shape (1, n) to (m, n) in these equations.
        """
        result = jaxprs.aval_of(equation.outvars[0])
        terms: list[Term] = []
        shape, total = result.shape, jnp.zeros((), result.dtype)
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

    def _settled(self, value: Value, here: Frame) -> Value:
        """A pending value with its tap added and its uses recorded. Any other value is returned as it is."""
        if not isinstance(value, Pending):
            return value
        tap = value.terms[0].place
        shape = Shape((*here.lengths, *value.value.shape), value.value.dtype)
        for place, view, op, operand, factor in value.terms:
            if factor is not None:  # the product might overflow in a narrow dtype
                operand = scaled(at_least_float32(operand), factor)
            paired = tuple(depth in view.paired for depth in range(len(here.lengths)))
            kept = Shape((*here.lengths, *operand.shape), operand.dtype)
            self.uses[place] = Use(view.leaf, view.steps, op, paired, kept, tap, shape)
            here.operands[place] = operand
        if tap not in here.taps:
            return value.value
        self.met.add(tap)
        return value.value + here.taps[tap]

    def _with_joined(
        self, program: jaxprs.Program, equation: jaxprs.Equation, inputs: list[Value], here: Frame
    ) -> Sequence[Value]:
        """The outputs of an equation that reads joined parameters.

        A product is taken with each parameter by itself. Any other equation reads them as one array.
        """
        position = next(i for i, value in enumerate(inputs) if isinstance(value, Joined))
        joined = inputs[position]
        inputs = [value if i == position else self.value(self._settled(value, here)) for i, value in enumerate(inputs)]
        axis = None
        if equation.primitive.name == "dot_general":
            numbers = equation.params["dimension_numbers"]
            axis = product_axis(numbers, position, joined.axis, jaxprs.aval_of(equation.invars[0]).ndim)
        if axis is None:
            return jaxprs.evaluate(program, equation, [self.value(value) for value in inputs])
        pieces = []
        for number, part in enumerate(joined.parts):
            operands = [*inputs[:position], part, *inputs[position + 1 :]]
            shapes = [jax.typeof(part.value if x is part else x) for x in operands]
            alone = jax.make_jaxpr(lambda *xs: equation.primitive.bind(*xs, **equation.params))(*shapes)
            (piece,), kept = self.run(alone, operands, here.taps, f"{here.name}{number}:", here.lengths)
            here.operands.update(kept)
            pieces.append(piece)
        return [lax.concatenate(pieces, axis)]

    def _inner_program(self, equation: jaxprs.Equation, inputs: list[Value], here: Frame) -> list[Value]:
        """The outputs of a wrapped program, which is run here.

        `jax.checkpoint` is put around the program again, so that its values are not kept for the backward pass.
        """
        params = equation.params
        (program,) = jaxprs.inner_programs(equation)

        def run(taps: Taps) -> tuple[list[Value], Taps]:
            return self.run(program, inputs, taps, here.name, here.lengths)

        if "policy" not in params:
            outputs, operands = run(here.taps)
            here.operands.update(operands)
            return outputs
        # A parameter that the program returns unchanged is passed on as a view.
        results, arguments = program.jaxpr.outvars, program.jaxpr.invars
        passed = {i: inputs[arguments.index(atom)] for i, atom in enumerate(results) if atom in arguments}

        def arrays(taps: Taps) -> tuple[list[Array | None], Taps]:
            outputs, operands = run(taps)
            return [None if i in passed else self.value(value) for i, value in enumerate(outputs)], operands

        checkpointed = jax.checkpoint(arrays, policy=params["policy"], prevent_cse=params["prevent_cse"])
        outputs, operands = checkpointed({name: tap for name, tap in here.taps.items() if name.startswith(here.name)})
        here.operands.update(operands)
        return [passed.get(i, value) for i, value in enumerate(outputs)]

    def _scan(self, scan: jaxprs.Scan, inputs: list[Value], here: Frame) -> list[Value]:
        """The outputs of a scan. The scan also runs over the taps, and stacks the operands."""
        num_carry = scan.num_carry
        consts, rest = inputs[: scan.num_consts], inputs[scan.num_consts :]
        start = [self.value(v) for v in rest[:num_carry]]
        over = [self.value(v) if isinstance(v, Joined) else v for v in rest[num_carry:]]
        depth, lengths, each = len(here.lengths), (*here.lengths, scan.options["length"]), Step("each")

        def step(carry: list[Array], slices: tuple[list[Array], Taps]) -> tuple[list[Array], tuple[list[Array], Taps]]:
            values, taps = slices
            elements = [
                replace(v, steps=(*v.steps, each), value=x, paired=v.paired | {depth}) if isinstance(v, View) else x
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

    def _cond(self, programs: list[jaxprs.Program], inputs: list[Value], here: Frame) -> list[Value]:
        """The outputs of the branch that is taken. Operands of other branches are zero, and so is δ in their taps."""
        index, *arguments = inputs

        def branch(number: int) -> tuple[list[Value], Taps]:
            place = f"{here.name}{number}:"
            outputs, operands = self.run(programs[number], arguments, here.taps, place, here.lengths)
            return [self.value(v) for v in outputs], operands

        numbers = range(len(programs))
        shapes = [jax.eval_shape(lambda number=number: branch(number)[1]) for number in numbers]

        def complete(number: int) -> tuple[list[Value], Taps]:
            outputs, operands = branch(number)
            zeros = {name: jnp.zeros(s.shape, s.dtype) for other in shapes for name, s in other.items()}
            return outputs, zeros | operands

        branches = [lambda number=number: complete(number) for number in numbers]
        outputs, operands = lax.switch(self.value(index), branches)
        here.operands.update(operands)
        return outputs

    def _with_one_view(self, inputs: list[Value]) -> tuple[list[Value], int]:
        """The inputs, and the position of the largest parameter. It stays a view. Other parameters become arrays."""
        views = [i for i, value in enumerate(inputs) if isinstance(value, View)]
        largest = max(views, key=lambda i: inputs[i].value.size)
        return [value if i == largest else self.value(value) for i, value in enumerate(inputs)], largest
