"""The record of the environment of a run."""

import json
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common import environment
from experiments.common.environment import record_environment, write_summary

ROOT = Path(__file__).parents[3]


def recorded(folder):
    return json.loads((folder / "environment.json").read_text())


def git(*arguments, at=ROOT):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", at, *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one commit, in the place of this one."""
    path = tmp_path / "checkout"
    for name in ("experiments/gia.py", "README.md"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")
    (path / ".gitignore").write_text("*.pyc\n")
    git("init", "--quiet", at=path)
    git("add", ".", at=path)
    git("commit", "--quiet", "--message=first", at=path)
    monkeypatch.setattr(environment, "_ROOT", path)
    return path


def test_the_environment_is_the_one_of_this_process(tmp_path):
    record_environment(tmp_path, config="configs/gia.py", data="1a2b")
    (entry,) = recorded(tmp_path)
    assert entry["commit"] == (git("rev-parse", "HEAD") or None)
    assert entry["dirty"] in ((None,) if entry["commit"] is None else (True, False))
    assert (entry["versions"]["jax"], entry["versions"]["numpy"]) == (jax.__version__, np.__version__)
    assert f"({jax.devices()[0].platform})" in entry["device"]
    assert (entry["config"], entry["data_fingerprint"]) == ("configs/gia.py", "1a2b")


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        (None, False),
        ("experiments/gia.py", True),
        ("README.md", True),
        ("experiments/new.py", True),
        ("ntk/deep/new.py", True),
        ("bounds/new.py", True),
        ("configs/new.py", True),
        ("runs/config.json", False),
        ("notes.md", False),
        ("experiments/gia.pyc", False),
    ],
)
def test_changes_are_those_of_tracked_files_and_new_ones_beside_the_code(checkout, tmp_path, changed, dirty):
    if changed is not None:
        (checkout / changed).parent.mkdir(parents=True, exist_ok=True)
        (checkout / changed).write_text("changed")
    record_environment(tmp_path, config="configs/gia.py", data=None)
    assert recorded(tmp_path)[0]["dirty"] is dirty


def test_the_checkout_of_something_else_is_not_taken_for_this_one(checkout, tmp_path, monkeypatch):
    """Packages that are installed inside another checkout."""
    monkeypatch.setattr(environment, "_ROOT", checkout / "experiments")
    record_environment(tmp_path, config="configs/gia.py", data=None)
    assert [recorded(tmp_path)[0][name] for name in ("commit", "dirty")] == [None, None]


def test_a_run_that_goes_on_elsewhere_names_both(checkout, tmp_path):
    commits = [git("rev-parse", "HEAD", at=checkout)]
    for _ in range(2):
        record_environment(tmp_path, config="configs/gia.py", data="1a2b")
    git("commit", "--quiet", "--allow-empty", "--message=second", at=checkout)
    commits += [git("rev-parse", "HEAD", at=checkout)]
    (checkout / "experiments" / "gia.py").write_text("changed")
    record_environment(tmp_path, config="configs/gia.py", data="1a2b")
    entries = [(entry["commit"], entry["dirty"]) for entry in recorded(tmp_path)]
    assert entries == [(commits[0], False), (commits[1], True)]
    lines = write_summary(tmp_path / "summary.md", "A table.").split("\n\n")
    first, second = (commit[:12] for commit in commits)
    assert lines[0] == "A table."
    assert lines[1].startswith(f"Made by commit {first} of configs/gia.py, data 1a2b, JAX {jax.__version__}, ")
    assert lines[2].startswith(f"Made by commit {second} with changes of configs/gia.py, data 1a2b, JAX")
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
