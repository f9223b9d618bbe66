"""The report of `experiments.benchmark_programs`: a table (printed, Markdown) and a figure of ratios."""

from pathlib import Path

from experiments.benchmarks.ratios import draw_ratios, median, rounded
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table

# What a workload is called, with its size.
TITLES = {
    "cnn_mean": "CNN, mean, {0} × {0}",
    "cnn_flatten": "CNN, flatten, {0} × {0}",
    "wide_resnet": "WideResNet, {0} × {0}",
    "transformer": "transformer, T={0}",
    "lstm": "LSTM, T={0}",
    "gru": "GRU, T={0}",
    "graph": "graph, {0} nodes",
}
HEADER = (
    "workload",
    "ours, ms",
    "neural-tangents, ms",
    "ratio",
    "compile, s, ours",
    "compile, s, theirs",
    "peak MiB, ours",
    "peak MiB, theirs",
    "difference",
)


def write_report(workdir: Path, records: list[Record]) -> str:
    """Write benchmark.md, benchmark.png and benchmark.pdf; return the table and its machines.

    Args:
        workdir: The folder.
        records: The records of `experiments.benchmark_programs`, one for each network.
    """
    compared = [record for record in records if "neural_tangents" in record]
    draw_ratios(
        workdir / "benchmark",
        [_title(record) for record in compared],
        [record["cell"]["kind"] for record in compared],
        [ratio(record) for record in compared],
        "Time of neural-tangents over our time",
    )
    machines = "; ".join(sorted({record["machine"] for record in records}))
    table = f"{machines}.\n\n" + markdown_table(HEADER, [_line(record) for record in records])
    return write_summary(workdir / "benchmark.md", table)


def ratio(record: Record) -> float:
    """The time of neural-tangents over our time.

    Example:
        >>> ratio({"ours": {"seconds": [2.0]}, "neural_tangents": {"seconds": [6.0, 8.0]}})
        3.5
    """
    return median(record, "neural_tangents") / median(record, "ours")


def _title(record: Record) -> str:
    cell = record["cell"]
    return f"{TITLES[cell['kind']].format(cell['size'])}, N={cell['num_inputs']}"


def _line(record: Record) -> list[str]:
    ours, theirs = record["ours"], record.get("neural_tangents")
    return [
        _title(record),
        rounded(1e3 * median(record, "ours")),
        "–" if theirs is None else rounded(1e3 * median(record, "neural_tangents")),
        "–" if theirs is None else rounded(ratio(record)),
        f"{ours['compile_seconds']:.1f}",
        "–" if theirs is None else f"{theirs['compile_seconds']:.1f}",
        rounded(ours["peak_mib"]),
        "–" if theirs is None else rounded(theirs["peak_mib"]),
        "–" if theirs is None else f"{record['difference']:.0e}",
    ]
