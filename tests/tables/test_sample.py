"""The sampled images: which they are, their broken pairs against SaCo's own matrix, and their pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.synthetic_results import Size
from PIL import Image

from tests.tables.test_at_size import made
from tests.tables.test_pairs import WHERE, rows
from vitfaith.artifacts.schemas import IMAGES
from vitfaith.artifacts.store import read_any, write_table
from vitfaith.metrics.saco import saco_pairs
from vitfaith.stages.tables import run_tables
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.examples import SIDE, encoded_picture
from vitfaith.tables.grid import grid_of
from vitfaith.tables.pairs import FIELDS, NAMES
from vitfaith.tables.sample import broken_pairs, draw_sample


def dataset(*names: str) -> Images:
    return Images(pd.Index(sorted(names)), None, np.array(["shard-000"] * len(names), dtype=object))


def test_the_draw_is_keyed_by_image() -> None:
    many = dataset(*(f"image-{i}" for i in range(50)))
    first = draw_sample({"d": many}, seed=1, most=20)["d"]
    assert len(set(first)) == 20
    assert set(first) <= set(many.names)
    assert draw_sample({"d": many}, seed=1, most=5)["d"] == first[:5], "a shorter sample begins the longer one"
    assert draw_sample({"d": many}, seed=2, most=20)["d"] != first
    fewer = dataset(*(name for name in many.names if name not in first[:3]))
    assert draw_sample({"d": fewer}, seed=1, most=17)["d"] == first[3:], "other images change no place"
    assert draw_sample({"d": dataset("a", "b")}, seed=1)["d"] in (["a", "b"], ["b", "a"])


def test_datasets_share_the_sample() -> None:
    found = draw_sample({name: dataset(*(f"{name}-{i}" for i in range(9))) for name in "de"}, seed=1, most=8)
    assert {name: len(own) for name, own in found.items()} == {"d": 4, "e": 4}


def test_broken_pairs_are_those_with_a_negative_weight() -> None:
    draw = np.random.default_rng(1)
    salience = -np.sort(-draw.normal(size=(5, 4)), 1)
    salience[2, 1] = salience[2, 0]
    salience[4] = 0.5  # SaCo is undefined
    probability = draw.uniform(size=(5, 4))
    probability[3, 2] = probability[3, 0]
    grid = grid_of(rows(salience, probability), NAMES, FIELDS)
    found = broken_pairs(grid, WHERE, ["image-3", "image-0", "image-4", "image-2"])
    assert found.image_id.tolist() == ["image-3", "image-0", "image-2"]
    assert set(found.groups) == {4}
    for image, broken in zip((3, 0, 2), found.broken, strict=True):
        matrix = saco_pairs(torch.tensor(salience[image]), 0.9 - torch.tensor(probability[image]))
        assert broken.tolist() == (matrix[np.triu_indices(4, 1)] < 0).tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_are_the_pixels_and_large_ones_shrink(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 9, 7), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(encoded_picture(pixels))))
    np.testing.assert_array_equal(shown, pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1))
    large = Image.open(io.BytesIO(encoded_picture(np.full((channels, 3 * SIDE, SIDE), 128, np.uint8))))
    assert (large.format, large.size) == ("JPEG", (SIDE // 3 + 1, SIDE))


def test_tables_of_a_study(tmp_path: Path) -> None:
    """Every (condition, image, method) once, scores as in the whole table, a picture per attacked image."""
    spec = made(tmp_path, Size(classes=5, grid=2, side=4, flagged=0.08))
    run_tables(spec, "", str(tmp_path / "results"), tmp_path / "tables")
    frames = {path.stem: pd.read_parquet(path) for path in (tmp_path / "tables").glob("*.parquet")}
    sample, scores = frames["sample"], frames["sample_scores"]
    assert len(sample) == 23 * 8 * 3 == len(sample.drop_duplicates([*CONDITION, "image_id", "method"]))
    whole = frames["scores"].astype(dict.fromkeys(CONDITION, str))
    keys = [*CONDITION, "image_id", "method", "metric", "variant"]
    pd.testing.assert_frame_equal(
        scores.sort_values(keys, ignore_index=True),
        whole[list(scores)].sort_values(keys, ignore_index=True),
        check_dtype=False,
    )
    pictures = frames["sample_pictures"]
    assert len(pictures) == 23 * 2 == len(pictures.drop_duplicates(["dataset", "model", "attack", "image_id"]))
    shards = pd.concat(map(pd.read_parquet, sorted((tmp_path / "results" / "shard").rglob("*.parquet"))))
    clean = pictures[pictures.attack == "clean"].set_index("image_id").picture
    kept = shards.set_index("image_id").pixels
    for name, picture in clean.items():
        shown = np.asarray(Image.open(io.BytesIO(picture)))
        assert np.moveaxis(shown, -1, 0).tobytes() == kept[name]
    drawn = frames["gallery"].query("attack == 'clean'")
    assert drawn.pixels.tolist() == kept[drawn.image_id].tolist()
    assert frames["gallery"].pixels.notna().all()
    assert set(frames["conditions"].axis) == {"attack", "smoothing"}


@pytest.mark.parametrize("model", ["deit_b", "vit_b"])
def test_only_one_of_two_models_names_the_classes(model: str, tmp_path: Path) -> None:
    """The pictures that are written first may be those without names."""
    asked = {"models": ["deit_b", "vit_b"], "attacks": ["clean"], "smoothings": ["none"], "metrics": ["saco"]}
    spec = made(tmp_path, Size(classes=5, grid=2, side=4), images=4, certificates=[], sanity=[], stability=[], **asked)
    for path in (tmp_path / "results" / "attack").rglob("shard-*.parquet"):
        if f"model={model}" in path.parts:
            write_table(read_any(path), path, IMAGES, {"classes": list("abcde")})
    run_tables(spec, "", str(tmp_path / "results"), tmp_path / "tables")
    pictures = pd.read_parquet(tmp_path / "tables" / "sample_pictures.parquet")
    named = pictures.model == model
    assert pictures[named].label_name.tolist() == ["abcde"[label] for label in pictures[named].label]
    assert pictures[~named].label_name.isna().all()
