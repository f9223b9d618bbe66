"""Settings that every test shares: float64 is available, and shapes stated in annotations are checked."""

import importlib
import sys
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

# Tests choose their dtype explicitly; without this flag float64 inputs would be cut to float32 unasked.
jax.config.update("jax_enable_x64", True)

# Files and folders in which nothing is promoted implicitly, but for what a test marks.
STRICT = {
    "bounds",
    "experiments",
    "ntk/duals",
    "ntk/dynamics",
    "ntk/finite_width",
    "ntk/infinite_width",
    "ntk/interop",
    "ntk/programs",
    "ntk/test_beyond_the_range.py",
    "ntk/test_compilation.py",
    "ntk/test_derivatives_in_loops.py",
    "ntk/test_estimators.py",
    "ntk/test_flags.py",
    "ntk/test_hostile_calls.py",
    "ntk/test_lifetimes.py",
    "ntk/test_lowering.py",
    "ntk/test_refused_descriptions.py",
    "ntk/test_refused_functions.py",
    "ntk/test_refused_kernels.py",
    "ntk/test_saving.py",
    "ntk/test_spectrum.py",
    "ntk/test_tiles.py",
    "ntk/test_without_x64.py",
    "test_architecture.py",
    "test_documentation.py",
    "test_notebooks.py",
    "test_parameter_paths.py",
    "test_theory.py",
    "test_written_numbers.py",
}

MOST_MAPS = 20_000  # after a file of tests; none adds half of what is left

with install_import_hook(["ntk", "bounds"], "beartype.beartype"):
    import bounds  # noqa: F401
    import ntk  # noqa: F401


@pytest.fixture(autouse=True, scope="module")
def _no_implicit_promotion(request):
    """Arrays of different ranks or dtypes do not meet unawares, neither in tests nor in what they share."""
    path = request.path.relative_to(Path(__file__).parent)
    strict = any(place.as_posix() in STRICT for place in (path, *path.parents))
    ranks, dtypes = ("raise", "strict") if strict else ("allow", "standard")
    with jax.numpy_rank_promotion(ranks), jax.numpy_dtype_promotion(dtypes):
        yield


@pytest.fixture(autouse=True)
def _implicit_promotion(request):
    """Where a library promotes on its own, the test is marked."""
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
def plain():
    """The package as users import it: without the checks of annotations, which would refuse before it can."""
    hooked = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "ntk"}
    try:
        importlib.import_module("ntk.estimators")
        return importlib.import_module("ntk")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "ntk"]:
            del sys.modules[name]
        sys.modules.update(hooked)


@pytest.fixture(scope="module")
def plain_bounds():
    """`bounds` as users import it: without the checks of annotations, which would refuse before it can."""
    hooked = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "bounds"}
    try:
        return importlib.import_module("bounds")
    finally:
        sys.modules.update(hooked)
