"""The report of `experiments.benchmark_empirical`: a table (printed, Markdown and CSV) and a figure of ratios."""

import csv
from pathlib import Path

import numpy as np

from experiments.benchmarks.ratios import draw_ratios, median, rounded
from experiments.benchmarks.timing import spread
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.tables import markdown_table
from ntk.saving.files import replacing

TITLES = {
    "mlp": "MLP",
    "cnn": "CNN",
    "rnn": "RNN, unrolled",
    "rnn_scan": "RNN, scan",
    "transformer": "transformer block",
    "resnet": "ResNet",
}
HEADER = (
    "workload",
    "ours, ms",
    "neural-tangents, ms",
    "implementation",
    "ratio",
    "compile, s",
    "peak MiB, ours",
    "peak MiB, theirs",
    "difference",
    "of GEMM rate",
)
SIDES = ("ours", "neural_tangents_1", "neural_tangents_2")


def write_report(workdir: Path, records: list[Record]) -> str:
    """Write benchmark.md, benchmark.csv, benchmark.png and benchmark.pdf; return the table and its machines.

    Args:
        workdir: The folder.
        records: The records of `experiments.benchmark_empirical`, one for each network.
    """
    _write_csv(workdir / "benchmark.csv", records)
    compared = [(record, times) for record in records if (times := ratio(record)) is not None]
    draw_ratios(
        workdir / "benchmark",
        [_title(record) for record, _ in compared],
        [record["cell"]["kind"] for record, _ in compared],
        [times for _, times in compared],
        "Time of neural-tangents (the faster implementation) over our time",
    )
    machines = "; ".join(sorted({record["machine"] for record in records}))
    table = f"{machines}.\n\n" + markdown_table(HEADER, [_line(record) for record in records])
    return write_summary(workdir / "benchmark.md", table)


def better_side(record: Record) -> str | None:
    """The faster implementation of neural-tangents; None if neither fitted into memory.

    Example:
        >>> sides = {"neural_tangents_1": {"seconds": []}, "neural_tangents_2": {"seconds": [3.0]}}
        >>> better_side(sides)
        'neural_tangents_2'
    """
    measured = [side for side in SIDES[1:] if record[side]["seconds"]]
    return min(measured, key=lambda side: median(record, side), default=None)


def ratio(record: Record) -> float | None:
    """The time of neural-tangents, in its faster implementation, over our time; None if neither ran.

    Example:
        >>> sides = {"neural_tangents_1": {"seconds": [6.0, 8.0]}, "neural_tangents_2": {"seconds": [9.0]}}
        >>> ratio({"ours": {"seconds": [2.0]}} | sides)
        3.5
    """
    side = better_side(record)
    return None if side is None else median(record, side) / median(record, "ours")


def _title(record: Record) -> str:
    cell = record["cell"]
    return f"{TITLES[cell['kind']]}, n={cell['width']}, N={cell['num_inputs']}, O={cell['outputs']}"


def _line(record: Record) -> list[str]:
    side, times = better_side(record), ratio(record)
    skipped = [
        f"{name[-1]} needs {record[name]['peak_mib'] / 1024:.3g} GiB"
        for name in SIDES[1:]
        if not record[name]["seconds"]
    ]
    fraction = record.get("gemm_fraction")
    return [
        _title(record),
        rounded(1e3 * median(record, "ours")),
        "–" if side is None else rounded(1e3 * median(record, side)),
        "; ".join(([] if side is None else [side[-1]]) + skipped),
        "–" if times is None else rounded(times),
        f"{record['ours']['compile_seconds']:.1f}",
        rounded(record["ours"]["peak_mib"]),
        "–" if side is None else rounded(record[side]["peak_mib"]),
        f"{record['difference']:.0e}",
        "–" if fraction is None else f"{100 * fraction:.0f} %",
    ]


def _write_csv(path: Path, records: list[Record]) -> None:
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [
            f"{side}_{name}" for side in SIDES for name in ("ms", "spread", "runs", "compile_seconds", "peak_mib")
        ]
        cell_names = list(records[0]["cell"]) if records else []
        writer.writerow([*cell_names, *columns, "ratio", "difference", "gemm_fraction"])
        for record in records:
            row = list(record["cell"].values())
            for side in (record[side] for side in SIDES):
                seconds = side["seconds"]
                row += [1e3 * np.median(seconds), spread(seconds)] if seconds else ["", ""]
                row += [len(seconds), side["compile_seconds"], side["peak_mib"]]
            writer.writerow([*row, ratio(record), record["difference"], record.get("gemm_fraction")])
