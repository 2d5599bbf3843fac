"""Networks are loaded once per job, whatever the number of its parts; and anew by whoever runs no job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vitfaith.artifacts.store import read_any, write_table
from vitfaith.cli.options import IMAGES, OUT, WEIGHTS
from vitfaith.cli.stage import OverShard
from vitfaith.models import load
from vitfaith.once import once, once_per_job

SCHEMA = pa.schema([pa.field("image_id", pa.string(), False)])


def test_within_a_job_a_thing_is_made_once_per_key() -> None:
    made: list[str] = []

    def make(name: str) -> list[str]:
        made.append(name)
        return [name]

    assert once(lambda: make("a"), "a") is not once(lambda: make("a"), "a")
    with once_per_job():
        first = once(lambda: make("b"), "classifier", {"x": 1, "y": 2}, Path("w"))
        assert once(lambda: make("b"), "classifier", {"y": 2, "x": 1}, Path("w")) is first
        assert once(lambda: make("c"), "classifier", {"y": 2, "x": 1}, None) is not first
    once(lambda: make("b"), "classifier", {"x": 1, "y": 2}, Path("w"))
    assert made == ["a", "a", "b", "c", "b"]


def test_what_could_not_be_made_is_tried_again() -> None:
    with once_per_job():
        with pytest.raises(ZeroDivisionError):
            once(lambda: 1 / 0, "key")
        assert once(lambda: 2.0, "key") == 2.0


def test_a_job_in_parts_loads_its_classifier_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(load, "load_classifier", lambda *given: loaded.append(given) or object())
    used: list[object] = []

    def stage(spec: Any, code: str, images: Path, weights: Path, out: Path, *, device: str, batch_size: int) -> None:
        used.append(load.job_classifier(spec["model"], weights, device))
        write_table(read_any(images), out, SCHEMA, {"stage": "predict"})

    images = tmp_path / "images.parquet"
    write_table(pa.table({"image_id": [f"image-{i}" for i in range(6)]}), images, SCHEMA, {})
    verb = OverShard("predict", "", "", {"images": IMAGES, "out": OUT, "weights": WEIGHTS})
    given = {
        "spec": json.dumps({"model": {"timm": "a"}}),
        "code": "",
        "images": images,
        "out": tmp_path / "out.parquet",
    }
    machine = {"gpus": 0, "device": "cpu", "fast": "on", "batch_size": 8, "part_size": 2}
    verb.run({**given, "weights": tmp_path / "w", **machine}, stage)
    assert len(used) == 3
    assert len(set(map(id, used))) == len(loaded) == 1
    assert loaded == [({"timm": "a"}, tmp_path / "w", "cpu")]
    assert len(read_any(tmp_path / "out.parquet")) == 6
