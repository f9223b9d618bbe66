"""The environment of a run: environment.json in its folder, and a line in summaries."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from experiments.common.files import write_text

_FILE = "environment.json"
_ROOT = Path(__file__).parents[2]
# Folders whose files a run may import.
_CODE = ("bounds", "configs", "experiments", "ntk")
_LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "numpy",
    "optax",
    "scipy",
    "scikit-learn",
    "orbax-checkpoint",
    "ml_collections",
    "matplotlib",
    "neural-tangents",
)


def record_environment(workdir: Path, *, config: str | None, data: str | None) -> None:
    """Add this process to environment.json, unless an equal entry is there.

    An entry has the commit, whether the code differed from it, the versions of Python and of libraries, the device, the
    path of the config and the fingerprint of the data. Unknown values are null. A run that is resumed on another
    machine or with another commit has an entry for each.

    Args:
        workdir: The folder of the run.
        config: The path of the config, as the command line has it.
        data: The fingerprint of the data.

    Raises:
        OSError: The folder cannot be written.
    """
    commit, dirty = _checkout()
    entry = {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "versions": _versions(),
        "device": device(),
        "config": config,
        "data_fingerprint": data,
    }
    entries = _entries(workdir)
    if entry not in entries:
        write_text(workdir / _FILE, json.dumps([*entries, entry], indent=2, ensure_ascii=False) + "\n")


def write_summary(path: Path, text: str) -> str:
    """Write a summary that ends with a line for each environment, and return the whole text.

    Args:
        path: The file, in the folder of the run.
        text: The summary.

    Raises:
        OSError: The folder cannot be written.
        ValueError: environment.json is not a list of environments.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> record_environment(folder, config="configs/gia.py", data=None)
        >>> print(write_summary(folder / "summary.md", "A table."))  # doctest: +ELLIPSIS
        A table.
        <BLANKLINE>
        Made by ... of configs/gia.py, ...; versions are in environment.json.
    """
    lines = [text, *(_line(entry) for entry in _entries(path.parent))]
    whole = "\n\n".join(lines)
    write_text(path, whole + "\n")
    return whole


def device() -> str:
    """The name of the device, and the number of cores that this process may use.

    Example:
        >>> "core" in device()
        True
    """
    first = jax.devices()[0]
    name = _processor() if first.platform == "cpu" else first.device_kind
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name} ({first.platform}), {cores} {'core' if cores == 1 else 'cores'}"


def _line(entry: dict[str, Any]) -> str:
    commit = "an unknown commit" if entry["commit"] is None else f"commit {entry['commit'][:12]}"
    changed = " with changes" if entry["dirty"] else ""
    data = f", data {entry['data_fingerprint']}" if entry["data_fingerprint"] else ""
    return (
        f"Made by {commit}{changed} of {entry['config'] or 'a config without a file'}{data}, JAX"
        f" {entry['versions']['jax']}, {entry['device']}; versions are in {_FILE}."
    )


def _entries(workdir: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((workdir / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"{workdir / _FILE} is not a list of environments; remove it.")
    return found


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _checkout() -> tuple[str | None, bool | None]:
    """The commit, and whether tracked files were changed or new files stand beside the code. Files that Git ignores do
    not count. Both are None without Git, and where this file belongs to no checkout.
    """
    try:
        # Packages that are installed inside the checkout of something else have another root.
        if Path(_git("rev-parse", "--show-toplevel")) != _ROOT.resolve():
            return None, None
        changed = _git("status", "--porcelain", "--untracked-files=no")
        new = _git("ls-files", "--others", "--exclude-standard", "--", *_CODE)
        return _git("rev-parse", "HEAD"), bool(changed or new)
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    """The processor's name as Linux knows it, or as Python does elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
