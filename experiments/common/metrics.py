"""Metrics as JSON Lines: one object per line, appended as results come in, readable by any tool at any time."""

import json
from pathlib import Path
from typing import Any


class MetricsFile:
    """An append-only file of records that survives being killed in the middle of a line.

    A line is whole when its newline is there. Opening the file drops a half-written last line, so that what is
    appended next starts on a line of its own.

    Attributes:
        path: the file.
        records: every whole record in the file, in the order in which they were written.

    Raises:
        ValueError: if a whole line is not a JSON object (the file was edited), or a record holds NaN or inf.

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

    def append(self, record: dict[str, Any]) -> None:
        """Write one record as a line, at once."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
        self.records.append(record)

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} of {self.path} is not a JSON object; remove that line or the file.")
        return record
