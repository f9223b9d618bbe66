"""Parameters on their way through a program: views of them, and sums with them that wait for a tap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

from ntk.dtypes import at_least_float32
from ntk.finite_width.rules.linear_ops import LinearOp, Lookup
from ntk.finite_width.rules.uses import Step
from ntk.jaxprs import Equation, aval_of


@dataclass(frozen=True)
class View:
    """A parameter, as an operand of some equation.

    Attributes:
        leaf: Which parameter.
        steps: The rearrangements so far, in order. Views with the same steps show the same entries in the same order.
        value: Its entries at this point of the program.
        factor: Product of the scalars that it was multiplied by. None means 1.
        paired: Depths of the scans that run over its leading axis.
    """

    leaf: int
    steps: tuple[Step, ...]
    value: Float[Array, "..."]
    factor: Float[Array, ""] | None = None
    paired: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Joined:
    """Parameters side by side along an axis, as the kernels of an LSTM's gates may be."""

    parts: tuple[View, ...]
    axis: int

    @property
    def value(self) -> Float[Array, "..."]:
        """All entries."""
        return lax.concatenate([part.value for part in self.parts], self.axis)


class Term(NamedTuple):
    """A linear use of a parameter that waits for its tap.

    Attributes:
        place: Where in the program.
        view: The parameter.
        op: The operation.
        operand: Its other operand.
        factor: Product of the scalars that the result was multiplied by. None means 1. It will multiply the operand.
    """

    place: str
    view: View
    op: LinearOp
    operand: Num[Array, "..."]
    factor: Float[Array, ""] | None


@dataclass(frozen=True)
class Pending:
    """A value that contains linear uses of parameters, before their tap is added.

    Attributes:
        value: The value.
        terms: The uses.
    """

    value: Float[Array, "..."]
    terms: tuple[Term, ...]

    @property
    def has_lookup(self) -> bool:
        """Whether an operand holds row numbers, which take no factor."""
        return any(isinstance(term.op, Lookup) for term in self.terms)


# Of a `dot_general`: the contracted axes of either operand, and the batch axes.
DimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]
# The value of a variable while the program is evaluated: an array, a View, a Joined or a Pending.
Value: TypeAlias = Any

_SAME_ENTRIES = ("convert_element_type", "copy", "name", "sharding_constraint")
_REARRANGEMENTS = ("transpose", "reshape", "squeeze", "slice", "rev")


def multiplied(equation: Equation, inputs: list[Value]) -> View | Pending | None:
    """A view or pending value after an equation that multiplies it by a scalar. None for any other equation."""
    name = equation.primitive.name
    if name == "neg":
        return times(inputs[0], -jnp.ones((), aval_of(equation.outvars[0]).dtype))
    if name in ("mul", "div"):
        first, second = inputs
        if isinstance(first, View | Pending) and not isinstance(second, View | Pending) and jnp.ndim(second) == 0:
            if name == "mul":
                return times(first, second)
            return replace(times(first, 1 / at_least_float32(second)), value=first.value / second)
        if name == "mul" and isinstance(second, View | Pending) and not isinstance(first, View | Pending):
            return times(second, first) if jnp.ndim(first) == 0 else None
    return None


def times(value: View | Pending, factor: Num[Array, ""]) -> View | Pending:
    """A view or a pending value times a scalar. Factors are collected in float32 at least, where few underflow."""
    product = scaled(value.value, factor)
    factor = at_least_float32(factor)
    if isinstance(value, View):
        return replace(value, value=product, factor=factor if value.factor is None else value.factor * factor)
    factors = (factor if term.factor is None else term.factor * factor for term in value.terms)
    terms = (term._replace(factor=new) for term, new in zip(value.terms, factors, strict=True))
    return Pending(product, tuple(terms))


def scaled(array: Num[Array, "*shape"], factor: Num[Array, ""]) -> Num[Array, "*shape"]:
    """An array times a scalar, in the dtype of the array."""
    return array * factor.astype(array.dtype)


def rearranged(equation: Equation, view: View) -> View | None:
    """The view after an equation that casts, selects or moves its entries. None for any other equation."""
    name, output = equation.primitive.name, aval_of(equation.outvars[0])
    if not jnp.issubdtype(output.dtype, jnp.floating):
        return None
    if name in _SAME_ENTRIES:
        return view
    adds_unit_axes = name == "broadcast_in_dim" and output.size == view.value.size
    if name in _REARRANGEMENTS or adds_unit_axes:
        params = dict(equation.params)
        bounds = tuple(params.pop(key) for key in ("start_indices", "limit_indices") if key in params)
        options = None if name == "slice" and params == {"strides": None} else str(params)
        return replace(view, steps=(*view.steps, Step(name, view.value.shape, bounds, options)))
    return None


def split(equation: Equation, view: View) -> list[View]:
    """The views of the parts into which a parameter is cut along an axis."""
    axis, shape = equation.params["axis"], view.value.shape
    views, start = [], 0
    for size in equation.params["sizes"]:
        starts = tuple(start if i == axis else 0 for i in range(len(shape)))
        limits = tuple(start + size if i == axis else n for i, n in enumerate(shape))
        value = lax.slice(view.value, starts, limits)
        views.append(replace(view, value=value, steps=(*view.steps, Step("slice", shape, (starts, limits)))))
        start += size
    return views


def product_axis(dimension_numbers: DimensionNumbers, position: int, axis: int, lhs_ndim: int) -> int | None:
    """Where the product of two operands has an axis of one of them. None if the axis is contracted or a batch axis."""
    (lhs_contracted, rhs_contracted), (lhs_batch, rhs_batch) = dimension_numbers
    contracted, batch = ((lhs_contracted, lhs_batch), (rhs_contracted, rhs_batch))[position]
    if axis in contracted or axis in batch:
        return None
    before = [other for other in range(axis) if other not in contracted and other not in batch]
    return len(batch) + len(before) + (lhs_ndim - len(lhs_contracted) - len(lhs_batch) if position == 1 else 0)
