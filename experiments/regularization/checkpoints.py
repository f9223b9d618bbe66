"""The last checkpoint of a chunk of members, kept by Orbax: whole or not there, whenever a run is killed."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
    """One folder of checkpoints, of which the last is kept.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with Checkpoints(Path(tempfile.mkdtemp()) / "run") as checkpoints:
        ...     checkpoints.save(3, {"w": np.ones(2)})
        ...     print(checkpoints.latest, checkpoints.restore({"w": jax.ShapeDtypeStruct((2,), float)})["w"])
        3 [1. 1.]
    """

    def __init__(self, folder: Path) -> None:
        # Saved before training goes on, since that uses the memory of the state again.
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The number of the last checkpoint; None without any."""
        return self._manager.latest_step()

    def save(self, number: int, tree: Any) -> None:
        """Keep a pytree of arrays in place of what was kept before."""
        self._manager.save(number, args=ocp.args.StandardSave(_by_number(tree)))

    def restore(self, like: Any) -> Any:
        """The last checkpoint, in the structure, shapes and shardings of abstract arrays."""
        found = self._manager.restore(self.latest, args=ocp.args.StandardRestore(_by_number(like)))
        return jax.tree.unflatten(jax.tree.structure(like), found.values())


def _by_number(tree: Any) -> dict[str, Any]:
    """Leaves under numbers, so that no container of another library has to be known on disk."""
    return {f"{number:05}": leaf for number, leaf in enumerate(jax.tree.leaves(tree))}
