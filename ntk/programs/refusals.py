"""What has a limit that the theory covers; all else is refused, with the line of the program that is at fault."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float

from ntk.checks import is_concrete
from ntk.programs.gia import check_recording
from ntk.programs.language.atoms import Gaussian, Nonlin, One
from ntk.programs.language.loops import with_bodies
from ntk.programs.language.program import Recording
from ntk.programs.language.scalars import Value, Width
from ntk.programs.language.vectors import QUOTIENT
from ntk.programs.options import values_of_options


def check_covered(recording: Recording) -> None:
    """Refuse a program without a limit, or one that has none under the gradient independence assumption."""
    check_has_limit(recording)
    check = check_recording(recording)
    if not check:
        raise ValueError(
            f"{check} Expected a program for which the gradient independence assumption holds; corrected_kernels does"
            " not need it."
        )


def check_has_limit(recording: Recording) -> None:
    """Refuse a program that uses its width or divides by a Gaussian vector."""
    for node in with_bodies(recording.nodes):
        if isinstance(node, Width):
            raise ValueError(
                f"the program uses its width at {node.line}; expected one that does not: the theory covers averages"
                " over coordinates, .mean(), alone, and scores scaled by 1/√n, net.scores, stay random in the limit."
            )
        if isinstance(node, Nonlin) and node.function is QUOTIENT:
            atoms = [atom for atom, _ in getattr(node.args[1], "terms", ())]
            if any(isinstance(atom, Gaussian) for atom in atoms) and all(isinstance(a, Gaussian | One) for a in atoms):
                raise ValueError(
                    f"the program divides by a Gaussian vector at {node.line}; expected a divisor that stays away from"
                    " 0: this quotient has no second moment, and so the network has no kernel."
                )


def check_span(recording: Recording, numbers: Mapping[str, Value], x1: Array, x2: Array | None) -> None:
    """Refuse a batch of which the inputs span fewer dimensions than the program needs."""
    if not is_concrete(numbers, x1, x2):
        return
    for need in recording.needs:
        if values_of_options([need.unless], numbers)[need.unless] > 0:
            continue
        for name, x in (("x1", x1), ("x2", x2)):
            if x is not None and not _spans(np.asarray(x, float).reshape(len(x), -1), need.rank):
                raise ValueError(
                    f"{name} holds {len(x)} inputs that span fewer than {need.rank} dimensions around their mean;"
                    f" expected more, or a positive epsilon: gradients have no second moment at {need.line}."
                )


def _spans(x: Float[np.ndarray, "N F"], rank: int) -> bool:
    """Whether the rows less their mean span so many dimensions. Each round takes the longest row out of all others."""
    left = x - x.mean(axis=0)
    least = 1e-6 * np.linalg.norm(left, axis=1).max()
    for _ in range(rank):
        norms = np.linalg.norm(left, axis=1)
        if not norms.max() > least:
            return False
        direction = left[norms.argmax()] / norms.max()
        left = left - np.outer(left @ direction, direction)
    return True
