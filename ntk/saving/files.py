"""Files that are written whole or not at all, and never through a symbolic link."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

UNFINISHED_SUFFIX = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new temporary file, which replaces `path` when the enclosed code has written it.

    If the enclosed code fails, the temporary file is removed and `path` stays as it was. If `path` is a symbolic link,
    the link is replaced and the file that it points to is left alone.

    Args:
        path: The file to be written.

    Yields:
        The temporary file, in the same folder.

    Raises:
        OSError: The folder cannot be written.

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
