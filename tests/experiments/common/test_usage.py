"""--help: every script's flags and every field of its config, with meaning and default."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import command_line

from experiments.common.usage import meaning_of, meanings, usage
from experiments.common.workdir import flat_fields

ROOT = Path(__file__).parents[3]
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.py") if "script.run(main" in path.read_text())


def config_of(name):
    return importlib.import_module(f"configs.{name}").get_config()


def assigned(name):
    """Fields that the file assigns to `config`, by its lines alone."""
    source = (ROOT / "configs" / f"{name}.py").read_text()
    return re.findall(r"^ +config\.([\w.]+) =", source, re.M), source


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_has_a_meaning(name):
    found = meanings(ROOT / "configs" / f"{name}.py")
    for field in flat_fields(config_of(name).to_dict()):
        assert meaning_of(field, found), f"configs/{name}.py says nothing of {field}; write a comment above it"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_assigned_field_has_a_comment_of_its_own(name):
    """The comment of a neighbour or of its group does not count. The comment in a base config does."""
    found = meanings(ROOT / "configs" / f"{name}.py")
    fields, source = assigned(name)
    assert ast.parse(source)
    inherited = re.search(r"config = \w+\.get_config\(\)", source)
    for field in fields:
        assert field in found or (inherited and meaning_of(field, found)), f"{field} has no comment of its own"


def test_comments_are_read_where_they_stand(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        "def get_config():\n"
        "    # First line,\n"
        "    # second line.\n"
        "    config.a = 1\n"
        "    config.b = 2\n"
        "    config.c = ConfigDict(\n"
        "        {\n"
        "            'd': 3,  # Inside.\n"
        "            # Above.\n"
        "            'e': {'f': 4},\n"
        "        }\n"
        "    )\n"
        "    config.g = 5  # At the end, with = and #.\n"
    )
    found = meanings(path)
    assert found["a"] == "First line, second line."
    assert "b" not in found
    assert (found["c.d"], found["c.e"], meaning_of("c.e.f", found)) == ("Inside.", "Above.", "Above.")
    assert found["g"] == "At the end, with = and #."
    assert meaning_of("b", found) == meaning_of("c", found) == ""


def test_the_text_has_every_field_with_meaning_and_default():
    config = config_of("gia")
    text = usage("What it does.", {"workdir": "Folder."}, "configs/gia.py", config)
    assert text.startswith("What it does.\n\nFlags:\n\n  --workdir\n      Folder.\n\nFields of configs/gia.py:")
    assert "  --config.num_seeds=32\n      Random networks at each width." in text
    assert "  --config.data_dir=unset\n" in text
    assert all(f"--config.{field}=" in text for field in flat_fields(config.to_dict()))


def check_help(name, text):
    assert f"python -m experiments.{name}" in text
    assert "  --workdir\n" in text
    assert "  --config.seed=" in text or name == "benchmark_sweep"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_helps_without_a_config(name):
    command = [sys.executable, "-m", f"experiments.{name}", "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    check_help(name, run.stdout)


@pytest.mark.parametrize("name", ["vc_growth", "regularization_sweep"])
def test_scripts_help_without_a_config(name):
    run = command_line(name, "--help")
    assert run.status == 0, run.said
    check_help(name, run.printed)


def test_help_is_of_the_config_that_is_named():
    run = command_line("kernel_convergence", "--config=configs/convergence_program.py:gru", "--help")
    assert run.status == 0, run.said
    assert run.printed.startswith("Finite-width kernels against")
    assert "Fields of configs/convergence_program.py:gru:" in run.printed
    assert "  --config.network.kind=gru\n      Name of the program." in run.printed
