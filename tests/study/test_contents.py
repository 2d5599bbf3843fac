"""The specification of a job holds what its outside files contain: all of them, by kind, and nothing of their times."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vitfaith.artifacts import contents as memory
from vitfaith.registries import REGISTRIES
from vitfaith.study import contents, identity
from vitfaith.study.load import load_study
from vitfaith.study.plan import Plan

PLACE = {
    "dataset": "d",
    "model": "m",
    "attack": "clean",
    "smoothing": "none",
    "explained": "clean_prediction",
    "family": "external",
    "shard": "shard-000",
}


@pytest.fixture
def spec_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """``spec_of(stage)`` plans a study of two listed pictures and external maps anew, and gives a job's specification."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "user_cache_path", lambda name: tmp_path / "cache" / name)
    for name, shade in (("one", 10), ("two", 90), ("other", 200)):
        Image.fromarray(np.full((28, 28), shade, np.uint8)).save(f"{name}.png")
    Path("list.csv").write_text("path,label\none.png,0\ntwo.png,1\n")
    Path("weights.safetensors").write_bytes(b"weights")
    np.savez("maps.npz", **{"one.png": np.ones((7, 7)), "two.png": np.eye(7)})
    raw = {
        "datasets": {
            "d": {"reader": "csv", "path": "list.csv", "channels": "grey", "preprocessing": "none", "images": 2}
        },
        "models": {"m": {"timm": "vit_tiny_patch16_224", "weights": "weights.safetensors"}},
        "attacks": {"clean": {}},
        "smoothings": {"none": {}},
        "explainers": {"mine": {"explainer": "external", "path": "maps.npz"}},
        "metrics": {"saco": {}},
        "experiments": {
            "e": {
                "datasets": ["d"],
                "models": ["m"],
                "attacks": ["clean"],
                "smoothings": ["none"],
                "explainers": ["mine"],
                "metrics": ["saco"],
            }
        },
    }

    def get(stage: str) -> dict[str, Any]:
        contents._digest.cache_clear()
        names = {"shard": ("dataset", "shard"), "attack": ("dataset", "model", "attack", "shard")}.get(stage, PLACE)
        return dict(json.loads(identity.spec_of(Plan(load_study(raw)), stage, {name: PLACE[name] for name in names})))

    return get


def rewrite(path: str) -> None:
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    Path(path).write_bytes(content)


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("one.png", {"shard"}),
        ("two.png", {"shard"}),
        ("maps.npz", {"attribute"}),
        ("weights.safetensors", {"attack", "attribute", "score"}),
        ("other.png", set()),
    ],
)
def test_a_changed_file_changes_the_jobs_that_read_it(spec_of: Callable[..., Any], path: str, stages: set[str]) -> None:
    before = {stage: spec_of(stage) for stage in ("shard", "attack", "attribute", "score")}
    os.utime(path)
    assert {stage: spec_of(stage) for stage in before} == before
    rewrite(path)
    assert {stage for stage in before if spec_of(stage) != before[stage]} == stages


def test_a_picture_more_in_the_list_counts(spec_of: Callable[..., Any]) -> None:
    before = spec_of("shard")
    Path("list.csv").write_text("path,label\none.png,0\ntwo.png,1\nother.png,1\n")
    assert spec_of("shard") != before


def test_every_reader_names_its_files_by_settings_or_by_a_list() -> None:
    """A reader whose settings name no file must make its images itself, or list the files."""
    without = {
        entry.name
        for entry in REGISTRIES["datasets"]
        if "files" not in entry.traits
        and not any("Path" in str(field.annotation) for field in entry.parameters.model_fields.values())
    }
    assert without == {"colour_grid", "planted_patch"}
