"""One writer at a time in one folder."""

import contextlib
import fcntl
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from experiments.common.files import check_no_link

LOCK = ".lock"


class Held(Exception):
    """Another writer has the folder; the message names it."""


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep every other writer out of the folder until the enclosed code has ended.

    The operating system holds the lock, so that a killed process leaves none behind. The file .lock stays, and says who
    the holder is.

    Raises:
        Held: another writer has the folder; the sentence names its process, machine, start and command.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with lock(folder), lock(folder):  # doctest: +ELLIPSIS
        ...     pass
        Traceback (most recent call last):
        ...
        experiments.common.lock.Held: process ... on ... has been writing there since ... (...)
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
