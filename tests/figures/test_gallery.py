"""The gallery: stored maps, names of classes, outlines of objects, and damaged pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.figures.test_figures import draw
from tests.figures.test_values import pick
from vitfaith.errors import ArtifactError
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.pictures import decode_map, decode_pixels
from vitfaith.figures.gallery import heading


def test_gallery_shows_the_stored_arrays(data: FigureData) -> None:
    picture = draw("gallery", data, model="vit_patch4", attack="fgsm", classes=tuple("abcdefghij"))
    by_label = {axes.get_label(): axes for axes in picture.axes}
    wanted = pick(data.gallery, model="vit_patch4", role="best", attack="fgsm", smoothing="none")
    first = wanted.iloc[0]
    top = by_label["0/0/1"]
    np.testing.assert_array_equal(
        np.asarray(top.images[0].get_array()), np.frombuffer(first.pixels, np.uint8).reshape(28, 28) / 255
    )
    assert top.get_xlabel() == "j\n0.87"
    order = ["random", "raw_attention", "rollout", "attention_gradcam", "transformer_mm", "input_x_gradient"]
    for i, method in enumerate(order, start=1):
        row = pick(wanted, method=method).iloc[0]
        heat = np.asarray(row["map"], float).reshape(7, 7)
        shown = np.asarray(by_label[f"0/{i}/1"].images[0].get_array())
        np.testing.assert_allclose(shown, (heat - heat.min()) / (heat.max() - heat.min()))
        assert by_label[f"0/{i}/1"].get_xlabel() == f"SaCo {row.saco:.2f}".replace("-", "−")
    assert by_label["2/4/0"].texts[0].get_text() == "no map"
    heads = [t.get_text() for t in picture.texts if ": image" in t.get_text()]
    assert heads == ["best: image-007", "median: image-033", "worst: image-052"]


def test_gallery_names_classes_as_the_table_does(data: FigureData) -> None:
    told = dataclasses.replace(data, gallery=data.gallery.assign(prediction_name="ankle boot"))
    chosen = {"model": "vit_patch4", "attack": "fgsm"}
    texts = {axes.get_label(): axes.get_xlabel() for axes in draw("gallery", told, **chosen).axes}
    assert texts["0/0/1"] == "ankle boot\n0.87"
    texts = {axes.get_label(): axes.get_xlabel() for axes in draw("gallery", data, **chosen).axes}
    assert texts["0/0/1"] == "class 9\n0.87"


def test_gallery_of_a_study_without_saco_says_nothing_of_it(data: FigureData) -> None:
    def texts(saco: object) -> str:
        table = dataclasses.replace(data, gallery=data.gallery.assign(saco=saco))
        picture = draw("gallery", table, model="vit_patch4", attack="fgsm", classes=tuple("abcdefghij"))
        return " ".join(axes.get_xlabel() for axes in picture.axes)

    assert "SaCo" not in texts(np.nan)
    some = data.gallery["saco"].where(data.gallery["method"] != "random")
    assert "no SaCo" in texts(some)


def test_gallery_outlines_known_objects(data: FigureData) -> None:
    truth = np.zeros((28, 28), np.uint8)
    truth[5:15, 20:] = 1  # up to the right edge
    truth[0, :3] = 255
    known = [truth.tobytes() if image == "image-007" else None for image in data.gallery["image_id"]]
    table = dataclasses.replace(data, gallery=data.gallery.assign(truth=known))
    picture = draw("gallery", table, model="vit_patch4", attack="fgsm")
    for axes in picture.axes:
        lines = axes.collections
        if axes.get_label().startswith("0/"):
            points = lines[-1].get_paths()[0].vertices
            np.testing.assert_allclose(points.min(0), [19.5, 4.5])
            np.testing.assert_allclose(points.max(0), [27.5, 14.5])
            assert axes.get_xlim() == (-0.5, 27.5)
            assert axes.get_ylim() == (27.5, -0.5)
        else:
            assert not lines
    broken = dataclasses.replace(data, gallery=data.gallery.assign(truth=b"123"))
    with pytest.raises(ArtifactError, match="'truth': image image-007 has 3 bytes for 28×28"):
        draw("gallery", broken, model="vit_patch4", attack="fgsm")


def test_gallery_headings_have_room() -> None:
    assert heading("best", "image-007") == "best: image-007"
    assert heading("median", "plants/flowers/iris.png#0") == "median: iris.png#0"
    long = heading("worst", "n01440764/ILSVRC2012_val_00000293")
    assert long == "worst: …012_val_00000293"
    assert len(long) == 24


def test_gallery_decodes_colour_and_names_damage(data: FigureData) -> None:
    colour = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
    row = pd.Series({"channels": 3, "height": 2, "width": 4, "pixels": colour.tobytes(), "image_id": "i"})
    np.testing.assert_array_equal(decode_pixels(row), colour.transpose(1, 2, 0) / 255)
    with pytest.raises(ArtifactError, match="image i has 24 bytes"):
        decode_pixels(pd.Series({**row, "width": 5}))
    heat = pd.Series({"rows": 2, "columns": 2, "map": [1.0, np.nan, 0, 2], "method": "m", "image_id": "i"})
    assert decode_map(heat) is None
    with pytest.raises(ArtifactError, match="m on image i has 4 values"):
        decode_map(pd.Series({**heat, "rows": 3}))
