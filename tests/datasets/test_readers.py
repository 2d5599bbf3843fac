"""Every reader on a real file of its format: labels, names, pixels and masks, in any order of rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.files import CASES, NONE, PICTURES, png, write
from vitfaith.datasets.opening import open_source
from vitfaith.datasets.registry import Source
from vitfaith.registries import REGISTRIES
from vitfaith.study.load import instance


def opened(reader: str, settings: dict) -> Source:
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    return open_source(json.loads(json.dumps(instance("datasets", "mine", {"reader": reader, **plain}).spec())))


@pytest.mark.parametrize("name", CASES)
def test_a_real_file(name: str, tmp_path: Path) -> None:
    reader, files = CASES[name]
    case = files(tmp_path)
    source = opened(reader, case.settings)
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == case.labels
    assert list(source.classes) == case.classes
    assert len(set(source.image_ids)) == len(case.labels)
    for order in (np.arange(len(case.labels)), np.array([1, 0]), np.array([len(case.labels) - 1])):
        images = source.read(order)
        assert images.dtype == np.uint8
        assert np.array_equal(images, case.images[order])
        assert (source.masks is None) == (case.masks is None)
        if source.masks is not None and case.masks is not None:
            for found, place in zip(source.masks(order), order, strict=True):
                expected = case.masks[place]
                assert (found is None) == (expected is None)
                assert found is None or np.array_equal(found, expected)


def test_every_reader_is_among_the_cases() -> None:
    tested = {reader for reader, _ in CASES.values()} | {
        "fashion_mnist",
        "colour_grid",
        "planted_patch",
        "cutouts",
    }  # tested by themselves
    assert tested == {
        n for n in REGISTRIES["datasets"].names if REGISTRIES["datasets"][n].module.startswith("vitfaith.")
    }


def test_imagenet_in_class_folders_counts_sorted_wordnet_ids(tmp_path: Path) -> None:
    content = png(PICTURES[0])
    for i in range(1000):
        write(tmp_path / f"n{i:08d}" / f"ILSVRC2012_val_{1000 - i:08d}.JPEG", content)
    source = opened("imagenet", {"path": tmp_path, **NONE})
    assert source.labels.tolist() == list(range(1000))
    assert source.image_ids[0] == "ILSVRC2012_val_00001000"
    assert np.array_equal(source.read(np.array([7]))[0], PICTURES[0].transpose(2, 0, 1))


def test_the_three_layouts_of_imagenet_name_images_alike(tmp_path: Path) -> None:
    ids = [opened(CASES[n][0], CASES[n][1](tmp_path).settings).image_ids for n in ("imagenet_tar", "imagenet_flat")]
    assert ids[0] == ids[1] == [f"ILSVRC2012_val_{i:08d}" for i in range(1, 5)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "dog\tDog\nbird\ncat\tCat\n"),
        ("list.json", '["dog", "bird", "cat"]'),
        ("index.json", '{"2": ["cat", "Cat"], "0": ["dog", "Dog"], "1": "bird"}'),
    ],
)
def test_a_class_list_keeps_the_labels_of_the_model(name: str, content: str, tmp_path: Path) -> None:
    case = CASES["image_folder"][1](tmp_path)
    (tmp_path / name).write_text(content)
    source = opened("image_folder", {**case.settings, "classes": tmp_path / name})
    assert source.labels.tolist() == [2, 2, 0, 0]
    assert [c.lower() for c in source.classes] == ["dog", "bird", "cat"]
