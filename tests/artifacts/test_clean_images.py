"""Stages write the same bytes whether clean images lie in the attack's file, as in earlier versions, or in the shard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from tests.files import ShardOnDisk, shard_on_disk
from vitfaith.artifacts.attacked import PICTURE
from vitfaith.artifacts.images import encode_images, image_digest
from vitfaith.artifacts.parts import run_in_parts
from vitfaith.artifacts.schemas import IMAGES, SHARDS
from vitfaith.artifacts.store import read_any, read_table, write_table
from vitfaith.errors import ArtifactError
from vitfaith.stages.attack import run_attack
from vitfaith.stages.attribute import run_attribute
from vitfaith.stages.bank import run_bank
from vitfaith.stages.sanity import run_sanity
from vitfaith.stages.score import run_score
from vitfaith.study.load import load_study
from vitfaith.study.plan import Plan
from vitfaith.study.specs import SPECS

PLACE = {"dataset": "d", "model": "m", "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}
MACHINE: dict[str, Any] = {"device": "cpu", "batch_size": 64}


@pytest.fixture
def shard(tmp_path: Path, images: torch.Tensor, targets: torch.Tensor) -> ShardOnDisk:
    """``images.parquet`` as earlier versions wrote it, ``refers.parquet`` as it is now; ``clean.parquet`` is their shard."""
    found = shard_on_disk(tmp_path, images, targets)
    levels = (images * 255).round().to(torch.uint8).numpy()
    old = read_table(tmp_path / "images.parquet", IMAGES)
    columns = {"image_id": old["image_id"], "label": old["label"], **encode_images(levels)}
    write_table(pa.table(columns), tmp_path / "clean.parquet", SHARDS, {})
    refers = {name: old[name] for name in IMAGES.names} | {
        "pixels": pa.nulls(5, pa.binary()),
        "digest": pa.array([image_digest(one.shape, one.tobytes()) for one in levels]),
    }
    write_table(pa.table(refers), tmp_path / "refers.parquet", IMAGES, {})
    return found


def plan_of(shard: ShardOnDisk) -> Plan:
    axes = {"datasets": ["d"], "models": ["m"], "attacks": ["clean"], "smoothings": ["none"], "explainers": ["rollout"]}
    study = {
        "datasets": {"d": {"reader": "parquet", "path": str(shard.folder / "clean.parquet"), "images": 5}},
        "models": {"m": shard.settings},
        "attacks": {"clean": {}},
        "smoothings": {"none": {}},
        "explainers": {"rollout": {"explainer": "attention_rollout"}},
        "metrics": {"saco": {"groups": [4]}, "faithfulness_estimate": {}},
        "sanity": {"random_logit": {"measures": ["spearman"]}},
        "experiments": {"e": {**axes, "metrics": ["saco", "faithfulness_estimate"], "sanity": ["random_logit"]}},
    }
    return Plan(load_study(study))


def _attribute(spec: Any, images: Path, out: Path, weights: Path, **more: Any) -> None:
    run_attribute(spec, "", images, None, weights, out, **more, **MACHINE)


def _bank(spec: Any, images: Path, out: Path, weights: Path, **more: Any) -> None:
    run_bank(spec, "", images, weights, out, **more, **MACHINE)


def _sanity(spec: Any, images: Path, out: Path, weights: Path, **more: Any) -> None:
    run_sanity(spec, "", images, weights, out, **more, **MACHINE)


def _score(spec: Any, images: Path, out: Path, weights: Path, **more: Any) -> None:
    maps = images.parent / "maps.parquet"
    run_score(spec, "", images, maps, weights, out, images.parent / "curves.parquet", **more, **MACHINE)


STAGES: dict[str, Callable[..., None]] = {
    "attribute": _attribute,
    "bank": _bank,
    "sanity": _sanity,
    "score": _score,
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_pixels_of_the_shard(stage: str, shard: ShardOnDisk) -> None:
    family = {} if stage == "bank" else {"family": "one_pass"}
    spec = json.loads(json.dumps(SPECS[stage](plan_of(shard), **PLACE, **family, shard="shard-000")))
    run, weights, written = STAGES[stage], shard.folder / "weights.safetensors", []
    for name, pixels in (("images", None), ("refers", shard.folder / "clean.parquet")):
        run(spec, shard.folder / f"{name}.parquet", shard.folder / "out.parquet", weights, pixels=pixels)
        written.append((shard.folder / "out.parquet").read_bytes())
    assert written[0] == written[1]
    with pytest.raises(ArtifactError, match="holds no pixels, which lie in its shard"):
        run(spec, shard.folder / "refers.parquet", shard.folder / "out.parquet", weights)
    other = shard.folder / "shard.parquet"
    with pytest.raises(ArtifactError, match=r"shard\.parquet' holds other images than .*, first image 'image-0'"):
        run(spec, shard.folder / "refers.parquet", shard.folder / "out.parquet", weights, pixels=other)


def test_the_clean_attack_writes_no_pixels(shard: ShardOnDisk) -> None:
    """In parts, too. Everything but the pixels is there."""
    spec = json.loads(
        json.dumps(SPECS["attack"](plan_of(shard), **{k: PLACE[k] for k in ("dataset", "model", "attack")}, shard="s"))
    )

    def run(read: Any, written: Any) -> None:
        run_attack(spec, "", weights=shard.folder / "weights.safetensors", **read, **written, **MACHINE)

    clean, found = read_any(shard.folder / "clean.parquet"), []
    for part_size in (0, 2):
        out = {name: shard.folder / f"{name}-{part_size}.parquet" for name in ("out", "predictions")}
        run_in_parts(run, {"images": shard.folder / "clean.parquet"}, out, part_size=part_size, settings="")
        found.append(read_any(out["out"]))
    assert found[0].equals(found[1])
    assert found[0]["pixels"].null_count == 5
    assert found[0].select(PICTURE[:-1]).equals(clean.select(PICTURE[:-1]))
    assert found[0]["linf"].to_pylist() == [0.0] * 5
    shape = tuple(clean[name][0].as_py() for name in ("channels", "height", "width"))
    assert found[0]["digest"].to_pylist() == [image_digest(shape, one) for one in clean["pixels"].to_pylist()]
