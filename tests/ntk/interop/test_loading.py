"""`load_neural_tangents` leaves JAX unchanged, and names missing packages."""

import subprocess
import sys
import textwrap
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from ntk.interop.neural_tangents import load_neural_tangents

COMMAND = "pip install --no-deps neural-tangents==0.6.5 frozendict"


def test_a_second_call_returns_the_same_module():
    loaded = load_neural_tangents()
    assert load_neural_tangents() is loaded
    import neural_tangents

    assert neural_tangents is loaded


# The parts of JAX that neural-tangents imports itself are imported first, so that nothing at all may change.
SNAPSHOT = """
import contextlib, sys
import jax, jax.example_libraries.stax, jax.experimental.ode, jax.extend.linear_util, jax.scipy.special
from ntk.interop.neural_tangents import load_neural_tangents

def snapshot():
    modules = {k: m for k, m in sys.modules.items() if k.partition(".")[0] == "jax" and "._src" not in k}
    names = {(k, name): id(value) for k, m in modules.items() for name, value in vars(m).items()}
    return names, set(modules), dict(jax.config.values)

before = snapshot()
"""


def run_python(script, tmp_path):
    """A process of its own, with warnings as errors and `tmp_path` in front of the installed packages."""
    command = [sys.executable, "-W", "error", "-c", SNAPSHOT + textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_nothing_is_left_in_jax_and_tensorflow_is_not_imported(tmp_path):
    script = """
    load_neural_tangents()
    assert snapshot() == before
    assert "tensorflow" not in sys.modules
    """
    run_python(script, tmp_path)


def test_a_failed_import_leaves_nothing_behind(tmp_path):
    describe_package(tmp_path, "0.6.5")
    package = tmp_path / "neural_tangents"
    package.mkdir()
    (package / "__init__.py").write_text("from . import experimental\nfrom jax.core import Jaxpr\n1 / 0")
    script = """
    with contextlib.suppress(ZeroDivisionError):
        load_neural_tangents()
        raise AssertionError("the broken package was not imported")
    assert snapshot() == before
    assert not [name for name in sys.modules if name.startswith("neural_tangents")]
    """
    run_python(script, tmp_path)


def describe_package(folder, version):
    info = folder / f"neural_tangents-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: neural-tangents\nVersion: {version}\n")


@pytest.mark.parametrize("package", ["neural_tangents", "frozendict"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # Python's own mark of a module that cannot be imported
    with pytest.raises(ImportError, match=f"cannot find {package}: run `{COMMAND}`"):
        load_neural_tangents()


def test_a_package_that_an_import_hook_refuses_is_missing(monkeypatch):
    hook = SimpleNamespace(find_spec=Mock(side_effect=ImportError("refused")))
    for package in ("neural_tangents", "frozendict"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [hook, *sys.meta_path])
    with pytest.raises(ImportError, match=f"cannot find neural_tangents and frozendict: run `{COMMAND}`"):
        load_neural_tangents()


def test_another_version_is_refused(monkeypatch, tmp_path):
    describe_package(tmp_path, "0.6.4")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=f"neural_tangents is 0.6.4; expected version 0.6.5: run `{COMMAND}`"):
        load_neural_tangents()
