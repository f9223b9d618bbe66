"""The folder of one run, with its configuration and its results, so that a rerun can resume."""

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.common.endings import FULL
from experiments.common.files import Held, check_no_link, lock, remove_unfinished, write_text

METRICS, CHECKPOINTS = "metrics.jsonl", "checkpoints"
# The key in config.json beside the fields of the config.
DATA = "data_fingerprint"


@contextlib.contextmanager
def open_workdir(
    path: str | Path, config: ConfigDict, *, data: str | None = None, may_change: Collection[str] = ()
) -> Iterator[Path]:
    """Make the folder and write config.json there, or reopen the folder of the same configuration and data.

    No other process can open the folder while the enclosed code runs.

    Args:
        path: The folder.
        config: The configuration of this run. It is written to config.json.
        data: The fingerprint of the data that results depend on; None without data.
        may_change: Fields that may differ from the configuration that started the folder, because no result depends on
            them. A nested field has a dotted name, such as "network.depth".

    Raises:
        ValueError: The folder belongs to another configuration, to other data, to another process or to an unknown run.
            The sentence names what differs.
        OSError: The folder cannot be made, read or written. The error of a full disk is left as it is, for
            `experiments.common.endings.end_in_a_sentence`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> with open_workdir(folder, ConfigDict({"depth": 3})):
        ...     pass
        >>> with open_workdir(folder, ConfigDict({"depth": 4})):  # doctest: +ELLIPSIS
        ...     pass
        Traceback (most recent call last):
        ...
        ValueError: depth is 4 in this config and 3 in the one that started ...
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(path))
            remove_unfinished(path)
            _take_over(path, config, data, may_change)
        except Held as holder:
            raise ValueError(
                f"--workdir is '{path}', and {holder}; wait until it has ended, or choose another --workdir."
            ) from None
        except OSError as error:
            if error.errno in FULL:
                raise
            raise OSError(
                f"--workdir is '{path}', which cannot be used ({error.strerror}); expected a folder that can be "
                "written, or a new name."
            ) from error
        yield path


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


def _take_over(path: Path, config: ConfigDict, data: str | None, may_change: Collection[str]) -> None:
    """Check the folder against this run, and write the config.json of this run."""
    file = path / "config.json"
    for name in (METRICS, CHECKPOINTS):
        check_no_link(path / name)
        if (path / name).exists() and not file.exists():
            raise ValueError(
                f"workdir '{path}' has {name} and no config.json, so its run is unknown; put its config.json back, or "
                "choose another --workdir."
            )
    # JSON turns tuples into lists. The fields take the same way, so that they compare equal.
    fields = json.loads(json.dumps(config.to_dict() | {DATA: data}))
    if file.exists():
        _check_same(fields, file, may_change)
    write_text(file, json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def _check_same(fields: dict[str, Any], file: Path, may_change: Collection[str]) -> None:
    try:
        started = flat_fields(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, AttributeError):
        raise ValueError(f"{file} is not a configuration; expected the JSON object that an experiment wrote.") from None
    now = flat_fields(fields)
    for name in sorted((now.keys() | started.keys()) - set(may_change)):
        here, there = now.get(name, "absent"), started.get(name, "absent")
        if here == there:
            continue
        if name == DATA:
            raise ValueError(
                f"the data have the fingerprint {here} and those that started workdir '{file.parent}' have {there}; "
                "choose another --workdir, or give the same data."
            )
        raise ValueError(
            f"{name} is {here!r} in this config and {there!r} in the one that started workdir '{file.parent}'; "
            "choose another --workdir, or the config in its config.json."
        )
