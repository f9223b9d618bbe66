"""Text files of a run: whole or not there, and no symbolic links."""

from pathlib import Path

from ntk.files import UNFINISHED_SUFFIX, replacing


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder that nobody else is writing."""
    for left in folder.glob(f".*{UNFINISHED_SUFFIX}"):
        left.unlink(missing_ok=True)


def check_no_link(path: Path) -> None:
    """Refuse a symbolic link where a run is about to write.

    Raises:
        ValueError: `path` is one.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "metrics.jsonl").symlink_to("elsewhere")
        >>> check_no_link(folder / "metrics.jsonl")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: .../metrics.jsonl is a symbolic link, which a run does not write through; remove it, ...
    """
    if path.is_symlink():
        raise ValueError(
            f"{path} is a symbolic link, which a run does not write through; remove it, or choose another --workdir."
        )
