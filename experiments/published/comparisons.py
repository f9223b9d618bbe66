"""The table that every study writes: what a paper says beside what was found here."""

from collections.abc import Iterable
from typing import NamedTuple

from experiments.common.tables import markdown_table


class Comparison(NamedTuple):
    """One quantity, in the paper and here.

    Attributes:
        quantity: What it is.
        paper: The source of `theirs`.
        theirs: The published number; None if there is none.
        ours: The number found here.
        error: The standard error of the difference; None if both are without error.
    """

    quantity: str
    paper: str
    theirs: float | None
    ours: float
    error: float | None = None


def comparison_table(comparisons: Iterable[Comparison], digits: int = 4) -> str:
    """The comparisons in Markdown, with so many digits. The last column is the difference in standard errors.

    Example:
        >>> print(comparison_table([Comparison("accuracy, %", "A 2020", 81.95, 81.91, 0.5)]))
        | quantity    |  paper | theirs |  ours | difference | standard errors |
        | ----------- | -----: | -----: | ----: | ---------: | --------------: |
        | accuracy, % | A 2020 |  81.95 | 81.91 |      -0.04 |            -0.1 |
    """
    rows = []
    for quantity, paper, theirs, ours, error in comparisons:
        difference = None if theirs is None else ours - theirs
        in_errors = "–" if difference is None or not error else f"{difference / error:.1f}"
        numbers = ("–" if number is None else f"{number:.{digits}g}" for number in (theirs, ours, difference))
        rows.append((quantity, paper, *numbers, in_errors))
    return markdown_table(["quantity", "paper", "theirs", "ours", "difference", "standard errors"], rows)
