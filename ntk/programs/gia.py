"""The Simple GIA Check on a recorded program (theory.md 3.9; Yang 2020, Condition 1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ntk.programs.language.graph import Line, reachable
from ntk.programs.language.net import OutputWeight
from ntk.programs.language.program import Recording, TensorProgram
from ntk.programs.language.scalars import Moment, is_number
from ntk.programs.language.vectors import Bias, MatMul, Parameter


@dataclass(frozen=True)
class Violation:
    """One reason why the check fails.

    Attributes:
        reason: What is done that the condition excludes.
        line: Where the program does it.
    """

    reason: str
    line: Line

    def __str__(self) -> str:
        return f"{self.reason} ({self.line})"


@dataclass(frozen=True)
class GIACheck:
    """What `check_gia` found; true where the check holds.

    Attributes:
        violations: All that it found; none where it holds.
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


def check_gia(program: TensorProgram, x: Any) -> GIACheck:
    """Whether the Simple GIA Check holds, and which lines of the program break it.

    It is sufficient, not necessary: the output weights are sampled independently with mean zero and used nowhere else,
    and no matrix is used together with its transpose. Where it fails, limits by the gradient independence assumption
    can be wrong: for y = 1ᵀ(W(1 + Uξ))²/n, say, the gradient in Uξ has mean 2 and not 0.

    Args:
        program: A `tensor_program`.
        x: Inputs (N, …), or the shape of one input as a tuple.

    Returns:
        A `GIACheck`: true or false, with the violations, and a sentence as its `str`.

    Raises:
        TypeError: `program` is not a tensor program.

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
    if not isinstance(program, TensorProgram):
        raise TypeError(f"program is {type(program).__name__}; expected a tensor_program.")
    shape = x if isinstance(x, tuple) else np.shape(x)[1:]
    return check_recording(program.record(shape))


def check_recording(recording: Recording) -> GIACheck:
    """`check_gia` of a program that is recorded already."""
    found = [*_output_weights_inside(recording), *_readouts(recording), *_transposes(recording)]
    return GIACheck(tuple(found))


def _output_weights_inside(recording: Recording) -> list[Violation]:
    """Each output weight that is used as a vector, at the first line where it is."""
    found: dict[Parameter, Violation] = {}
    for node in recording.nodes:
        if isinstance(node, OutputWeight):
            continue
        for part in node.parts():
            weight = part.parameter if isinstance(part, Bias | OutputWeight) else None
            if weight is not None and weight.kind == "output":
                violation = Violation(f"output weight {weight.name!r} is used inside the network", node.line)
                found.setdefault(weight, violation)
    return list(found.values())


def _readouts(recording: Recording) -> list[Violation]:
    output = recording.output
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
        found.append(Violation("the output is no product with an output weight", output.offset.line))
    return found


def _transposes(recording: Recording) -> list[Violation]:
    uses: dict[Parameter, dict[bool, MatMul]] = {}
    for node in recording.nodes:
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
