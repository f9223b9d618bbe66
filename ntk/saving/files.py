"""Files that are whole or not there, and are never written through a symbolic link."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

UNFINISHED_SUFFIX = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file under a name of its own, which takes the place of `path` when the enclosed code has written it.

    A file that the enclosed code fails to write is removed. What stood at `path` stays as it was until then; a
    symbolic link there is replaced, and what it points to is left alone.

    Raises:
        OSError: the folder cannot be written.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "summary.md"
        >>> with replacing(path) as unfinished:
        ...     _ = unfinished.write_text("whole")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('whole', 1)
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED_SUFFIX)
    os.close(descriptor)
    unfinished = Path(name)
    try:
        yield unfinished
        # Temporary files can be read by their owner alone; results have the rights of any other new file.
        unfinished.chmod(0o666 & ~_umask())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
