"""What saves time in small runs: figures have few pixels, and tests that do not look at them do not draw them."""

import pytest

from experiments.common import plots


@pytest.fixture(scope="session", autouse=True)
def _coarse_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plots.STYLE, "savefig.dpi", 40)
        yield


@pytest.fixture
def no_figures(monkeypatch):
    """Figures are drawn and not saved, which is most of their work; those of earlier runs stay."""
    monkeypatch.setattr(plots, "save_figure", lambda figure, stem: None)
