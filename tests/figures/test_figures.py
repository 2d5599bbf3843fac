"""Laws of every figure: it draws, it is deterministic, it ignores row order, it says what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import vitfaith.figures
import vitfaith.metrics
import vitfaith.stability.measures  # noqa: F401
from vitfaith.errors import ArtifactError
from vitfaith.figures.caption import caption
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.save import FORMATS, render_bytes, save_figure
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import FIGURES

NAMES = FIGURES.names
STYLE = Style(dpi=60)  # small, so that tests are fast


def draw(name: str, data: FigureData, style: Style = STYLE, **parameters: object) -> Figure:
    entry = FIGURES[name]
    with style.context_of_drawing():
        return entry.implementation(data, entry.parameters(**parameters), style)


def files(name: str, data: FigureData, folder: Path, style: Style = STYLE) -> dict[str, bytes]:
    paths = save_figure(draw(name, data, style), folder / name)
    return {path.suffix: path.read_bytes() for path in paths}


def shuffled(data: FigureData) -> FigureData:
    changed = {}
    for field in dataclasses.fields(data):
        frame = getattr(data, field.name)
        if frame is not None:
            frame = frame.sample(frac=1, random_state=7)
            changed[field.name] = frame.astype({c: "category" for c in ("dataset", "model") if c in frame})
    return FigureData(**changed)


@pytest.mark.parametrize("name", NAMES)
def test_equal_bytes_whatever_the_row_order(name: str, small: FigureData, tmp_path: Path) -> None:
    """The second draw sees nothing but the tables the figure says it needs."""
    first = files(name, small, tmp_path / "a")
    mixed = shuffled(small)
    only = {need: getattr(mixed, need) for need in FIGURES[name].traits["needs"]}
    second = files(name, FigureData(**only), tmp_path / "b")
    assert set(first) == {f".{kind}" for kind in FORMATS}
    for kind, content in first.items():
        assert content == second[kind], f"{kind} differs"
    assert first[".png"].startswith(b"\x89PNG")
    assert first[".pdf"].startswith(b"%PDF")
    assert b"<svg" in first[".svg"]


@pytest.mark.parametrize("name", NAMES)
def test_missing_tables_and_columns_are_named(name: str, data: FigureData) -> None:
    needs = FIGURES[name].traits["needs"]
    assert set(needs) <= set(FigureData.names())
    only = FigureData(**{need: getattr(data, need) for need in needs})
    for need in needs:
        with pytest.raises(ArtifactError, match=f"'{need}' was not given"):
            draw(name, dataclasses.replace(only, **{need: None}))
        with pytest.raises(ArtifactError, match=f"'{need}' is empty"):
            draw(name, dataclasses.replace(only, **{need: getattr(data, need).iloc[:0]}))
        column = "model" if "model" in getattr(data, need) else "sigma"
        missing = getattr(data, need).drop(columns=column)
        with pytest.raises(ArtifactError, match=f"'{need}' has no column '{column}'"):
            draw(name, dataclasses.replace(only, **{need: missing}))


@pytest.mark.parametrize("name", NAMES)
def test_text_is_inside_the_figure_and_panels_do_not_overlap(name: str, data: FigureData) -> None:
    for columns in ("one", "two"):
        picture = draw(name, data, Style(dpi=60, columns=columns))
        picture.draw_without_rendering()
        assert picture.get_figwidth() == pytest.approx(Style(columns=columns).width)
        frame = picture.bbox.padded(1.5)
        boxes = [axes.get_tightbbox() for axes in picture.axes if axes.get_visible() and axes.axison]
        for box in [*boxes, *(t.get_window_extent() for t in [*picture.texts, *picture.legends])]:
            assert box.x0 >= frame.x0, (columns, box)
            assert box.x1 <= frame.x1, (columns, box)
            assert box.y0 >= frame.y0, (columns, box)
            assert box.y1 <= frame.y1, (columns, box)
        inner = [axes.bbox for axes in picture.axes if axes.axison]
        for i, a in enumerate(inner):
            for b in inner[:i]:
                width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
                assert min(width, height) < 0.5, (columns, a, b)
        for label in (picture._supxlabel, picture._supylabel):
            if label is not None:
                assert not any(label.get_window_extent().padded(-0.5).overlaps(box) for box in boxes), (columns, label)
        titles = [
            t.get_window_extent() for axes in picture.axes for t in (axes._left_title, axes.title) if t.get_text()
        ]
        for i, a in enumerate(titles):
            assert not any(a.padded(-1).overlaps(b.padded(-1)) for b in titles[:i]), columns


@pytest.mark.parametrize("name", NAMES)
def test_duplicate_rows_are_refused(name: str, data: FigureData) -> None:
    need = FIGURES[name].traits["needs"][0]
    frame = getattr(data, need)
    with pytest.raises(ArtifactError, match=f"'{need}' has two rows for"):
        draw(name, dataclasses.replace(data, **{need: pd.concat([frame, frame])}))


@pytest.mark.parametrize("name", NAMES)
def test_style_changes_the_file(name: str, small: FigureData) -> None:
    plain = render_bytes(draw(name, small), "png")
    assert plain != render_bytes(draw(name, small, Style(dpi=60, font_size=9)), "png")


@pytest.mark.parametrize("name", NAMES)
def test_caption_counts(name: str, data: FigureData) -> None:
    entry = FIGURES[name]
    text = caption(FIGURES.item(name), data, seed=2024)
    assert entry.traits["title"] in text
    assert "Seed 2024." in text
    assert "{" not in text
    if "n" in entry.traits["rows"](data, entry.parameters()):
        assert "n = " in text


def test_rows_of_the_captions_are_plotted_values(data: FigureData) -> None:
    """Every mean in ``rows`` is the position of some artist's point."""
    for name in ("saco_leaderboard", "saco_by_condition", "top_k_overlap"):
        entry = FIGURES[name]
        rows = entry.traits["rows"](data, entry.parameters())
        found = np.concatenate(
            [
                c.lines[0].get_xdata()
                for axes in draw(name, data).axes
                for c in axes.containers
                if c.lines[0] is not None
            ]
        )
        np.testing.assert_allclose(np.sort(found), np.sort(rows["mean"].to_numpy()), rtol=0, atol=0)
        bars = np.concatenate(
            [
                np.asarray(segment)[:, 0]
                for axes in draw(name, data).axes
                for c in axes.containers
                for bar in c.lines[2]
                for segment in bar.get_segments()
            ]
        )
        expected = np.sort(np.concatenate([rows["low"], rows["high"]]))
        np.testing.assert_allclose(np.sort(bars), expected, rtol=1e-12, atol=1e-15)
