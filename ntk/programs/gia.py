"""The Simple GIA Check on a recorded program (theory.md 3.9; Yang 2020, Condition 1)."""

import math
from dataclasses import dataclass

import numpy as np
from jax.typing import ArrayLike

from ntk.checks import MOST_STEPS, as_numpy, shown
from ntk.programs.language.atoms import Bias, MatMul, Parameter
from ntk.programs.language.graph import Line, reachable
from ntk.programs.language.loops import with_bodies
from ntk.programs.language.outputs import Output, OutputWeight
from ntk.programs.language.program import Recording, TensorProgram, check_program
from ntk.programs.language.scalars import Moment, is_number


@dataclass(frozen=True)
class Violation:
    """One reason why the check fails.

    Attributes:
        reason: What the program does and the condition excludes.
        line: Where the program does it.
    """

    reason: str
    line: Line

    def __str__(self) -> str:
        return f"{self.reason} ({self.line})"


@dataclass(frozen=True)
class GIACheck:
    """What `check_gia` found. It counts as true where the check holds.

    Attributes:
        violations: All reasons why it fails; none where it holds.
    """

    violations: tuple[Violation, ...]

    @property
    def holds(self) -> bool:
        """Whether gradients may be computed as if Wᵀ in the backward pass were independent of W."""
        return not self.violations

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        if self.holds:
            return "The Simple GIA Check holds."
        return "The Simple GIA Check fails: " + "; ".join(map(str, self.violations)) + "."


def check_gia(program: TensorProgram, x: ArrayLike | tuple[int, ...]) -> GIACheck:
    """Whether the Simple GIA Check holds, and which lines of the program break it.

    The check asks that output weights have mean zero and are used nowhere else, and that no matrix is used together
    with its transpose. This is sufficient and not necessary. Where the check fails, limits by the gradient independence
    assumption can be wrong: for y = 1ᵀ(W(1 + Uξ))²/n the gradient in Uξ has mean 2, and the assumption says 0.

    Args:
        program: A `tensor_program`.
        x: Inputs (N, …), or the shape of one input as a tuple.

    Returns:
        A `GIACheck`: true or false, with the violations, and a sentence as its `str`.

    Raises:
        TypeError: `program` is not a tensor program, or `x` is neither an array nor a tuple.
        ValueError: `x` has no shape of inputs.

    Example:
        >>> from ntk.programs import check_gia, tensor_program
        >>> @tensor_program
        ... def averaged(net, x):
        ...     h = net.matrix("W2") @ (net.input_matrix("W1") @ x + 1.0)
        ...     return (h * h).mean()
        >>> check = check_gia(averaged, (3,))
        >>> check.holds, check.violations[0].reason
        (False, 'the output is an average over coordinates, not a product with an output weight')
    """
    check_program(program)
    return check_recording(program.record(_shape_of_one(x)))


def _shape_of_one(x: ArrayLike | tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one input: `x` itself, or that of the rows of a batch."""
    if isinstance(x, tuple):
        shape = x
    else:
        shape = getattr(x, "shape", None) or as_numpy("x", x, "inputs (N, …), or the shape of one as a tuple").shape
        shape = tuple(shape)[1:]
    sizes = all(isinstance(size, int | np.integer) and not isinstance(size, bool) and size > 0 for size in shape)
    if not shape or not sizes or math.prod(shape) > MOST_STEPS:
        raise ValueError(f"x is {shown(x)}; expected inputs (N, …), or the shape of one, a tuple of positive integers.")
    return shape


def check_recording(recording: Recording) -> GIACheck:
    """`check_gia` of a program that is recorded already."""
    found = [*_output_weights_inside(recording), *_readouts(recording), *_transposes(recording)]
    return GIACheck(tuple(found))


def _output_weights_inside(recording: Recording) -> list[Violation]:
    """Each output weight that is used as a vector, at the first line where it is."""
    found: dict[Parameter, Violation] = {}
    for node in with_bodies(recording.nodes):
        if isinstance(node, OutputWeight):
            continue
        for part in node.parts:
            weight = part.parameter if isinstance(part, Bias | OutputWeight) else None
            if weight is not None and weight.kind == "output":
                violation = Violation(f"output weight {weight.name!r} is used inside the network", node.line)
                found.setdefault(weight, violation)
    return list(found.values())


def _readouts(recording: Recording) -> list[Violation]:
    found = [violation for side in dict.fromkeys(recording.sides) for violation in _readouts_of(side.output)]
    return list({(each.reason, each.line): each for each in found}.values())


def _readouts_of(output: Output) -> list[Violation]:
    found = [
        Violation(f"output weight {weight.name!r} has a mean that is not zero", weight.line)
        for weight, _ in output.readouts
        if not is_number(weight.mean, 0.0)
    ]
    averages = [node for node in reachable([output.offset]) if isinstance(node, Moment)]
    found += [
        Violation("the output is an average over coordinates, not a product with an output weight", node.line)
        for node in averages[-1:]
    ]
    if not (averages or output.readouts):
        found.append(Violation("the output is not a product with an output weight", output.offset.line))
    return found


def _transposes(recording: Recording) -> list[Violation]:
    uses: dict[Parameter, dict[bool, MatMul]] = {}
    for node in with_bodies(recording.nodes):
        if isinstance(node, MatMul):
            uses.setdefault(node.parameter, {}).setdefault(node.transposed, node)
    return [
        Violation(
            f"matrix {matrix.name!r} is used together with its transpose",
            max(both.values(), key=lambda product: product.index).line,
        )
        for matrix, both in uses.items()
        if len(both) == 2
    ]
