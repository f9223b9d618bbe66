"""Figures against strength: their legends fit, however few panels there are."""

import pytest
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.regularization.figures.strength_figures import draw_gaps

NAMES = ("l1", "l2", "elastic_net", "weight_decay", "spectral", "nuclear")
AXES = {"width": 8, "learning_rate": 0.1, "label_noise": 0.2, "num_train": 40}


def record(regularizer, strength):
    curves = {name: [0.5, 0.3] for name in ("train_error", "test_error", "gap", "validation_loss")}
    return AXES | {"regularizer": regularizer, "strength": strength, "seed": 0, "curves": curves, "diverged": None}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_the_legend_of_gaps_is_inside_of_the_figure(count, tmp_path, monkeypatch):
    regularizers = {"none": (0.0,)} | dict.fromkeys(NAMES[:count], (0.1, 0.2))
    axes = {"widths": (8,), "learning_rates": (0.1,), "label_noise": (0.2,), "train_sizes": (40,), "num_seeds": 1}
    records = [record(name, strength) for name, strengths in regularizers.items() for strength in strengths]
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, stem: drawn.append(figure))
    draw_gaps(tmp_path / "gap", records, ConfigDict(axes | {"regularizers": regularizers}))
    (figure,) = drawn
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, page = legend.get_window_extent(), figure.bbox
    assert len(legend.get_texts()) == 6
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0 < box.y1 <= page.y1
    # The panels keep their height.
    assert all(panel.get_window_extent().height > 0.8 * figure.dpi for panel in figure.axes if panel.axison)
