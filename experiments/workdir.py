"""The folder of one run: its configuration beside its results, so that a rerun goes on where it stopped."""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict


def open_workdir(path: str | Path, config: ConfigDict) -> Path:
    """Make the folder and write config.json there, or reopen the folder of the same configuration.

    Raises:
        ValueError: if the folder belongs to another configuration; the sentence names a field that differs.
        NotADirectoryError: if `path` is a file.

    Example:
        >>> import tempfile
        >>> folder = open_workdir(Path(tempfile.mkdtemp()) / "run", ConfigDict({"depth": 3}))
        >>> open_workdir(folder, ConfigDict({"depth": 4}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: depth is 4 in this config and 3 in the one that started ...
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"workdir is '{path}', which is a file; expected a folder or a new name.")
    path.mkdir(parents=True, exist_ok=True)
    file = path / "config.json"
    # Through JSON and back, so that tuples compare equal to the lists that JSON makes of them.
    fields = json.loads(json.dumps(config.to_dict()))
    if file.exists():
        _check_same(fields, file)
    else:
        # Under another name first: a config.json that exists is a whole one, even after a kill.
        unfinished = path / "config.json.part"
        unfinished.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, file)
    return path


def _check_same(fields: dict[str, Any], file: Path) -> None:
    try:
        started = _flat(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, AttributeError):
        raise ValueError(f"{file} is not a configuration; expected the JSON object that an experiment wrote.") from None
    now = _flat(fields)
    for name in sorted(now.keys() | started.keys()):
        here, there = now.get(name, "absent"), started.get(name, "absent")
        if here != there:
            raise ValueError(
                f"{name} is {here!r} in this config and {there!r} in the one that started workdir '{file.parent}'; "
                "choose another --workdir, or the config in its config.json."
            )


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in fields.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
