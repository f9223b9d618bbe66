"""Reads the traced program of a function, and finds where its parameters are used linearly.

The program is evaluated equation by equation. A parameter travels as a `View`: seen through transposes, casts, slices
and scalar factors. Where a view meets a product, a convolution or a lookup, y = op(a, W), the output receives a *tap*,
a zero to be added, and the operand a is kept. The gradient of f in the tap is δ = ∇_y f, and with a it is all that the
kernel of W needs (THEORY section 5). Everything else is evaluated as the program has it, derivatives included.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntk.finite_width.linear_ops import LinearOp, linear_op

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
class Use:
    """One equation in which a parameter is used linearly, y = op(a, W), possibly inside scans.

    Attributes:
        leaf: Which parameter.
        steps: What it was seen through.
        op: The product, convolution or lookup.
        paired: For every scan around it, outermost first, whether each step uses its own slice of the parameter.
        operand: Shape of a, the axes of the scans first.
        tap: Shape of y, likewise.
    """

    leaf: int
    steps: tuple
    op: LinearOp
    paired: tuple[bool, ...]
    operand: Shape
    tap: Shape


@dataclass
class Reader:
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

        `taps` are added at the uses they are named for; `lengths` are those of the scans around the program.
        """
        from jax.extend.core import Literal

        values: dict[Any, Any] = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
        values.update(zip(program.jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> Any:
            return jnp.asarray(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else values[atom]

        operands: Taps = {}
        for number, equation in enumerate(program.jaxpr.eqns):
            here = _Place(f"{place}{number}/", lengths, taps)
            found = [read(atom) for atom in equation.invars]
            if any(isinstance(value, View) for value in found):
                outputs, kept = self._equation_of_views(program, equation, found, here)
                operands.update(kept)
            else:
                outputs = _evaluate(program, equation, found)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in program.jaxpr.outvars], operands

    def _equation_of_views(
        self, program: Any, equation: Any, inputs: list[Any], here: "_Place"
    ) -> tuple[list[Any], Taps]:
        name, params = equation.primitive.name, equation.params
        if name in _INNER_PROGRAM:
            return self.run(_closed(params[_INNER_PROGRAM[name]]), inputs, here.taps, here.name, here.lengths)
        if name == "scan":
            return self._scan(params, inputs, here)
        if name == "cond":
            return self._cond(params, inputs, here)
        if name == "stop_gradient":
            return [self.value(inputs[0], escapes=False)], {}
        inputs, position = self._with_one_view(inputs)
        view = inputs[position]
        others = inputs[:position] + inputs[position + 1 :]
        if (scaled := _scaled(equation, view, position, others)) is not None:
            return [scaled], {}
        bare = [*inputs[:position], view.value, *inputs[position + 1 :]]
        if (rearranged := _rearranged(equation, view)) is not None:
            return [replace(rearranged, value=_evaluate(program, equation, bare)[0])], {}
        if (op := linear_op(equation, position)) is not None:
            return self._use(view, op, others[0], _evaluate(program, equation, bare)[0], here)
        return _evaluate(program, equation, [self.value(v) for v in inputs]), {}

    def _use(self, view: View, op: LinearOp, operand: jax.Array, y: jax.Array, here: "_Place") -> tuple[list, Taps]:
        """y = factor · (op(a, W) + tap), so that the factor is in the gradient of the tap."""
        self.uses[here.name] = Use(
            view.leaf,
            view.steps,
            op,
            tuple(depth in view.paired for depth in range(len(here.lengths))),
            Shape((*here.lengths, *jnp.shape(operand)), jnp.result_type(operand)),
            Shape((*here.lengths, *y.shape), y.dtype),
        )
        if here.name in here.taps:
            y = y + here.taps[here.name]
        if view.factor is not None:
            y = y * view.factor.astype(y.dtype)
        return [y], {here.name: operand}

    def _scan(self, params: Any, inputs: list[Any], here: "_Place") -> tuple[list[Any], Taps]:
        """The same scan, with taps among what it runs over and operands among what it stacks."""
        num_consts, num_carry = params["num_consts"], params["num_carry"]
        consts, rest = inputs[:num_consts], inputs[num_consts:]
        start, over = [self.value(v) for v in rest[:num_carry]], rest[num_carry:]
        depth = len(here.lengths)

        def step(carry: list, slices: tuple[list, Taps]) -> tuple[list, tuple[list, Taps]]:
            values, taps = slices
            elements = [
                replace(v, steps=(*v.steps, "each"), value=x, paired=v.paired | {depth}) if isinstance(v, View) else x
                for v, x in zip(over, values, strict=True)
            ]
            lengths = (*here.lengths, params["length"])
            outputs, operands = self.run(params["jaxpr"], [*consts, *carry, *elements], taps, here.name, lengths)
            outputs = [self.value(v) for v in outputs]
            return outputs[:num_carry], (outputs[num_carry:], operands)

        carry, (stacked, operands) = lax.scan(
            step,
            start,
            ([v.value if isinstance(v, View) else v for v in over], here.inner_taps()),
            length=params["length"],
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
        return [*carry, *stacked], operands

    def _cond(self, params: Any, inputs: list[Any], here: "_Place") -> tuple[list[Any], Taps]:
        """The same branches; the operands of those not taken are zero, and so are the gradients in their taps."""
        index, *arguments = inputs

        def branch(number: int) -> tuple[list[Any], Taps]:
            place = f"{here.name}{number}:"
            outputs, operands = self.run(params["branches"][number], arguments, here.taps, place, here.lengths)
            return [self.value(v) for v in outputs], operands

        numbers = range(len(params["branches"]))
        shapes = [jax.eval_shape(lambda number=number: branch(number)[1]) for number in numbers]

        def complete(number: int) -> tuple[list[Any], Taps]:
            outputs, operands = branch(number)
            zeros = {name: jnp.zeros(s.shape, s.dtype) for other in shapes for name, s in other.items()}
            return outputs, zeros | operands

        return lax.switch(self.value(index), [lambda number=number: complete(number) for number in numbers])

    def _with_one_view(self, inputs: list[Any]) -> tuple[list[Any], int]:
        """Only the largest of several parameters in one equation stays a view; and where it stands."""
        views = [i for i, value in enumerate(inputs) if isinstance(value, View)]
        largest = max(views, key=lambda i: inputs[i].value.size)
        return [value if i == largest else self.value(value) for i, value in enumerate(inputs)], largest

    def value(self, value: Any, escapes: bool = True) -> jax.Array:
        """An array in place of a view, which is recorded to have escaped."""
        if isinstance(value, View) and escapes:
            self.escaped.add(value.leaf)
        return _value(value)


@dataclass(frozen=True)
class _Place:
    """Where an equation stands: its name, the lengths of the scans around it, and the taps of its program."""

    name: str
    lengths: tuple[int, ...]
    taps: Taps

    def inner_taps(self) -> Taps:
        return {name: tap for name, tap in self.taps.items() if name.startswith(self.name)}


# Equations that only wrap a program, and the parameter that holds it.
_INNER_PROGRAM = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr"}

_SAME_ENTRIES = ("convert_element_type", "copy", "copy_p", "name")
_REARRANGEMENTS = ("transpose", "reshape", "squeeze", "slice", "rev")


def _scaled(equation: Any, view: View, position: int, others: list[Any]) -> View | None:
    """The view after an equation that multiplies it by a scalar; None for any other one."""
    name = equation.primitive.name
    if name == "neg":
        return replace(view, factor=_times(view.factor, -jnp.ones((), view.value.dtype)))
    if len(others) == 1 and jnp.ndim(others[0]) == 0:
        if name == "mul":
            return replace(view, factor=_times(view.factor, others[0]))
        if name == "div" and position == 0:
            return replace(view, factor=_times(view.factor, 1 / others[0]))
    return None


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


def _times(factor: jax.Array | None, other: jax.Array) -> jax.Array:
    return other if factor is None else factor * other


def _value(value: Any) -> jax.Array:
    if not isinstance(value, View):
        return value
    return value.value if value.factor is None else value.value * value.factor.astype(value.value.dtype)


def _closed(program: Any) -> Any:
    from jax.extend.core import ClosedJaxpr

    return program if isinstance(program, ClosedJaxpr) else ClosedJaxpr(program, [])


def _evaluate(program: Any, equation: Any, inputs: list[Any]) -> Sequence[Any]:
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
