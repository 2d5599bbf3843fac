"""`vitfaith init`: the configuration it writes passes `vitfaith check`, whatever the images are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import save_file

from tests.datasets.files import CASES, png, write
from vitfaith.check.init import write_config
from vitfaith.check.study import check_study
from vitfaith.datasets.opening import open_source
from vitfaith.errors import VitfaithError
from vitfaith.models.classifier import build_backbone
from vitfaith.study.load import load_study, read_yaml

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Checkpoints of the architecture: ImageNet's head, and one of two classes."""
    files = {}
    for classes in (1000, 2):
        files[classes] = tmp_path_factory.mktemp("weights") / f"{classes}.safetensors"
        save_file(build_backbone(TINY, {"num_classes": classes}).state_dict(), str(files[classes]))
    return files


def written(images: Path, root: Path, weights: Path | None, model: str = TINY) -> tuple[dict[str, Any], list[str]]:
    out = root / "study.yaml"
    write_config(model, images, out, weights)
    return read_yaml(out)["datasets"]["mine"], check_study(out, elsewhere=True)


@pytest.mark.parametrize(
    ("case", "path", "reader"),
    [
        ("image_folder", "images", "image_folder"),
        ("csv", "list.csv", "csv"),
        ("hugging_face", "data", "hugging_face"),
        ("cifar10_binary", "", "cifar10"),
        ("mnist", "", "mnist"),
        ("imagenet_tar", "ILSVRC2012_img_val.tar", "imagenet"),
        ("imagenet_segmentation", "gtsegs_ijcv.mat", "imagenet_segmentation"),
    ],
)
def test_what_it_writes_passes_the_check(
    case: str, path: str, reader: str, tmp_path: Path, weights: dict[int, Path]
) -> None:
    (tmp_path / "files").mkdir()
    CASES[case][1](tmp_path / "files")
    own = reader in ("image_folder", "csv")  # their labels count sorted names, so the model must have these classes
    dataset, lines = written(tmp_path / "files" / path, tmp_path, weights[2 if own else 1000])
    assert dataset["reader"] == reader
    assert dataset["size"] == 224
    assert "1 experiment, 2 conditions" in lines[0]


def test_the_geometry_is_the_pretrained_models(tmp_path: Path, weights: dict[int, Path]) -> None:
    CASES["image_folder"][1](tmp_path)
    write_config(TINY, tmp_path / "images", tmp_path / "study.yaml", weights[1000])
    dataset = read_yaml(tmp_path / "study.yaml")["datasets"]["mine"]
    assert {k: dataset[k] for k in ("preprocessing", "crop_pct", "interpolation")} == {
        "preprocessing": "resize_crop",
        "crop_pct": 0.9,
        "interpolation": "bicubic",
    }
    assert "have 2 classes, the model 1000" in (tmp_path / "study.yaml").read_text()
    with pytest.raises(VitfaithError) as caught:
        check_study(tmp_path / "study.yaml", elsewhere=True)
    assert str(caught.value) == (
        "datasets.mine.classes: missing; 2 class names in sorted order are labels 0 to 1, and models.model has 1000 classes; "
        "give a class list with each name on the line of its label in the model, label 0 on line 1"
    )


def test_numbered_folders_sort_as_text_with_a_remark(tmp_path: Path) -> None:
    for i in range(11):
        write(tmp_path / "images" / str(i) / "a.png", png(np.zeros((4, 4, 3), np.uint8)))
    save_file(build_backbone(TINY, {"num_classes": 11}).state_dict(), str(tmp_path / "w.safetensors"))
    dataset, _ = written(tmp_path / "images", tmp_path, tmp_path / "w.safetensors")
    assert dataset["order"] == "text"
    assert "write order: natural." in (tmp_path / "study.yaml").read_text()


def test_a_head_with_the_classes_of_the_images(tmp_path: Path, weights: dict[int, Path]) -> None:
    CASES["image_folder"][1](tmp_path)
    written(tmp_path / "images", tmp_path, weights[2])
    assert read_yaml(tmp_path / "study.yaml")["models"]["model"]["arguments"] == {"num_classes": 2}
    assert "are labels" not in (tmp_path / "study.yaml").read_text()
    assert read_yaml(tmp_path / "study.yaml")["figures"]["gallery"] == {"classes": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("folders", "labels"),
    [(["n02102040", "n01440764"], [0, 217]), (["tench", "English springer"], [217, 0])],
    ids=["wordnet", "names"],
)
def test_some_of_imagenets_classes_keep_the_models_labels(
    folders: list[str], labels: list[int], tmp_path: Path, weights: dict[int, Path]
) -> None:
    """As in Imagenette: two of the thousand classes."""
    for folder in folders:
        write(tmp_path / "val" / folder / "a.png", png(np.zeros((4, 4, 3), np.uint8)))
    out = tmp_path / "study.yaml"
    write_config(TINY, tmp_path / "val", out, None)  # timm knows the classes of its pretrained head without fetching it
    reader, _ = load_study(read_yaml(out)).datasets["mine"]
    assert open_source(reader.spec()).labels.tolist() == labels
    assert len((tmp_path / "study.classes.txt").read_text().splitlines()) == 1000


def test_it_is_yaml_with_comments_and_never_overwrites(tmp_path: Path, weights: dict[int, Path]) -> None:
    CASES["image_folder"][1](tmp_path)
    out = tmp_path / "study.yaml"
    write_config(TINY, tmp_path / "images", out, weights[2])
    text = out.read_text()
    assert f"vitfaith check {out}" in text
    assert load_study(yaml.safe_load(text)).experiments["first"].models == ["model"]
    with pytest.raises(VitfaithError, match=r"--out: '.*' exists; name another file"):
        write_config(TINY, tmp_path / "images", out, weights[2])
    assert out.read_text() == text


@pytest.mark.parametrize(
    ("images", "model", "message"),
    [
        ("nothing", TINY, "--images: '.*nothing' does not exist"),
        ("empty", TINY, "is nothing that is known: class folders"),
        ("images", "deit_smal_patch16_224", "deit_small_patch16_224"),
        ("many", TINY, r"head\.weight \(2×192, the model has 3×192\)"),
    ],
)
def test_what_does_not_fit_is_said(
    images: str, model: str, message: str, tmp_path: Path, weights: dict[int, Path]
) -> None:
    CASES["image_folder"][1](tmp_path)
    (tmp_path / "empty").mkdir()
    for folder in "abc":
        write(tmp_path / "many" / folder / "a.png", png(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(VitfaithError, match=message):
        write_config(model, tmp_path / images, tmp_path / "study.yaml", weights[2] if model == TINY else None)
    assert not (tmp_path / "study.yaml").exists()
