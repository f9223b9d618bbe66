"""All equations of a traced program, those of the programs inside it too."""

from collections.abc import Iterator
from typing import Any


def equations(jaxpr: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """Every equation, and how often it is run: those of a scan once a step, those of all branches once."""
    for equation in jaxpr.eqns:
        yield equation, times
        for value in equation.params.values():
            for program in value if isinstance(value, tuple) else (value,):
                program = getattr(program, "jaxpr", program)
                if hasattr(program, "eqns"):
                    yield from equations(program, times * equation.params.get("length", 1))
