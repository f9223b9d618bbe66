"""The last checkpoints of a chunk of members, written by Orbax. If the process is killed, all checkpoints are complete.

Each checkpoint has a file with the checksum of its files. If a process is killed before it writes the checksum, there
is a checkpoint without one. A checkpoint is not used if its checksum is missing or differs: a warning names it, it is
moved aside, and the checkpoint before it is used.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from experiments.common.endings import FULL
from experiments.common.files import check_no_link, remove_unfinished, write_text

# The checkpoint to resume from, and the one before it.
_KEPT = 2


class Checkpoints:
    """One folder of checkpoints. The last two are kept.

    Args:
        folder: The folder. No other process may write there. Checkpoints in it that cannot be used are moved into
            folders named aside.*, with a warning.

    Raises:
        ValueError: The folder is a symbolic link.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with Checkpoints(Path(tempfile.mkdtemp()) / "run") as checkpoints:
        ...     checkpoints.save(3, {"w": np.ones(2)})
        ...     print(checkpoints.latest, checkpoints.restore({"w": jax.ShapeDtypeStruct((2,), float)})["w"])
        3 [1. 1.]
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        check_no_link(self._folder)
        remove_unfinished(self._folder)
        for path in sorted(self._folder.glob("[0-9]*")):
            if path.name.isdigit() and (fault := _fault(path)):
                aside = Path(tempfile.mkdtemp(prefix="aside.", dir=self._folder)) / path.name
                logging.warning("checkpoint %s %s; it is moved to %s.", path, fault, aside)
                path.rename(aside)
        # Saving is not asynchronous, since the next steps of training reuse the memory of the state.
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The number of the last checkpoint; None without any."""
        return self._manager.latest_step()

    def save(self, number: int, tree: PyTree) -> None:
        """Save a pytree of arrays, and keep only the last of the older checkpoints.

        Raises:
            OSError: The disk is full.
        """
        _on_disk(lambda: self._manager.save(number, args=ocp.args.StandardSave(_by_number(tree))))
        write_text(_checksum_file(self._folder / str(number)), _checksum(self._folder / str(number)))
        for file in self._folder.glob("*.sha256"):
            if not (self._folder / file.stem).exists():
                file.unlink()

    def restore(self, like: PyTree) -> PyTree:
        """The last checkpoint, with the structure, shapes and shardings of `like`, a pytree of abstract arrays."""
        found = self._manager.restore(self.latest, args=ocp.args.StandardRestore(_by_number(like)))
        return jax.tree.unflatten(jax.tree.structure(like), found.values())


def _by_number(tree: PyTree) -> dict[str, Any]:
    """The leaves under numbers, so that files on disk do not depend on container types of other libraries."""
    return {f"{number:05}": leaf for number, leaf in enumerate(jax.tree.leaves(tree))}


def _fault(checkpoint: Path) -> str | None:
    """Why this checkpoint cannot be used; None if it can be."""
    if checkpoint.is_symlink():
        return "is a symbolic link"
    file = _checksum_file(checkpoint)
    if not file.is_file():
        return "has no checksum"
    return None if file.read_bytes() == _checksum(checkpoint).encode() else "does not agree with its checksum"


def _checksum_file(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.sha256")


def _checksum(checkpoint: Path) -> str:
    """The checksum of the names and contents of all files."""
    found = hashlib.sha256()
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(checkpoint)} {file.stat().st_size}\n".encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()


def _on_disk(save: Callable[[], object]) -> None:
    """Save, and raise OSError for a full disk. Orbax reports it by errors of several types."""
    try:
        save()
    except Exception as error:
        for number in FULL:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise
