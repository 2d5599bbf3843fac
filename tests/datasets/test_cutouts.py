"""Cut-outs composed on photographs: masks are exact, nothing depends on order, train and test share no object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.datasets.files import png, write
from tests.datasets.test_readers import opened
from vitfaith.datasets.cutouts import folds_of, is_test
from vitfaith.datasets.registry import Source
from vitfaith.errors import ArtifactError, ConfigError

RED, BLUE = (255, 0, 0), (0, 0, 255)
SIZE = 32
CLASSES = {"round": ["things/round*.png"], "cornered": ["things/square*.png", "more/*.png"]}


def cutout(kind: str, width: int, height: int) -> bytes:
    """A red ellipse or rectangle inside an empty margin of three pixels."""
    rows, columns = np.mgrid[:height, :width]
    inside = np.ones((height, width), bool)
    if kind == "round":
        inside = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2 <= 0.25
    pixels = np.zeros((height + 6, width + 6, 4), np.uint8)
    pixels[3:-3, 3:-3, :3], pixels[3:-3, 3:-3, 3] = RED, 255 * inside
    return png(pixels)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Ten cut-outs of two classes, one in two folders, and two blue photographs."""
    for i in range(5):
        write(tmp_path / "cutouts" / "things" / f"round{i}.png", cutout("round", 40 + i, 24))
        folder = "more" if i == 4 else "things"
        write(tmp_path / "cutouts" / folder / f"square{i}.png", cutout("square", 20, 30 + i))
    for i, side in enumerate((50, 90)):
        photograph = Image.new("RGB", (side, 70), BLUE)
        (tmp_path / "photos").mkdir(exist_ok=True)
        photograph.save(tmp_path / "photos" / f"sky{i}.jpg", quality=95)
    return tmp_path


def read(root: Path, **changed: Any) -> Source:
    settings = {"folder": root / "cutouts", "backgrounds": root / "photos", "classes": CLASSES, "size": SIZE}
    return opened("cutouts", {**settings, **changed})


def test_labels_and_split(files: Path) -> None:
    train, test = (read(files, split=split, per_cutout=2, test_share=0.4) for split in ("train", "test"))
    assert list(test.classes) == ["cornered", "round"]
    assert np.bincount(test.labels).tolist() == [4, 4]
    assert np.bincount(train.labels).tolist() == [6, 6]
    objects = [{i.rpartition("#")[0] for i in source.image_ids} for source in (train, test)]
    assert not objects[0] & objects[1]
    assert len(objects[0] | objects[1]) == 10
    for source in (train, test):
        named = ["round" in i for i in source.image_ids]
        assert [source.classes[label] == "round" for label in source.labels] == named
    other = read(files, split="test", test_share=0.4, seed=1)
    assert {i.rpartition("#")[0] for i in other.image_ids} != objects[1]


def test_few_cutouts_change_sides_when_others_come() -> None:
    names = [f"n{i:03d}" for i in range(100)]
    before = {n for n, t in zip(names, is_test(names, 0.3, 0), strict=True) if t}
    more = sorted([*names, "new"])
    after = {n for n, t in zip(more, is_test(more, 0.3, 0), strict=True) if t}
    assert len(before) == 30
    assert len(before ^ after) <= 2
    assert is_test(["a", "b"], 0.01, 0).sum() == 1
    assert is_test(["a", "b"], 0.99, 0).sum() == 1


def _objects(source: Source) -> list[str]:
    return sorted({i.rpartition("#")[0] for i in source.image_ids})


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_cutout_is_held_out_by_one_fold_and_never_trained_on_there(files: Path, folds: int) -> None:
    everything = sorted(_objects(read(files, split="train")) + _objects(read(files, split="test")))
    held_out: list[str] = []
    for fold in range(folds):
        shared = {"folds": folds, "fold": fold}
        test, train = read(files, split="test", per_cutout=3, **shared), read(files, split="train", **shared)
        assert sorted(_objects(test) + _objects(train)) == everything, "the two are disjoint, and nothing is lost"
        per_class = np.bincount(test.labels) // 3
        assert set(per_class) <= {5 // folds, -(-5 // folds)}, "each class is dealt into equal parts"
        assert set(test.labels) == set(train.labels) == {0, 1}
        assert test.clusters == [i.rpartition("#")[0] for i in test.image_ids]
        held_out += _objects(test)
    assert sorted(held_out) == everything


def test_an_image_is_the_same_in_whichever_fold(files: Path) -> None:
    """A cut-out's compositions depend on its name alone, so folds differ by the network and nothing else."""
    whole = {n: pixels for s in ("train", "test") for n, pixels in _images(read(files, split=s, per_cutout=2)).items()}
    for fold in range(5):
        for name, pixels in _images(read(files, split="test", per_cutout=2, folds=5, fold=fold)).items():
            assert np.array_equal(pixels, whole[name])


def _images(source: Source) -> dict[str, Any]:
    return dict(zip(source.image_ids, source.read(np.arange(len(source.labels))), strict=True))


def test_folds_are_equal_and_few_cutouts_change_theirs_when_others_come() -> None:
    names = [f"n{i:03d}" for i in range(103)]
    before = dict(zip(names, folds_of(names, 5, 0), strict=True))
    assert sorted(np.bincount(list(before.values())).tolist()) == [20, 20, 21, 21, 21]
    assert dict(zip(names[::-1], folds_of(names[::-1], 5, 0), strict=True)) == before, "not by the order of names"
    more = sorted([*names, "new"])
    after = dict(zip(more, folds_of(more, 5, 0), strict=True))
    assert sum(before[n] != after[n] for n in names) <= 4
    assert dict(zip(names, folds_of(names, 5, 1), strict=True)) != before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folds": 5}, "go together"),
        ({"fold": 0}, "go together"),
        ({"folds": 5, "fold": 5}, "numbered from 0 to 4"),
    ],
)
def test_folds_that_cannot_be(changed: dict[str, int], message: str, files: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(files, **changed)


def test_more_folds_than_cutouts(files: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has 5 cut-outs .* fewer than folds: 6"):
        read(files, folds=6, fold=0)


def test_masks_are_the_red_pixels_and_sizes_are_as_asked(files: Path) -> None:
    source = read(files, split="train", per_cutout=6, scale=[0.4, 0.9])
    everything = np.arange(len(source.labels))
    images, masks = source.read(everything), source.masks
    assert images.shape == (len(everything), 3, SIZE, SIZE)
    assert images.dtype == np.uint8
    assert masks is not None
    sides, places = [], set()
    for image, mask in zip(images, masks(everything), strict=True):
        # the colour of a pixel is the mix that its coverage says; half the coverage is half way from blue to red
        assert np.abs((image[0] > image[2]) ^ mask).sum() == 0
        assert set(np.unique(image[1])) <= set(
            range(4)
        )  # no third colour: fringes keep the colours of object or photograph
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        sides.append(max(np.ptp(rows), np.ptp(columns)) + 1)
        places.add((rows[0], columns[0]))
    assert 0.4 * SIZE - 1.5 <= min(sides) < max(sides) <= 0.9 * SIZE + 1.5
    assert max(sides) - min(sides) > 0.2 * SIZE
    assert len(places) > len(everything) / 2


def test_an_image_does_not_depend_on_the_others(files: Path) -> None:
    source = read(files, split="train", per_cutout=2)
    everything = np.arange(len(source.labels))
    images = source.read(everything)
    assert np.array_equal(source.read(everything[::-1]), images[::-1])
    assert np.array_equal(source.read(everything[3:4]), images[3:4])
    only = read(files, split="train", per_cutout=2, classes={"round": CLASSES["round"]})
    for place, image_id in enumerate(only.image_ids):
        assert np.array_equal(only.read(np.array([place]))[0], images[source.image_ids.index(image_id)])
    assert not np.array_equal(read(files, split="train", per_cutout=2, seed=5).read(everything), images)


def test_what_is_left_out_belongs_to_no_class(files: Path) -> None:
    ids = [
        read(files, split=s, leave_out=["*/square*"], classes={"all": ["*.png"]}).image_ids for s in ("train", "test")
    ]
    assert sorted(ids[0] + ids[1]) == [f"things/round{i}.png#0" for i in range(5)]


BROKEN: dict[str, tuple[str | None, bytes, dict[str, Any], str]] = {
    "no folder": (None, b"", {"folder": "nowhere"}, "'nowhere' does not exist"),
    "no photograph": (None, b"", {"photographs": ["*.png"]}, "has no photograph like"),
    "empty class": (None, b"", {"classes": {"fish": ["fish/*"], **CLASSES}}, "class 'fish' has 0 cut-outs"),
    "two classes": (None, b"", {"classes": {"all": ["*"], **CLASSES}}, "belongs to 'all' and 'cornered'"),
    "no alpha": ("cutouts/things/round0.png", png(np.zeros((9, 9, 3), np.uint8)), {}, "no alpha channel"),
    "opaque": ("cutouts/things/round0.png", png(np.full((9, 9, 4), 255, np.uint8)), {}, "no transparent pixels"),
    "empty": ("cutouts/things/round0.png", png(np.zeros((9, 9, 4), np.uint8)), {}, "only transparent pixels"),
    "cut off": ("cutouts/things/round0.png", cutout("round", 40, 24)[:90], {}, "is damaged"),
    "no picture": ("photos/sky0.jpg", b"hello", {"photographs": ["sky0.jpg"]}, "no format that can be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, files: Path) -> None:
    path, content, changed, message = BROKEN[name]
    if path is not None:
        write(files / path, content)

    def read_both() -> None:
        for split in ("train", "test"):
            source = read(files, split=split, **changed)
            source.read(np.arange(len(source.labels)))

    with pytest.raises(ArtifactError, match=message):
        read_both()


def test_scale_out_of_order(files: Path) -> None:
    with pytest.raises(ConfigError, match="the smaller first"):
        read(files, scale=[0.9, 0.5])


def test_images_of_one_cutout_are_a_cluster(files: Path) -> None:
    source = read(files, split="train", per_cutout=3)
    assert source.clusters == [name.rsplit("#", 1)[0] for name in source.image_ids]
    assert read(files, split="train", per_cutout=1).clusters is None
