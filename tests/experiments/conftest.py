"""What saves time in small runs: programs compile without costly optimizations, and figures have few pixels."""

import jax
import pytest

from experiments.common import plots


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation():
    """Small programs take longer to compile than to run."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session", autouse=True)
def _coarse_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plots.STYLE, "savefig.dpi", 40)
        yield
