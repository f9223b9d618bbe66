"""Figures fit on a page, and the sentences below them do not cover anything."""

import numpy as np
import pytest

from experiments.common import plots


@pytest.fixture
def drawn():
    """A figure of five panels in rows of three, with its renderer."""
    with plots.style():
        figure, panels = plots.make_figure(5, size=(8.8, 5.6), columns=3)
        for axes, marker in zip(panels, plots.MARKERS, strict=False):
            values = np.array([[0.4, 0.6], [0.2, 0.3]])
            plots.plot_band(
                axes, np.array([8, 16]), values, quantiles=(0, 1), color=plots.PALETTE[0], marker=marker, label="error"
            )
            plots.use_log_axes(axes, "Width $n$")
        plots.describe(figure, plots.band_sentence((0, 1), "seeds"), "Nothing else is drawn.")
        figure.draw_without_rendering()
        yield figure, panels


def test_only_the_panels_that_are_asked_for_are_drawn(drawn):
    figure, panels = drawn
    assert figure.axes == panels
    assert len({round(axes.get_position().y0, 3) for axes in panels}) == 2
    assert len({round(axes.get_position().x0, 3) for axes in panels}) == 3


def test_the_sentence_below_a_figure_is_inside_it_and_covers_no_panel(drawn):
    figure, panels = drawn
    (text,) = figure.findobj(lambda artist: getattr(artist, "get_text", str)() == figure.get_supxlabel())
    box = text.get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in panels)
    assert text.get_text().endswith("bands go from the least to the largest. Nothing else is drawn.")


def test_curves_can_be_told_apart_without_colour():
    assert len(set(plots.MARKERS)) == len(plots.MARKERS) >= 10
    assert len({*plots.LINES, plots.LINE_OF_LIMIT}) == 5
