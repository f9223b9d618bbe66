"""Records of the places where a function uses a parameter linearly."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jaxtyping import Array

from ntk.finite_width.rules.linear_ops import LinearOp

Taps = dict[str, Array]  # by place: taps, or operands, or gradients in taps
Shape = jax.ShapeDtypeStruct


class Step(NamedTuple):
    """One rearrangement of a parameter's entries.

    Attributes:
        name: The primitive, or "each" for a scan that gives each of its steps a slice.
        shape: The shape before it.
        bounds: The start and the limit of a slice on each axis. Empty for other primitives.
        options: Its other parameters, as text. None for a slice without strides.
    """

    name: str
    shape: tuple[int, ...] = ()
    bounds: tuple[tuple[int, ...], ...] = ()
    options: str | None = None


@dataclass(frozen=True)
class Use:
    """One equation in which a parameter is used linearly, y = op(a, W), possibly inside scans.

    Attributes:
        leaf: Which parameter.
        steps: The rearrangements of the parameter before the operation, in order.
        op: The operation.
        paired: Whether each step of a scan uses its own slice of the parameter, for every scan around the use,
            outermost first.
        operand: Shape of a, the axes of the scans first.
        tap: The place of its tap.
        tap_shape: Shape of y, the axes of the scans first.
    """

    leaf: int
    steps: tuple[Step, ...]
    op: LinearOp
    paired: tuple[bool, ...]
    operand: Shape
    tap: str
    tap_shape: Shape

    @property
    def size(self) -> int:
        """0 if the output or the parameter has no entries. The gradient is then empty."""
        return math.prod(self.tap_shape.shape) * math.prod(self.op.sizes)


@dataclass(frozen=True)
class Frame:
    """Where an equation stands.

    Attributes:
        name: Its place in the program.
        lengths: Steps of the scans around it, outermost first.
        taps: The taps of its program, by place.
        operands: Operands of linear uses in its program, by place; the interpreter fills it.
    """

    name: str
    lengths: tuple[int, ...]
    taps: Taps
    operands: Taps
