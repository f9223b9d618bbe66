"""Evaluates the traced program of a function, and finds where its parameters are used linearly.

A parameter travels through the program as a `View`: seen through transposes, casts, slices and scalar factors. Where a
view meets a product, a convolution, a lookup or a sum, y = op(a, W), the output receives a *tap*, a zero to be added,
and the operand a is kept. The gradient of f in the tap is δ = ∇_y f, and with a it is all that the kernel of W needs
(THEORY section 5). Everything else is evaluated as the program has it, its derivatives included.

Between an operation and its tap may lie sums and scalar factors: σ_w x@w + σ_b b is one `Pending` sum of two uses,
which share one tap and one δ; the factors go to the operands.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntk.finite_width.linear_ops import LinearOp, Lookup, added, linear_op

Taps = dict[str, jax.Array]
Shape = jax.ShapeDtypeStruct


@dataclass(frozen=True)
class View:
    """A parameter, as an operand of some equation.

    Attributes:
        leaf: Which parameter.
        steps: What it was seen through, hashable; views with the same steps show the same entries in the same order.
        value: Its entries, before any factor.
        factor: Product of the scalars it is multiplied by, None for 1.
        paired: Depths of the scans that run over its leading axis.
    """

    leaf: int
    steps: tuple
    value: jax.Array
    factor: jax.Array | None = None
    paired: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Pending:
    """A value that contains linear uses of parameters, before their tap is added.

    Attributes:
        value: The value.
        terms: The uses: place, view, operation, operand, and the factor the result was multiplied by since.
    """

    value: jax.Array
    terms: tuple[tuple[str, View, LinearOp, jax.Array, jax.Array | None], ...]


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


@dataclass
class Interpreter:
    """Evaluates a program whose parameters are views, and records what it finds on the way.

    Attributes:
        uses: The linear uses, by their place in the program.
        escaped: Parameters that met an equation for which there is no rule; they are arrays from there on.
    """

    uses: dict[str, Use] = field(default_factory=dict)
    escaped: set[int] = field(default_factory=set)

    def run(
        self, program: Any, inputs: Sequence[Any], taps: Taps, place: str = "", lengths: tuple[int, ...] = ()
    ) -> tuple[list[Any], Taps]:
        """The outputs of a closed program at inputs that are arrays or views, and the operands of its linear uses.

        `taps` are added at the places they are named for; `lengths` are those of the scans around the program.
        """
        from jax.extend.core import Literal

        jaxpr = program.jaxpr
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        atoms = [atom for equation in jaxpr.eqns for atom in equation.invars] + list(jaxpr.outvars)
        readers = Counter(atom for atom in atoms if not isinstance(atom, Literal))
        operands: Taps = {}

        def read(atom: Any) -> Any:
            return jnp.asarray(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else values[atom]

        for number, equation in enumerate(jaxpr.eqns):
            here = Frame(f"{place}{number}/", lengths, taps, operands)
            found = [read(atom) for atom in equation.invars]
            if any(isinstance(value, View | Pending) for value in found):
                outputs = self._equation(program, equation, found, here)
            else:
                outputs = evaluate(program, equation, found)
            for variable, output in zip(equation.outvars, outputs, strict=True):
                # A tap may wait for what else is added only where nothing else reads the value.
                waits = isinstance(output, Pending) and readers[variable] == 1
                values[variable] = output if waits else self._settled(output, here)
        here = Frame(f"{place}end/", lengths, taps, operands)
        return [self._settled(read(atom), here) for atom in jaxpr.outvars], operands

    def value(self, value: Any) -> Any:
        """An array in place of a view, which is recorded to have escaped."""
        if not isinstance(value, View):
            return value
        self.escaped.add(value.leaf)
        return _scaled(value.value, value.factor)

    def _equation(self, program: Any, equation: Any, inputs: list[Any], here: "Frame") -> Sequence[Any]:
        name, params = equation.primitive.name, equation.params
        if (scaled := _multiplied(equation, inputs)) is not None:
            return [scaled]
        if name == "add" and (total := self._sum(equation, inputs, here)) is not None:
            return [total]
        inputs = [self._settled(value, here) for value in inputs]
        if not any(isinstance(value, View) for value in inputs):
            return evaluate(program, equation, inputs)
        if name in _INNER_PROGRAM:
            inner = _closed(params[_INNER_PROGRAM[name]])
            outputs, operands = self.run(inner, inputs, here.taps, here.name, here.lengths)
            here.operands.update(operands)
            return outputs
        if name == "scan":
            return self._scan(params, inputs, here)
        if name == "cond":
            return self._cond(params, inputs, here)
        if name == "stop_gradient":
            return [_scaled(inputs[0].value, inputs[0].factor)]
        inputs, position = self._with_one_view(inputs)
        view = inputs[position]
        others = inputs[:position] + inputs[position + 1 :]
        bare = [*inputs[:position], view.value, *inputs[position + 1 :]]
        if (rearranged := _rearranged(equation, view)) is not None:
            return [replace(rearranged, value=evaluate(program, equation, bare)[0])]
        if (op := linear_op(equation, position)) is not None:
            y = evaluate(program, equation, bare)[0]
            operand = others[0] if others else jnp.ones((), y.dtype)
            pending = Pending(y, ((here.name, replace(view, factor=None), op, operand, None),))
            if not isinstance(op, Lookup):
                return [_times(pending, view.factor)]
            return [_scaled(self._settled(pending, here), view.factor)]  # row numbers take no factor
        return evaluate(program, equation, [self.value(v) for v in inputs])

    def _sum(self, equation: Any, inputs: list[Any], here: "Frame") -> Pending | None:
        """A sum of pending values, parameters and arrays of one shape, whose tap is added later."""
        shape = equation.outvars[0].aval.shape
        total, terms = jnp.zeros((), equation.outvars[0].aval.dtype), []
        if any(jnp.shape(getattr(value, "value", value)) != shape for value in inputs):
            return None
        for number, value in enumerate(inputs):
            if isinstance(value, View):
                place = f"{here.name}{number}:"
                one = jnp.ones((), value.value.dtype)
                value = Pending(value.value, ((place, replace(value, factor=None), added(shape), one, None),))
                value = _times(value, inputs[number].factor)
            if isinstance(value, Pending):
                terms += value.terms
            total = total + getattr(value, "value", value)
        return Pending(total, tuple(terms))

    def _settled(self, value: Any, here: "Frame") -> Any:
        """A pending value with its tap, its uses recorded; anything else as it is."""
        if not isinstance(value, Pending):
            return value
        tap = value.terms[0][0]
        shape = Shape((*here.lengths, *value.value.shape), value.value.dtype)
        for place, view, op, operand, factor in value.terms:
            operand = _scaled(operand, factor)
            paired = tuple(depth in view.paired for depth in range(len(here.lengths)))
            kept = Shape((*here.lengths, *operand.shape), operand.dtype)
            self.uses[place] = Use(view.leaf, view.steps, op, paired, kept, tap, shape)
            here.operands[place] = operand
        return value.value + here.taps[tap] if tap in here.taps else value.value

    def _scan(self, params: Any, inputs: list[Any], here: "Frame") -> list[Any]:
        """The same scan, with taps among what it runs over and operands among what it stacks."""
        num_consts, num_carry = params["num_consts"], params["num_carry"]
        consts, rest = inputs[:num_consts], inputs[num_consts:]
        start, over = [self.value(v) for v in rest[:num_carry]], rest[num_carry:]
        depth, lengths = len(here.lengths), (*here.lengths, params["length"])

        def step(carry: list, slices: tuple[list, Taps]) -> tuple[list, tuple[list, Taps]]:
            values, taps = slices
            elements = [
                replace(v, steps=(*v.steps, "each"), value=x, paired=v.paired | {depth}) if isinstance(v, View) else x
                for v, x in zip(over, values, strict=True)
            ]
            outputs, operands = self.run(params["jaxpr"], [*consts, *carry, *elements], taps, here.name, lengths)
            outputs = [self.value(v) for v in outputs]
            return outputs[:num_carry], (outputs[num_carry:], operands)

        slices = [v.value if isinstance(v, View) else v for v in over]
        taps = {name: tap for name, tap in here.taps.items() if name.startswith(here.name)}
        options = {name: params[name] for name in ("length", "reverse", "unroll")}
        carry, (stacked, operands) = lax.scan(step, start, (slices, taps), **options)
        here.operands.update(operands)
        return [*carry, *stacked]

    def _cond(self, params: Any, inputs: list[Any], here: "Frame") -> list[Any]:
        """The same branches; the operands of those not taken are zero, and so are the gradients in their taps."""
        index, *arguments = inputs

        def branch(number: int) -> tuple[list[Any], Taps]:
            program, place = params["branches"][number], f"{here.name}{number}:"
            outputs, operands = self.run(program, arguments, here.taps, place, here.lengths)
            return [self.value(v) for v in outputs], operands

        numbers = range(len(params["branches"]))
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


# Equations that only wrap a program, and the parameter that holds it.
_INNER_PROGRAM = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}
_SAME_ENTRIES = ("convert_element_type", "copy", "copy_p", "name")
_REARRANGEMENTS = ("transpose", "reshape", "squeeze", "slice", "rev")


def _multiplied(equation: Any, inputs: list[Any]) -> View | Pending | None:
    """A view or pending value after an equation that multiplies it by a scalar; None for any other one."""
    name = equation.primitive.name
    if name == "neg":
        return _times(inputs[0], -jnp.ones((), equation.outvars[0].aval.dtype))
    if name in ("mul", "div"):
        first, second = inputs
        if isinstance(first, View | Pending) and not isinstance(second, View | Pending) and jnp.ndim(second) == 0:
            return _times(first, second if name == "mul" else 1 / second)
        if name == "mul" and isinstance(second, View | Pending) and jnp.ndim(getattr(first, "value", first)) == 0:
            return None if isinstance(first, View | Pending) else _times(second, first)
    return None


def _times(value: Any, factor: jax.Array | None) -> Any:
    """A view or a pending value times a scalar."""
    if factor is None:
        return value
    if isinstance(value, View):
        return replace(value, factor=factor if value.factor is None else value.factor * factor)
    terms = tuple((*term, factor if old is None else old * factor) for *term, old in value.terms)
    return Pending(_scaled(value.value, factor), terms)


def _scaled(array: jax.Array, factor: jax.Array | None) -> jax.Array:
    return array if factor is None else array * factor.astype(array.dtype)


def _rearranged(equation: Any, view: View) -> View | None:
    """The view after an equation that casts, selects or moves its entries; None for any other one."""
    name, output = equation.primitive.name, equation.outvars[0].aval
    if not jnp.issubdtype(output.dtype, jnp.floating):
        return None
    if name in _SAME_ENTRIES:
        return view
    adds_unit_axes = name == "broadcast_in_dim" and output.size == view.value.size
    if name in _REARRANGEMENTS or adds_unit_axes:
        selected = tuple(equation.params.get(key) for key in ("start_indices", "limit_indices"))
        return replace(view, steps=(*view.steps, (name, view.value.shape, selected, str(equation.params))))
    return None


def _closed(program: Any) -> Any:
    from jax.extend.core import ClosedJaxpr

    return program if isinstance(program, ClosedJaxpr) else ClosedJaxpr(program, [])


def evaluate(program: Any, equation: Any, inputs: list[Any]) -> Sequence[Any]:
    """One equation as it stands, as a program of its own, so that custom derivatives and inner programs survive."""
    from jax.extend.core import ClosedJaxpr, DropVar, Literal, jaxpr_as_fun

    arguments = {a: x for a, x in zip(equation.invars, inputs, strict=True) if not isinstance(a, Literal)}
    alone = program.jaxpr.replace(
        constvars=[],
        invars=list(arguments),
        outvars=[v for v in equation.outvars if not isinstance(v, DropVar)],
        eqns=[equation],
        effects=equation.effects,
    )
    run: Callable[..., Sequence[Any]] = jaxpr_as_fun(ClosedJaxpr(alone, []))
    outputs = iter(run(*arguments.values()))
    return [None if isinstance(v, DropVar) else next(outputs) for v in equation.outvars]
