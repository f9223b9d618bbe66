"""Small runs of experiments: their configs, their command lines, and the files that they leave."""

import contextlib
import importlib
import io
import json
import runpy
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from absl import app
from absl.testing import flagsaver
from ml_collections import ConfigDict

# Imported first, so that its flags stay when `flagsaver` removes the flags that a script has added.
import experiments.common.script  # noqa: F401

ROOT = Path(__file__).parents[1]


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


class Ended(NamedTuple):
    """The exit status of a script, and what it printed on its standard output and on its standard error."""

    status: int
    printed: str
    said: str


def command_line(script: str, *arguments: str) -> Ended:
    """Run `python -m experiments.SCRIPT ARGUMENTS` from the clone, inside this process."""
    module, printed, said = f"experiments.{script}", io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [module, *arguments])
        patch.delitem(sys.modules, module, raising=False)
        # The start of absl would change the handlers of all logs.
        patch.setattr(app, "run", lambda main, flags_parser: sys.exit(main(flags_parser(sys.argv))))
        stack.enter_context(flagsaver.flagsaver())
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(said))
        end = stack.enter_context(pytest.raises(SystemExit))
        stack.enter_context(warnings.catch_warnings())
        # ml_collections loads a config by a method that Python deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    code = end.value.code
    if isinstance(code, str):
        return Ended(1, printed.getvalue(), f"{said.getvalue()}{code}\n")
    return Ended(code or 0, printed.getvalue(), said.getvalue())


def adam_promotes() -> contextlib.AbstractContextManager[None]:
    """For fixtures that train with Adam: Optax takes powers of numbers to its integer counts."""
    return jax.numpy_dtype_promotion("standard")


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
