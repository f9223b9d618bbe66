"""Small runs save time: figures have few pixels, and tests that do not need them do not save them."""

import pytest

from experiments.common import plots


@pytest.fixture(scope="session", autouse=True)
def _coarse_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plots.STYLE, "savefig.dpi", 40)
        yield


@pytest.fixture
def no_figures(monkeypatch):
    """Figures are drawn but not saved, which is most of the work. Figures of earlier runs stay."""
    monkeypatch.setattr(plots, "save_figure", lambda figure, stem: None)
