"""The score stage on files: response bank, segmentations, precision, and input that is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.files import IDS, ShardOnDisk
from vitfaith.artifacts.maps import read_maps
from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.store import read_provenance
from vitfaith.errors import ArtifactError, InputError
from vitfaith.models.patches import Patches
from vitfaith.statistics import segmentation_scores
from vitfaith.study.identity import spec_of
from vitfaith.study.metric_inputs import score_inputs

CONDITION = Condition("d", "m", "clean", "none", "clean_prediction")
BANKED: dict[str, Any] = {
    "faithfulness_correlation": {"count": 12},
    "correlation_of_logits": {"metric": "faithfulness_correlation", "count": 12, "output": "logit"},
    "mu_fidelity": {"count": 12, "side": 3, "size": 2},
    "infidelity": {"count": 12},
    "sensitivity_n": {"count": 12, "sizes": [2, 0.5]},
    "faithfulness_estimate": {},
    "single_deletion_score": {"cells": 2},
    "monotonicity_correlation": {"fill": "noise", "draws": 2},
}
SETS = 12 + 12 + 12 + 12 + 16 + 4 + 2 * 16
"""Masks an image in ``BANKED``: random sets (shared by three metrics), of cells, of two sizes, and single patches."""


def forwards(path: Path) -> int:
    return int(read_provenance(path)["forwards"])


def test_the_bank_answers_every_metric_once_for_all_families(shard: ShardOnDisk) -> None:
    shard.metrics = BANKED
    bank = shard.bank()
    assert forwards(bank) == 5 * (1 + SETS)
    fresh = shard.score()
    assert forwards(shard.folder / "scores.parquet") == 5 * (1 + SETS)
    read = shard.score(bank=bank)
    assert forwards(shard.folder / "scores.parquet") == 0
    assert set(fresh.metric) == set(BANKED)
    pd.testing.assert_frame_equal(read, fresh, rtol=1e-4)
    assert read.value.notna().all()


def test_the_bank_does_not_depend_on_settings_that_only_read_it(shard: ShardOnDisk) -> None:
    names = {**asdict(CONDITION), "shard": "shard-000"}
    specs = []
    for settings in ({"scaled": True}, {"scaled": False, "output": "logit"}, {"count": 50}):
        shard.metrics = {"infidelity": settings}
        specs.append(spec_of(shard.plan, "bank", names))
    assert specs[0] == specs[1] != specs[2]


def test_only_metrics_that_need_them_read_the_bank_and_the_segmentations(shard: ShardOnDisk) -> None:
    expected = {
        "saco": {},
        "infidelity": {
            "bank": "results/bank/dataset=d/model=m/attack=clean/smoothing=none/explained=clean_prediction/shard-000.parquet"
        },
        "pointing_game": {"truth": "results/shard/dataset=d/shard-000.parquet"},
    }
    for name, files in expected.items():
        shard.metrics = {name: {}}
        assert score_inputs(shard.plan, CONDITION, "shard-000") == files


def test_a_bank_of_other_images_or_another_seed_is_refused(shard: ShardOnDisk) -> None:
    shard.metrics = {"faithfulness_estimate": {}}
    bank = shard.bank()
    table = pq.read_table(bank)
    pq.write_table(table.filter(pa.compute.not_equal(table["image_id"], "image-3")), bank)
    with pytest.raises(ArtifactError, match=r"bank\.parquet' holds responses for other images"):
        shard.score(bank=bank)
    place = table.schema.get_field_index("seed")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array([9] * len(table), pa.int64())), bank)
    with pytest.raises(ArtifactError, match="another seed"):
        shard.score(bank=bank)
    pq.write_table(table.drop_columns("logit"), bank)
    with pytest.raises(ArtifactError, match="no column 'logit'"):
        shard.score(bank=bank)


def test_localisation_from_a_shard_with_segmentations(shard: ShardOnDisk) -> None:
    shard.metrics = {"localisation_auroc": {}, "pointing_game": {"tolerance": 0}, "segmentation": {}}
    frame = shard.score(truth=shard.folder / "shard.parquet")
    truth = np.zeros((16, 16), bool)
    truth[4:10, 4:12] = True
    for method, (ids, maps) in read_maps(shard.folder / "maps.parquet").items():
        rows = frame[frame.method == method].set_index(["metric", "variant", "image_id"]).value
        pixels = Patches.even((4, 4), (16, 16)).upsample(torch.from_numpy(maps.copy()).double()).numpy()
        right, labelled = 0.0, 0
        for image, one in zip(ids, pixels, strict=True):
            assert rows["localisation_auroc", "", image] == pytest.approx(roc_auc_score(truth.ravel(), one.ravel()))
            assert rows["pointing_game", "", image] == truth.ravel()[one.argmax()]
            right += ((one > one.mean()) == truth).sum()
            labelled += truth.size
        counts = frame[(frame.method == method) & (frame.metric == "segmentation")]
        whole = segmentation_scores(counts, ["method"], resamples=100).set_index("metric")["mean"]
        assert whole["pixel_accuracy"] == pytest.approx(right / labelled)


def test_images_without_a_segmentation_are_flagged(shard: ShardOnDisk) -> None:
    shard.metrics = {"localisation_auroc": {}, "segmentation": {}, "saco": {"groups": [4]}}
    mask = np.zeros((16, 16), bool)
    mask[4:10, 4:12] = True
    for masks, known in (([mask, None, mask, mask, None], 3), ([None] * 5, 0)):
        shard.write_shard(list(masks))
        frame = shard.score(truth=shard.folder / "shard.parquet")
        assert (frame[frame.metric == "saco"].flag == "").all()
        for _, part in frame[frame.metric != "saco"].groupby(["method", "metric", "variant"]):
            assert [flag == "" for flag in part.flag] == [mask is not None for mask in masks]
            assert set(part.flag) <= {"", "unlabelled"}
            assert part.value.notna().sum() == known


def test_segmentations_of_other_images_are_refused(shard: ShardOnDisk) -> None:
    shard.metrics = {"localisation_auroc": {}}
    shard.write_shard([np.ones((16, 16), bool)] * 2, ids=IDS[:2])
    with pytest.raises(ArtifactError, match=r"shard\.parquet' lacks the image 'image-2'"):
        shard.score(truth=shard.folder / "shard.parquet")


def test_precision_is_part_of_the_specification_and_of_the_provenance(shard: ShardOnDisk) -> None:
    shard.metrics = {"saco": {"groups": [4]}, "faithfulness_estimate": {}}
    shard.model = {"precision": "bfloat16"}
    half, bank = shard.score(), read_provenance(shard.bank())
    facts = read_provenance(shard.folder / "scores.parquet")
    assert facts["dtype"] == facts["spec"]["precision"] == bank["dtype"] == bank["spec"]["precision"] == "bfloat16"
    shard.model = {}
    full = shard.score()
    assert not np.array_equal(half.value, full.value)
    estimate = full.metric == "faithfulness_estimate"
    assert np.abs(half.value - full.value)[estimate].max() < 0.2


def test_maps_on_another_grid_are_refused(shard: ShardOnDisk) -> None:
    shard.metrics = {"saco": {}}
    shard.write_maps({"a": np.random.default_rng(0).normal(size=(5, 7, 7)).astype(np.float32)})
    with pytest.raises(ArtifactError, match=r"maps\.parquet': maps of 'a' are 7×7, the model's patch grid is 4×4"):
        shard.score()


def test_missing_images_are_named(shard: ShardOnDisk) -> None:
    shard.metrics = {"saco": {}}
    shard.write_maps({"a": np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)}, ids=IDS[:4])
    with pytest.raises(ArtifactError, match=r"missing: \['image-4'\]"):
        shard.score()


def test_nan_and_constant_maps_are_flagged_rows(shard: ShardOnDisk) -> None:
    shard.metrics = {name: {} for name in ("saco", "deletion_auc", "faithfulness_estimate", "sparsity_gini")}
    maps = np.random.default_rng(0).normal(size=(5, 4, 4)).astype(np.float32)
    maps[1, 0, 0], maps[2], maps[3, 2, 2] = np.nan, 0.25, np.inf
    shard.write_maps({"a": maps})
    frame = shard.score()
    for _, part in frame.groupby(["metric", "variant"]):
        assert part.flag.tolist() == ["", "nan", "constant", "nan", ""]
        assert part.value.notna().tolist() == [True, False, False, False, True]


def test_more_groups_than_patches_is_an_error_that_says_so(shard: ShardOnDisk) -> None:
    shard.metrics = {"saco": {"groups": [20]}}
    with pytest.raises(InputError, match="groups=20, but the maps have only 16 features"):
        shard.score()


def test_a_class_of_probability_zero(shard: ShardOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits so far apart that the target's probability underflows: finite log-odds, and ratios to zero are flagged."""
    from vitfaith.models.classifier import Classifier

    inner = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, images: inner(self, images) * 1e4)
    shard.metrics = {
        "saco": {"groups": [4]},
        "log_odds": {"steps": 4},
        "average_drop": {},
        "deletion_auc": {"steps": 4},
    }
    frame = shard.score().set_index(["metric", "image_id", "method"])
    curves = pd.read_parquet(shard.folder / "curves.parquet")
    assert (curves.probability == 0).any()
    assert np.isfinite(curves.log_probability).all()
    assert np.isfinite(frame.loc["log_odds"].value).all()
    assert np.isfinite(frame.loc["saco"].value).all()
    start = curves[(curves.curve == "morf") & (curves.step == 0)].set_index(["image_id", "method"]).probability
    zero = start[start == 0].index
    assert len(zero)
    assert (frame.loc["average_drop"].loc[zero].flag == "undefined").all()
    assert json.dumps(frame.loc["deletion_auc"].value.tolist()).count("NaN") == 0
