"""Tables of summaries, in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown whose columns line up: the first to the left, numbers to the right.

    Example:
        >>> print(markdown_table(["workload", "ms"], [["mlp", "1.5"], ["cnn", "20.0"]]))
        | workload |   ms |
        | -------- | ---: |
        | mlp      |  1.5 |
        | cnn      | 20.0 |
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    padded.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
