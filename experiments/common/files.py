"""Files of a run: each is complete or absent, none is a symbolic link, and one process writes at a time."""

import contextlib
import fcntl
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ntk.saving.files import UNFINISHED_SUFFIX, replacing

LOCK = ".lock"


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all.

    Raises:
        OSError: The folder cannot be written.
    """
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of killed processes. The caller must be the only writer of the folder."""
    for left in folder.glob(f".*{UNFINISHED_SUFFIX}"):
        left.unlink(missing_ok=True)


def check_no_link(path: Path) -> None:
    """Refuse a symbolic link where a run is about to write.

    Raises:
        ValueError: `path` is a symbolic link.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "metrics.jsonl").symlink_to("elsewhere")
        >>> check_no_link(folder / "metrics.jsonl")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: .../metrics.jsonl is a symbolic link, and a run does not write through links; remove it, ...
    """
    if path.is_symlink():
        raise ValueError(
            f"{path} is a symbolic link, and a run does not write through links; remove it, or choose another"
            " --workdir."
        )


class Held(Exception):
    """Another writer has the folder; the message names it."""


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep every other writer out of the folder while the enclosed code runs.

    The operating system releases the lock when a process is killed. The file .lock stays; it names the holder.

    Raises:
        Held: Another writer has the folder. The message names its process, machine, start and command.
        OSError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with lock(folder), lock(folder):  # doctest: +ELLIPSIS
        ...     pass
        Traceback (most recent call last):
        ...
        experiments.common.files.Held: process ... on ... has been writing there since ... (...)
    """
    path = folder / LOCK
    check_no_link(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(file.read() or "another process is writing there") from None
        file.write(_holder())
        file.truncate()
        try:
            yield
        finally:
            file.truncate(0)


def _holder() -> str:
    now = datetime.now().isoformat(" ", "seconds")
    return f"process {os.getpid()} on {platform.node()} has been writing there since {now} ({shlex.join(sys.argv)})"
