"""Figures of two explained classes: panels and texts say which, numbers are those of one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from tests.figures.test_figures import draw
from vitfaith.errors import ConfigError
from vitfaith.figures.caption import caption
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.registry import FIGURES
from vitfaith.figures.saco_by_explained import ByExplained, rows


@pytest.fixture
def two(data: FigureData) -> FigureData:
    """The summary for two classes, the second with half of the means."""
    assert data.summary is not None
    other = data.summary.assign(explained="prediction", mean=data.summary["mean"] / 2, flagged=1)
    return replace(data, summary=pd.concat([data.summary, other], ignore_index=True))


def test_differences_are_those_of_the_table(data: FigureData) -> None:
    table = rows(data, ByExplained(models=("vit_patch4",)))
    assert set(table["explained"]) == {"prediction"}
    means = table.set_index(["attack", "method"])["mean"]
    assert (means["pgd", "rollout"], means["pgd", "random"], means["clean", "rollout"]) == (0.1, 0.0, 0.0)
    drawn = draw("saco_by_explained", data, models=("vit_patch4",))
    assert {t.get_text() for panel in drawn.axes for t in panel.texts} == {
        "classes differ: 0 %",
        "classes differ: 75 %",
    }
    with pytest.raises(ConfigError, match="no explained 'label'"):
        rows(data, ByExplained(explained=("label",)))


def test_each_class_has_its_panels(two: FigureData) -> None:
    drawn = draw("saco_leaderboard", two)
    titles = [" ".join(panel.get_title(loc="left").split()) for panel in drawn.axes if panel.get_title(loc="left")]
    assert len(titles) == 4
    for text in ("explained: class of the clean image", "explained: class of the image given"):
        assert sum(text in title for title in titles) == 2
    alone = draw("saco_leaderboard", two, explained=("prediction",))
    assert not [panel for panel in alone.axes if "explained" in panel.get_title(loc="left")]


def test_the_caption_says_which_class_is_explained(two: FigureData) -> None:
    item = FIGURES.item("saco_by_condition")
    assert (
        "Maps explain the class predicted for the clean image; or the class predicted for the image given."
        in caption(item, two)
    )
    stability = caption(FIGURES.item("top_k_overlap"), two)
    assert "undefined score, or a reference map that explains another class) and in no mean" in stability


def test_texts_over_many_columns_of_the_gallery_do_not_overlap(data: FigureData) -> None:
    assert data.gallery is not None
    words = ("clean_prediction", "label", "prediction", "runner_up", "class_3")
    many = pd.concat([data.gallery.assign(explained=word) for word in words], ignore_index=True)
    narrow = draw("gallery", data, model="vit_patch4").get_figwidth()
    picture = draw("gallery", replace(data, gallery=many), model="vit_patch4")
    assert picture.get_figwidth() > narrow
    for row in ("0/0", "0/1"):
        panels = [axes for axes in picture.axes if axes.get_label().startswith(f"{row}/")]
        assert len(panels) == 15
        for texts in ([axes.title for axes in panels], [axes.xaxis.label for axes in panels]):
            boxes = [text.get_window_extent() for text in texts if text.get_text()]
            assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


def test_accuracy_by_radius_names_the_class_of_the_clean_image(data: FigureData) -> None:
    drawn = draw("accuracy_by_radius", data, reference="target")
    texts = [text.get_text() for text in drawn.texts] + [panel.get_ylabel() for panel in drawn.axes]
    assert any("share predicted as the clean image" in text for text in [*texts, drawn.get_supylabel()])
