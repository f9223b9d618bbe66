"""The result of `bounds.report`: rows of bounds and of measures, which print as text or as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ReportRow:
    """One bound on the probability of error, or one measure.

    Attributes:
        name: What it is.
        kind: "bound" if it holds as it stands with probability 1 − δ; "measure" if its theorem is known only up to
            constants, or if there is none.
        value: The value of the bound or the measure.
        empirical_risk: The part of a bound that is a risk on the sample; None for measures.
        complexity: The part that depends on the class, and on δ too where both stand under one root; None if absent.
        confidence: The part that depends on δ alone; None if absent.
        assumptions: What a bound assumes beside i.i.d. points, or what a measure is.
        source: Author, year, theorem.
        at_ceiling: Whether a bound, or its complexity, is the largest number that its formula gives. All worse networks
            have the same number, so leave such bounds out when you compare networks.
        vacuous: Whether a bound is at or above the error of guessing (see `Report`); None for a measure, and where that
            error is not known.
    """

    name: str
    kind: str
    value: float
    empirical_risk: float | None
    complexity: float | None
    confidence: float | None
    assumptions: str
    source: str
    at_ceiling: bool = False
    vacuous: bool | None = None


@dataclass(frozen=True)
class LeftOut:
    """A bound or measure that does not apply.

    Attributes:
        name: The name that it has in a report.
        reason: Why it does not apply.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """Bounds and measures of one trained classifier. It iterates over its rows and prints as a table.

    Attributes:
        rows: Bounds, then measures.
        left_out: What does not apply.
        delta: δ. Each bound holds with probability 1 − δ by itself; if you use k of them at once, pass δ/k.
        num_samples: N, the number of training points.
        train_error: The share of training points that are wrong.
        guessing_error: The share of training points that would be wrong if the most frequent class were always named:
            1 − 1/K for K classes of equal size, less if one is more frequent. A bound of this or more is vacuous: a
            classifier that ignores its input does as well, as far as the labels show it.
        num_test: The number of test points, 0 if there are none.
        test_error: The share of test points that are wrong; None if there are none.

    Example:
        >>> from bounds.reports.tables import Report, ReportRow
        >>> parts = (0.143, 0.1, None, 0.043)
        >>> row = ReportRow("Hoeffding, test data", "bound", *parts, "none", "Hoeffding 1963", vacuous=False)
        >>> print(Report((row,), (), 0.05, 100, 0.0, 0.5, 1000, 0.1))
        100 training points, error 0.0000; 1000 test points, error 0.1000.
        Each bound holds with probability 0.95 by itself. From 0.5000 on, the error of guessing, it is vacuous.
        <BLANKLINE>
        bound                 value    risk  complexity  confidence  vacuous  assumes
        Hoeffding, test data  0.143  0.1000           –      0.0430       no  none
    """

    rows: tuple[ReportRow, ...]
    left_out: tuple[LeftOut, ...]
    delta: float
    num_samples: int
    train_error: float
    guessing_error: float
    num_test: int
    test_error: float | None

    def __iter__(self) -> Iterator[ReportRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bounds(self) -> tuple[ReportRow, ...]:
        """The rows that are bounds on the probability of error."""
        return tuple(row for row in self.rows if row.kind == "bound")

    @property
    def measures(self) -> tuple[ReportRow, ...]:
        """The rows that are measures."""
        return tuple(row for row in self.rows if row.kind == "measure")

    def __str__(self) -> str:
        tables = [_as_text(header, lines) for header, lines in self._tables()]
        return "\n\n".join([self._heading("\n"), *tables])

    def to_markdown(self) -> str:
        """The same tables in Markdown, with the source of every row."""
        tables = [_as_markdown(header, lines) for header, lines in self._tables(sources=True)]
        return "\n\n".join([self._heading(" "), *tables])

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _heading(self, gap: str) -> str:
        data = f"{self.num_samples} training points, error {self.train_error:.4f}"
        if self.test_error is not None:
            data += f"; {self.num_test} test points, error {self.test_error:.4f}"
        holds = f"Each bound holds with probability {1 - self.delta:g} by itself."
        return f"{data}.{gap}{holds} From {self.guessing_error:.4f} on, the error of guessing, it is vacuous."

    def _tables(self, sources: bool = False) -> Iterator[tuple[list[str], list[list[str]]]]:
        """The header and the lines of each table that is not empty."""
        source = ["source"] * sources
        if self.bounds:
            header = ["bound", "value", "risk", "complexity", "confidence", "vacuous", "assumes", *source]
            yield (
                header,
                [
                    [
                        row.name,
                        f"{row.value:#.3g}",
                        *(
                            "–" if part is None else f"{part:.4f}" if part < 100 else f"{part:.3g}"
                            for part in (row.empirical_risk, row.complexity, row.confidence)
                        ),
                        _verdict(row),
                        row.assumptions,
                        *[row.source] * sources,
                    ]
                    for row in self.bounds
                ],
            )
        if self.measures:
            yield (
                ["measure", "value", "what it is", *source],
                [[row.name, f"{row.value:.4g}", row.assumptions, *[row.source] * sources] for row in self.measures],
            )
        if self.left_out:
            yield ["left out", "because"], [[entry.name, entry.reason] for entry in self.left_out]


_WORDS = ("bound", "measure", "left out", "assumes", "what it is", "because", "source")


def _verdict(row: ReportRow) -> str:
    if row.vacuous is None:
        return "–"
    return ("yes" if row.vacuous else "no") + ", at its ceiling" * row.at_ceiling


def _as_text(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("  ".join(cells).rstrip() for cells in _aligned(header, [header, *lines]))


def _as_markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---" if name in _WORDS else "---:" for name in header]
    first, *others = _aligned(header, [header, *lines])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (first, rule, *others))


def _aligned(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells of one width in each column, words on the left and numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.ljust if name in _WORDS else str.rjust for name in header]
    return [[side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)] for line in lines]
