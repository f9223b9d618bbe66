"""Settings that every test shares: float64 is available, and shapes stated in annotations are checked."""

import gc
import importlib
import sys
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

# Tests choose their dtype explicitly; without this flag float64 inputs would be cut to float32 unasked.
jax.config.update("jax_enable_x64", True)

# Traces make millions of objects that refer to each other. Python's garbage collector visits them after every 700 new
# objects, which takes 8 % of the time.
NEW_OBJECTS = 50_000
MOST_MAPS = 8_000  # after a file of tests; some 2 GB of memory

# The hook acts on later imports. This file imports neither package, since the main process of pytest-xdist does not
# need them, and the workers wait for it.
CHECKS = install_import_hook(["ntk", "bounds"], "beartype.beartype")


def pytest_collection_finish():
    """Imported modules are not searched for garbage."""
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])


@pytest.fixture(autouse=True, scope="module")
def _no_implicit_promotion():
    """Implicit promotion of ranks or dtypes is an error, in tests and in the packages."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(autouse=True)
def _implicit_promotion(request):
    """Tests with this mark allow it, since a library promotes implicitly."""
    if not request.node.get_closest_marker("implicit_promotion"):
        yield
        return
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def _no_figure_windows(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.fixture(autouse=True, scope="module")
def _programs_are_dropped():
    """Compiled programs are mapped into memory, and Linux gives a process 65,530 maps."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="session")
def plain_packages():
    """`ntk` and `bounds` as users import them, without the checks of annotations that tests add."""
    return _without_checks("ntk", "bounds", "ntk.estimators")


@pytest.fixture(scope="session")
def plain(plain_packages):
    """`ntk` as users import it."""
    return plain_packages[0]


@pytest.fixture(scope="session")
def plain_bounds():
    """`bounds` as users import it, with the `ntk` of the tests."""
    return _without_checks("bounds")[0]


def _without_checks(*names):
    packages = {name.split(".")[0] for name in names}

    def imported():
        return [name for name in sys.modules if name.split(".")[0] in packages]

    checked = {name: sys.modules.pop(name) for name in imported()}
    CHECKS.uninstall()
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.meta_path.insert(0, CHECKS.hook)
        for name in imported():
            del sys.modules[name]
        sys.modules.update(checked)
