"""The folder of one run: its configuration beside its results, so that a rerun goes on where it stopped."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict


def open_workdir(path: str | Path, config: ConfigDict, *, may_change: Collection[str] = ()) -> Path:
    """Make the folder and write config.json there, or reopen the folder of the same configuration.

    Args:
        path: the folder.
        config: the configuration of this run; config.json becomes it.
        may_change: fields in which it may differ from the one that started the folder, because no result there
            depends on them; a field inside another is written as in "network.depth".

    Raises:
        ValueError: if the folder belongs to another configuration; the sentence names a field that differs.
        OSError: if the folder cannot be made, read or written.

    Example:
        >>> import tempfile
        >>> folder = open_workdir(Path(tempfile.mkdtemp()) / "run", ConfigDict({"depth": 3}))
        >>> open_workdir(folder, ConfigDict({"depth": 4}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: depth is 4 in this config and 3 in the one that started ...
    """
    path = Path(path)
    # Through JSON and back, so that tuples compare equal to the lists that JSON makes of them.
    fields = json.loads(json.dumps(config.to_dict()))
    file, unfinished = path / "config.json", path / "config.json.part"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if file.exists():
            _check_same(fields, file, may_change)
        # Under another name first: a config.json that exists is a whole one, even after a kill.
        unfinished.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, file)
    except OSError as error:
        raise OSError(
            f"--workdir is '{path}', which cannot be used ({error.strerror}); expected a folder that can be written, "
            "or a new name."
        ) from error
    return path


def flat_fields(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields under dotted names.

    Example:
        >>> flat_fields({"seed": 0, "network": {"depth": 3}})
        {'seed': 0, 'network.depth': 3}
    """
    flat = {}
    for name, value in fields.items():
        flat.update(flat_fields(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def _check_same(fields: dict[str, Any], file: Path, may_change: Collection[str]) -> None:
    try:
        started = flat_fields(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, AttributeError):
        raise ValueError(f"{file} is not a configuration; expected the JSON object that an experiment wrote.") from None
    now = flat_fields(fields)
    for name in sorted((now.keys() | started.keys()) - set(may_change)):
        here, there = now.get(name, "absent"), started.get(name, "absent")
        if here != there:
            raise ValueError(
                f"{name} is {here!r} in this config and {there!r} in the one that started workdir '{file.parent}'; "
                "choose another --workdir, or the config in its config.json."
            )
