"""Folders of pictures as people have them: links, pipes, numbers as names, names in other encodings."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.files import NONE, PICTURES, png, write
from tests.datasets.test_readers import opened
from vitfaith.datasets.files.walk import walk_pictures
from vitfaith.errors import ArtifactError

CONTENT = png(PICTURES[0])


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        write(root / name, CONTENT)
    return root


def test_a_link_to_a_folder_above_adds_nothing(tmp_path: Path) -> None:
    names = [f"{c}/{i}.png" for c in "ab" for i in range(3)]
    root = pictures(tmp_path / "images", *names)
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "here").symlink_to(root / "b")
    assert walk_pictures(root) == names
    source = opened("image_folder", {"folder": root, **NONE})
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_that_link_to_each_other_keep_their_pictures(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images", "a/1.png", "b/2.png")
    (root / "a" / "other").symlink_to(root / "b")
    (root / "b" / "other").symlink_to(root / "a")
    assert walk_pictures(root) == ["a/1.png", "b/2.png"]


def test_links_out_of_the_folder_are_followed_and_each_file_counts_once(tmp_path: Path) -> None:
    store = pictures(tmp_path / "store", "birds/1.png", "birds/2.png", "fish.png")
    root = pictures(tmp_path / "images", "cat/1.png")
    (root / "bird").symlink_to(store / "birds")
    (root / "cat" / "again.png").symlink_to(root / "cat" / "1.png")
    (root / "fish").mkdir()
    (root / "fish" / "x.png").symlink_to(store / "fish.png")
    (root / "fish" / "y.png").symlink_to(store / "fish.png")
    assert walk_pictures(root) == ["bird/1.png", "bird/2.png", "cat/1.png", "fish/x.png"]


def test_a_class_that_is_a_link_to_another_is_named(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images", "a/1.png")
    (root / "b").symlink_to(root / "a")
    with pytest.raises(
        ArtifactError, match=r"'.*/b' has no picture .* is a link to '.*/a', whose pictures count once; "
    ):
        opened("image_folder", {"folder": root, **NONE})


@pytest.mark.parametrize("kind", ["pipe", "dangling"])
def test_what_is_no_file_is_named(tmp_path: Path, kind: str) -> None:
    root = pictures(tmp_path / "images", "a/1.png")
    if kind == "pipe":
        os.mkfifo(root / "a" / "2.png")
    else:
        (root / "a" / "2.png").symlink_to(root / "nowhere.png")
    with pytest.raises(
        ArtifactError, match=r"picture '.*/a/2.png' is a pipe, a device, or a link to nothing; remove it"
    ):
        opened("image_folder", {"folder": root, **NONE})


@pytest.mark.parametrize(
    ("reader", "key", "more"),
    [
        ("image_folder", "folder", NONE),
        ("csv", "path", NONE),
        ("imagenet", "path", NONE),
        ("parquet", "path", {}),
        ("cifar10", "path", {}),
        ("imagenet_segmentation", "path", NONE),
    ],
)
def test_pipes_are_never_opened(tmp_path: Path, reader: str, key: str, more: dict[str, str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match=rf"{key}: '.*/pipe' is a pipe or a device; copy its content to a file"):
        opened(reader, {key: tmp_path / "pipe", **more})


def test_names_that_are_not_utf8_are_one_line(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images", "a/1.png")
    Path(os.fsdecode(os.fsencode(root / "a") + b"/caf\xe9.png")).write_bytes(CONTENT)
    with pytest.raises(ArtifactError) as caught:
        opened("image_folder", {"folder": root, **NONE})
    assert str(caught.value) == r"the name 'a/caf\udce9.png' of a picture is not UTF-8; rename the file"


NUMBERED = ["0", "1", "10", "11", "2"]


@pytest.mark.parametrize("prefix", ["", "class_"])
def test_numbered_folders_need_an_order(tmp_path: Path, prefix: str) -> None:
    root = pictures(tmp_path / "images", *(f"{prefix}{n}/x.png" for n in NUMBERED))
    with pytest.raises(ArtifactError) as caught:
        opened("image_folder", {"folder": root, **NONE})
    text, natural = (", ".join(prefix + n for n in order) for order in (NUMBERED, ["0", "1", "2", "10", "11"]))
    assert str(caught.value) == (
        f"class folders of '{root}' are numbered, and text sorts as {text}; set order: text where the model counts so (as "
        f"torchvision does), order: natural for {natural}, or give a class list"
    )
    for order, labels in (("text", [0, 1, 2, 3, 4]), ("natural", [0, 1, 3, 4, 2])):
        source = opened("image_folder", {"folder": root, "order": order, **NONE})
        assert [name.split("/")[0] for name in source.image_ids] == [prefix + n for n in NUMBERED]
        assert source.labels.tolist() == labels
        assert [source.classes[label] for label in source.labels] == [prefix + n for n in NUMBERED]


def test_folders_whose_numbers_have_one_length_need_no_order(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images", "n01/x.png", "n02/x.png", "n10/x.png")
    assert opened("image_folder", {"folder": root, **NONE}).labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["1.0", "2.0", "10."], [1, 2, 10]),
        ([" 1", "2", "10"], [1, 2, 10]),
        (["1.5", "2.0", "3"], r"line 2: label 1.5; labels are whole numbers from 0"),
        (["1", "2", str(2**70)], r"label 1180591620717411303424; labels count classes from 0, correct them"),
        (["1", "2", "²"], r"labels are numbers \('1'\) and names; write all one way"),
        (["1", "-1.0", "2"], r"line 3: label -1; labels count from 0"),
    ],
)
def test_labels_of_a_list(tmp_path: Path, written: list[str], expected: list[int] | str) -> None:
    pictures(tmp_path, "0.png", "1.png", "2.png")
    rows = [f"{i}.png,{label}" for i, label in enumerate(written)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    settings = {"path": tmp_path / "list.csv", **NONE}
    if isinstance(expected, str):
        with pytest.raises(ArtifactError, match=expected):
            opened("csv", settings)
    else:
        assert opened("csv", settings).labels.tolist() == expected
        assert not list(opened("csv", settings).classes)
        assert opened("csv", settings).read(np.array([0])).shape == (1, 3, 6, 6)
