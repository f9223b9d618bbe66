"""Small runs of experiments: their configs, and the files that they leave."""

import importlib
import json
from pathlib import Path

from ml_collections import ConfigDict


def small_config(fields: dict, name: str, **changes) -> ConfigDict:
    """configs/NAME.py with these fields, under dotted names, and then these changes; a dictionary replaces a group."""
    config = importlib.import_module(f"configs.{name}").get_config()
    with config.unlocked():
        for field, value in (fields | changes).items():
            *path, last = field.split(".")
            parent = config
            for part in path:
                parent = parent[part]
            if isinstance(value, dict):
                parent[last] = ConfigDict()
            parent[last] = ConfigDict(value) if isinstance(value, dict) else value
    return config


def records_of(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def contents_of(workdir: Path) -> dict[str, bytes]:
    """Every file of a run by name."""
    return {file.name: file.read_bytes() for file in workdir.iterdir()}


def names_of_files(*figures: str) -> set[str]:
    """The files of a finished run that draws these figures."""
    fixed = {"config.json", "environment.json", ".lock", "metrics.jsonl", "summary.md"}
    return fixed | {f"{figure}.{ending}" for figure in figures for ending in ("png", "pdf")}
