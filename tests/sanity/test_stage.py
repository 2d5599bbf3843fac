"""The sanity stage on files: rows, counted passes, and that a shard is a stack of singles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.files import ShardOnDisk
from vitfaith.artifacts.images import decode_images, encode_images
from vitfaith.artifacts.store import read_provenance
from vitfaith.errors import ConfigError
from vitfaith.stages.sanity import run_sanity
from vitfaith.study.identity import spec_of
from vitfaith.study.plan import Plan

CHECKS: dict[str, Any] = {
    "mprt": {"check": "model_randomisation", "measures": ["spearman", "ssim"]},
    "random_logit": {"measures": ["spearman"]},
    "sensitivity": {"samples": 3},
    "smooth": {"check": "smooth_randomisation", "measures": ["spearman"], "samples": 2, "stride": 4},
    "efficient": {"check": "efficient_randomisation"},
    "relative": {"check": "relative_stability", "samples": 3},
}


def plan_of(shard: ShardOnDisk, **changes: Any) -> Plan:
    from vitfaith.study.load import load_study

    axes: dict[str, Any] = {"datasets": ["d"], "models": ["m"], "attacks": ["clean"], "smoothings": ["none"]}
    study = {
        "datasets": {"d": {"reader": "parquet", "path": str(shard.folder / "shard.parquet"), "images": 5}},
        "models": {"m": shard.settings},
        "attacks": {"clean": {}},
        "smoothings": {"none": {}},
        "explainers": {"random": {}, "saliency": {}, "rollout": {"explainer": "attention_rollout"}},
        "metrics": {"saco": {"groups": [4]}},
        "sanity": CHECKS,
        "experiments": {
            "e": {**axes, "explainers": ["random", "saliency", "rollout"], "metrics": ["saco"], "sanity": list(CHECKS), **changes}
        },
    }  # fmt: skip
    return Plan(load_study(study))


PLACE = {
    "dataset": "d",
    "model": "m",
    "attack": "clean",
    "smoothing": "none",
    "explained": "clean_prediction",
    "family": "one_pass",
    "shard": "shard-000",
}


def run(shard: ShardOnDisk, images: str = "images.parquet") -> pd.DataFrame:
    spec = json.loads(spec_of(plan_of(shard), "sanity", PLACE))
    out = shard.folder / "sanity.parquet"
    run_sanity(spec, "", shard.folder / images, shard.folder / "weights.safetensors", out, device="cpu", batch_size=3)
    return pd.read_parquet(out)


def test_every_check_of_every_method_is_a_row(shard: ShardOnDisk) -> None:
    frame = run(shard)
    assert set(frame.check) == set(CHECKS)
    counts = frame.groupby(["check", "method"]).size().unstack()
    assert (counts.loc["mprt"] == 5 * 8 * 2).all()
    assert (counts.loc["random_logit"] == 5).all()
    assert (counts.loc["sensitivity"] == 5 * 3).all()
    assert (counts.loc["smooth"] == 5 * 2).all()
    assert (counts.loc["efficient"] == 5).all()
    assert (counts.loc["relative"] == 5 * 3).all()
    explanations = 1 + 8 + 1 + 3 + 2 * (1 + 2) + 1 + 3
    answers = 1 + 3
    assert read_provenance(shard.folder / "sanity.parquet")["forwards"] == 5 * (explanations + answers)
    spearman = frame[frame.metric == "spearman"].set_index(["check", "method", "step"]).value.sort_index()
    np.testing.assert_allclose(spearman["mprt", "random"], 1)
    np.testing.assert_allclose(spearman["random_logit", "rollout"], 1, err_msg="rollout does not know the class")
    assert (spearman["random_logit", "saliency"] < 0.999).all()
    moved = frame[(frame.check == "sensitivity") & (frame.metric == "max_sensitivity")].groupby("method").value.mean()
    assert moved["random"] == 0 < moved["rollout"]
    rise = frame[frame.check == "efficient"].groupby("method").value
    assert (rise.get_group("random") == 0).all()
    assert (rise.get_group("saliency") != 0).any()
    ratios = frame[frame.check == "relative"].groupby("method").value.mean()
    assert ratios["random"] == 0 < ratios["saliency"]


def test_noise_may_leave_the_range_of_pixels_by_its_radius(shard: ShardOnDisk) -> None:
    """Ordinary images touch 0 and 1; the stage explains them with all their noise, at the one and the other end."""
    table = pq.read_table(shard.folder / "images.parquet")
    pixels = decode_images(table, np.uint8, "").copy()
    pixels[:, :, :8], pixels[:, :, 8:] = 0, 255
    for name, column in encode_images(pixels).items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    pq.write_table(table, shard.folder / "extreme.parquet")
    distances = {}
    for clip in (False, True):
        spec = json.loads(spec_of(plan_of(shard), "sanity", PLACE))
        spec["checks"] = {"s": {"use": "sensitivity", "samples": 2, "radius": 0.05, "clip": clip}}
        out = shard.folder / "sanity.parquet"
        run_sanity(
            spec,
            "",
            shard.folder / "extreme.parquet",
            shard.folder / "weights.safetensors",
            out,
            device="cpu",
            batch_size=3,
        )
        frame = pd.read_parquet(out)
        assert (frame.flag == "").all()
        distances[clip] = frame[(frame.metric == "avg_sensitivity") & (frame.method == "saliency")].value.mean()
    assert abs(distances[False] - distances[True]) > 1e-3


def test_a_part_of_a_shard_gives_the_same_rows(shard: ShardOnDisk) -> None:
    whole = run(shard)
    table = pq.read_table(shard.folder / "images.parquet")
    pq.write_table(table.filter(pa.compute.equal(table["image_id"], "image-3")), shard.folder / "part.parquet")
    keys = ["image_id", "method", "check", "reference", "step", "metric", "variant"]
    merged = run(shard, "part.parquet").merge(whole, on=keys, suffixes=("", "_whole"))
    assert len(merged) == len(whole) / 5
    np.testing.assert_allclose(merged.value, merged.value_whole, rtol=1e-4, atol=1e-5)


def test_a_study_asks_for_checks_where_nothing_is_smoothed(shard: ShardOnDisk) -> None:
    files = plan_of(shard).experiment_files("e")
    wanted = [path for path in files if "/sanity/" in path]
    assert wanted == [
        "results/sanity/dataset=d/model=m/attack=clean/smoothing=none/explained=clean_prediction/family=one_pass/shard-000.parquet"
    ]
    assert not any("/sanity/" in path for path in plan_of(shard, sanity=[]).experiment_files("e"))
    with pytest.raises(ConfigError, match=r"experiments\.e\.sanity: 'mrpt' is not in section sanity"):
        plan_of(shard, sanity=["mrpt"])
    assert Path(wanted[0]).name == "shard-000.parquet"
