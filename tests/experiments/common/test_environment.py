"""What a run says of its own making."""

import json
import os
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common.environment import record_environment, write_summary

ROOT = Path(__file__).parents[3]


def recorded(folder):
    return json.loads((folder / "environment.json").read_text())


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()


def test_the_environment_is_the_one_of_this_process(tmp_path):
    record_environment(tmp_path, config="configs/gia.py", data="1a2b")
    (entry,) = recorded(tmp_path)
    assert entry["commit"] == (git("rev-parse", "HEAD") or None)
    assert entry["dirty"] in ((None,) if entry["commit"] is None else (True, False))
    assert (entry["versions"]["jax"], entry["versions"]["numpy"]) == (jax.__version__, np.__version__)
    assert f"({jax.devices()[0].platform})" in entry["device"]
    assert (entry["config"], entry["data_fingerprint"]) == ("configs/gia.py", "1a2b")


def test_a_run_that_goes_on_elsewhere_names_both(tmp_path, monkeypatch):
    for commit, changes in (("a" * 40, ""), ("a" * 40, ""), ("b" * 40, " M experiments/gia.py")):
        git = tmp_path / "git"
        git.write_text(f"#!/bin/sh\ncase $3 in rev-parse) echo {commit};; status) echo '{changes}';; esac\n")
        git.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        record_environment(tmp_path, config="configs/gia.py", data="1a2b")
    assert [(entry["commit"][0], entry["dirty"]) for entry in recorded(tmp_path)] == [("a", False), ("b", True)]
    lines = write_summary(tmp_path / "summary.md", "A table.").split("\n\n")
    assert lines[0] == "A table."
    assert lines[1].startswith(f"Made by commit {'a' * 12} of configs/gia.py, data 1a2b, JAX {jax.__version__}, ")
    assert lines[2].startswith(f"Made by commit {'b' * 12} with changes of configs/gia.py, data 1a2b, JAX")
    assert (tmp_path / "summary.md").read_text() == "\n\n".join(lines) + "\n"


def test_without_git_the_commit_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    record_environment(tmp_path, config=None, data=None)
    assert [recorded(tmp_path)[0][name] for name in ("commit", "dirty")] == [None, None]
    assert "an unknown commit of a config without a file, JAX" in write_summary(tmp_path / "summary.md", "A table.")


@pytest.mark.parametrize("content", ["{", "3", "[3]"])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "environment.json").write_text(content)
    with pytest.raises(ValueError, match=r"environment.json is not a list of environments; remove it"):
        record_environment(tmp_path, config=None, data=None)
