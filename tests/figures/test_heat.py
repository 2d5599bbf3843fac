"""Heat maps leave the figure as it was, and do not draw it."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vitfaith.figures.drawing.draw import canvas
from vitfaith.figures.drawing.heat import heat_map
from vitfaith.figures.drawing.style import Style


def test_a_heat_map_does_not_draw_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    figure, axes = canvas(Style(dpi=60), 1, 2, 30)
    before = figure.canvas
    monkeypatch.setattr(FigureCanvasAgg, "draw", lambda *_: pytest.fail("the whole figure was drawn"))
    for panel in axes.flat:
        heat_map(panel, np.eye(3), vmin=0, vmax=1)
        assert list(panel.get_xticks()) == list(panel.get_yticks()) == []
        assert panel.collections[0].get_array().tolist() == np.eye(3).tolist()
    assert figure.canvas is before
    assert figure.dpi == 60


def test_the_canvas_comes_back_after_an_error() -> None:
    figure, axes = canvas(Style(dpi=60), 1, 1, 30)
    before = figure.canvas
    with pytest.raises(AttributeError, match="no_such_setting"):
        heat_map(axes[0, 0], np.eye(3), no_such_setting=1)
    assert figure.canvas is before
