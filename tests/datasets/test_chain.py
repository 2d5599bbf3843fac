"""Where a shard meets a model: labels beyond its classes stop the run, images without labels go through."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import tiny_vit
from tests.datasets.files import CASES
from vitfaith.artifacts.schemas import IMAGES, MAPS, SCORES
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.classifier import save_classifier
from vitfaith.stages.attack import run_attack
from vitfaith.stages.score import run_score
from vitfaith.stages.shard import run_shard
from vitfaith.study.load import instance

ARGUMENTS = dict(
    img_size=16, patch_size=4, in_chans=3, embed_dim=24, depth=3, num_heads=3, mlp_ratio=2.0, num_classes=5
)
MODEL = {"timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "mean": [0.5] * 3, "std": [0.25] * 3}
CHEFER = {"preprocessing": "chefer_resize", "size": 16}


def attacked(root: Path, case: str, **settings: object) -> Path:
    """The clean images of a case, resized for the tiny ViT, as the attack stage writes them."""
    reader, files = CASES[case]
    given = {k: str(v) if isinstance(v, Path) else v for k, v in files(root).settings.items()}
    spec = instance("datasets", "d", {"reader": reader, **given, **CHEFER, **settings}).spec()
    run_shard(
        {"reader": spec, "seed": 0, "images": None, "shard_size": 9, "shard": "shard-000"}, "", root / "shard.parquet"
    )
    save_classifier(tiny_vit(), root / "vit.safetensors", {})
    run_attack(
        {"model": MODEL, "attack": {"use": "clean"}, "seed": 0},
        "",
        root / "shard.parquet",
        root / "vit.safetensors",
        root / "images.parquet",
        root / "predictions.parquet",
        device="cpu",
        batch_size=4,
    )
    return root / "images.parquet"


def scores(root: Path, images: Path, metric: str) -> pa.Table:
    table = read_table(images, IMAGES)
    count = len(table)
    columns = {
        "image_id": table.column("image_id"),
        "method": pa.array(["random"] * count),
        "target": table.column("target"),
        "rows": pa.array(np.full(count, 4)),
        "columns": pa.array(np.full(count, 4)),
        "map": pa.array(list(np.random.default_rng(0).random((count, 16), np.float32)), pa.list_(pa.float32())),
        "spread": pa.nulls(count, pa.list_(pa.float32())),
        "samples": pa.array(np.full(count, 1)),
        "flag": pa.array([""] * count),
        "tied": pa.array([0.0] * count),
    }
    write_table(pa.table(columns), root / "maps.parquet", MAPS, {})
    spec = {"model": MODEL, "seed": 0, "precision": "float32", "metrics": {metric: {"use": metric}}}
    files = (root / name for name in ("maps.parquet", "vit.safetensors", "scores.parquet", "curves.parquet"))
    run_score(
        json.loads(json.dumps(spec)), "", images, *files, pixels=root / "shard.parquet", device="cpu", batch_size=16
    )
    return read_table(root / "scores.parquet", SCORES)


def test_images_without_labels_are_scored(tmp_path: Path) -> None:
    images = attacked(tmp_path, "imagenet_segmentation")
    assert read_table(images, IMAGES).column("label").to_pylist() == [-1] * 4
    assert np.isfinite(scores(tmp_path, images, "aopc").column("value").to_numpy()).all()
    with pytest.raises(ConfigError, match="needs labels"):
        scores(tmp_path, images, "chefer_positive")


def test_labels_beyond_the_classes_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("bird\nfox\nfish\nowl\ncat\ndog\n")
    with pytest.raises(InputError, match=r"shard\.parquet' has label 5, the model only 5 classes; give a model"):
        attacked(tmp_path, "csv", classes=str(tmp_path / "classes.txt"))
