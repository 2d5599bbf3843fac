"""Folders with files of several splits, and Parquet files that number their classes otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.files import NONE, PICTURES, png, write
from tests.datasets.test_readers import opened
from vitfaith.datasets.files.splits import split_of
from vitfaith.errors import ArtifactError

CAT_DOG, DOG_CAT = ["cat", "dog"], ["dog", "cat"]


def parquet(path: Path, labels: list[int], names: list[str] | None) -> None:
    """A file of the datasets library with one picture a label; class names beside the schema where there are any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"label": {"_type": "ClassLabel", "names": names}} if names else {}
    table = pa.table(
        {
            "image": [{"bytes": png(PICTURES[i % 4]), "path": None} for i in range(len(labels))],
            "label": pa.array(labels, pa.int64()),
        }
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def labels_in(path: Path, **more: object) -> tuple[list[int], list[str]]:
    source = opened("hugging_face", {"path": path, **NONE, **more})
    return source.labels.tolist(), list(source.classes)


def test_other_numbers_of_the_same_classes_are_read_by_name(tmp_path: Path) -> None:
    """Both files hold cat, dog, dog; the second numbers dog 0."""
    parquet(tmp_path / "a.parquet", [0, 1, 1], CAT_DOG)
    parquet(tmp_path / "b.parquet", [1, 0, 0], DOG_CAT)
    assert labels_in(tmp_path) == ([0, 1, 1, 0, 1, 1], CAT_DOG)
    assert labels_in(tmp_path / "b.parquet") == ([1, 0, 0], DOG_CAT)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["cat", "cow"],
            r"b\.parquet', column 'label': its classes \(cat, cow\) differ from '.*a\.parquet' \(cat, dog\)",
        ),
        (["cat", "dog", "cow"], r"its classes \(cat, dog, cow\) differ from '.*a\.parquet' \(cat, dog\)"),
        (
            None,
            r"b\.parquet', column 'label': its classes \(without names\) differ from '.*a\.parquet' \(cat, dog\); read",
        ),
    ],
)
def test_other_classes_are_refused_with_both_files(tmp_path: Path, names: list[str] | None, message: str) -> None:
    parquet(tmp_path / "a.parquet", [0, 1], CAT_DOG)
    parquet(tmp_path / "b.parquet", [0, 1], names)
    with pytest.raises(ArtifactError, match=message):
        labels_in(tmp_path)


def test_labels_are_checked_against_the_classes_of_their_own_file(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [0, 1], CAT_DOG)
    parquet(tmp_path / "b.parquet", [2], DOG_CAT)
    with pytest.raises(ArtifactError, match=r"b\.parquet', column 'label': label 2, but there are 2 classes"):
        labels_in(tmp_path)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("data/train-00000-of-00001-0f1e2d.parquet", "data/test-00000-of-00001-3c4b5a.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-test/0000.parquet"),
        ("training.parquet", "photos_eval.parquet"),
    ],
)
def test_two_splits_of_one_folder(tmp_path: Path, first: str, second: str) -> None:
    parquet(tmp_path / first, [0, 0, 1], CAT_DOG)
    parquet(tmp_path / second, [1], CAT_DOG)
    with pytest.raises(ArtifactError, match=r"holds files of several splits: (train|test) \('.*'\), .*; set split: "):
        labels_in(tmp_path)
    with pytest.raises(ArtifactError, match=r"holds files of several splits"):
        labels_in(tmp_path / "**" / "*.parquet")
    assert labels_in(tmp_path, split="train")[0] == [0, 0, 1]
    assert labels_in(tmp_path, split="test")[0] == labels_in(tmp_path / second)[0] == [1]
    assert sorted(labels_in(tmp_path, split="train+test")[0]) == [0, 0, 1, 1]
    with pytest.raises(ArtifactError, match=r"has no file of split 'validation'; it has: (train, test|test, train)"):
        labels_in(tmp_path, split="val")
    with pytest.raises(ArtifactError, match=r"has no file of split 'tset' \(did you mean 'test'\?\)"):
        labels_in(tmp_path, split="tset")


def test_splits_of_any_name_are_told_by_numbered_files(tmp_path: Path) -> None:
    parquet(tmp_path / "sketches-00000-of-00001.parquet", [0], CAT_DOG)
    parquet(tmp_path / "photos-00000-of-00002.parquet", [1], CAT_DOG)
    parquet(tmp_path / "photos-00001-of-00002.parquet", [1], CAT_DOG)
    with pytest.raises(ArtifactError, match=r"several splits: photos \('photos-00000-of-00002\.parquet'\), sketches"):
        labels_in(tmp_path)
    assert labels_in(tmp_path, split="photos")[0] == [1, 1]


def test_a_folder_of_one_split_is_read_whole(tmp_path: Path) -> None:
    """Words above the folder that was named, and words inside others, are no splits."""
    folder = tmp_path / "test" / "contest"
    for name in ("a.parquet", "trainer.parquet"):
        parquet(folder / name, [0], CAT_DOG)
    assert labels_in(folder)[0] == [0, 0]
    assert split_of(folder / "a.parquet", folder) is None
    with pytest.raises(ArtifactError, match=r"has no file of split 'train'; it has: none in names"):
        labels_in(folder, split="train")


def test_a_folder_of_pictures_that_holds_splits_is_no_folder_of_classes(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "val/dog/d.png"):
        write(tmp_path / name, png(PICTURES[0]))
    with pytest.raises(ArtifactError, match=r"holds splits \(train, val\), not classes; name one of them: '.*train'"):
        opened("image_folder", {"folder": tmp_path, **NONE})
    assert opened("image_folder", {"folder": tmp_path / "val", **NONE}).labels.tolist() == [0, 1]
