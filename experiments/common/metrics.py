"""Metrics as JSON Lines: one object per line, written as soon as it is measured, readable by any tool at any time."""

import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import logging
from tqdm import tqdm

from experiments.common.environment import device

Record = dict[str, Any]
Place = TypeVar("Place", bound=Hashable)


class MetricsFile:
    """An append-only file of records. It stays valid if the process is killed in the middle of a line.

    A line is complete when its newline is there. Opening the file drops a half-written last line, so that the next
    record starts on a line of its own.

    Attributes:
        path: The file.
        records: Every whole record in the file, in the order in which they were written.

    Raises:
        ValueError: A whole line is not a JSON object (the file was edited), or a record holds NaN or inf.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> MetricsFile(path).append({"width": 32, "ntk": 0.25})
        >>> _ = path.write_text(path.read_text() + '{"width": 64, "nt')
        >>> MetricsFile(path).records
        [{'width': 32, 'ntk': 0.25}]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self.records = [self._parse(number, line) for number, line in enumerate(whole.splitlines(), 1)]
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def append(self, record: Record) -> None:
        """Write one record as a line, at once."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
        self.records.append(record)

    def complete(
        self,
        wanted: Sequence[Place],
        place_of: Callable[[Record], Place],
        measure: Callable[[Place], Record],
        unit: str,
    ) -> dict[Place, Record]:
        """Measure and append the wanted records that are not in the file yet, with a progress bar.

        Args:
            wanted: The places that a run consists of, for example widths or pairs of a network and a width.
            place_of: The place of a record.
            measure: The record of a place.
            unit: The name of the places, in the plural, for the progress bar.

        Returns:
            The records of all wanted places, in the order of `wanted`.

        Example:
            >>> import tempfile
            >>> metrics = MetricsFile(Path(tempfile.mkdtemp()) / "metrics.jsonl")
            >>> metrics.append({"width": 2, "square": 4})
            >>> metrics.complete(
            ...     [1, 2], lambda record: record["width"], lambda n: {"width": n, "square": n**2}, "widths"
            ... )
            {1: {'width': 1, 'square': 1}, 2: {'width': 2, 'square': 4}}
        """
        done = {place_of(record) for record in self.records}
        remaining = [place for place in wanted if place not in done]
        finished = len(wanted) - len(remaining)
        logging.info("%d %s, %d measured before, on %s", len(wanted), unit, finished, device())
        for place in tqdm(remaining, desc=unit, initial=finished, total=len(wanted)):
            self.append(measure(place))
        found = {place_of(record): record for record in self.records}
        return {place: found[place] for place in wanted}

    def _parse(self, number: int, line: bytes) -> Record:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} of {self.path} is not a JSON object; remove that line or the file.")
        return record
