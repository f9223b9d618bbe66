"""The environments that `make` sets up. Python, uv and pytest are replaced by scripts that record their arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = '#!/bin/sh\necho "$(basename "$0") $*" >> "$(dirname "$0")/calls"\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def called(tmp_path):
    """Run a target of a copy of the Makefile; the calls that it makes in the environment of that name."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def call(target, venv):
        programs = tmp_path / venv / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        for name in ("python", "pytest", "uv"):
            (programs / name).write_text(STAND_IN)
            (programs / name).chmod(0o755)
        (programs / "calls").write_text("")
        # Not the flags and variables of a make that runs these tests.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        command = ["make", "-C", tmp_path, target, "PYTHON=true"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return (programs / "calls").read_text().splitlines()

    return call


def installs(calls):
    return [call for call in calls if " install " in call and "--editable" in call]


def test_the_newest_releases_are_looked_for_every_time(called):
    for _ in range(2):
        calls = called("test-newest", ".venv-newest")
        (install,) = installs(calls)
        assert install.startswith("python -m pip install ")
        assert "--upgrade --upgrade-strategy eager" in install
        assert calls[-1].startswith("pytest ")


def test_the_default_environment_is_installed_once(called):
    (install,) = installs(called("test-fast", ".venv"))
    assert "--upgrade" not in install
    assert installs(called("test-fast", ".venv")) == []


def test_the_lowest_releases_are_resolved_by_uv(called):
    (install,) = installs(called("test-lowest", ".venv-lowest"))
    assert install.startswith("uv pip install ")
    assert "--resolution lowest-direct" in install
    assert "--upgrade" not in install
