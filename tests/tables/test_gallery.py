"""Names of predicted classes reach the gallery from the dataset, else from the model, else there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.conftest import tiny_vit
from vitfaith.artifacts.images import encode_images, encode_truth
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.models.classifier import Classifier
from vitfaith.stages import attack as stage
from vitfaith.tables.gallery import _names, _truth, choose_images

DATASET, MODEL = list("abcde"), list("vwxyz")


@pytest.mark.parametrize(
    ("told", "expected"), [((DATASET, MODEL), ["b", "e"]), (([], MODEL), ["w", "z"]), (([], []), [None, None])]
)
def test_class_names(
    told: tuple[list[str], list[str]], expected: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = tiny_vit()
    model = Classifier(tiny.backbone, [0.5] * 3, [0.25] * 3, told[1])
    monkeypatch.setattr(stage, "job_classifier", lambda *_: model)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    shard = {"image_id": pa.array(["i", "j"]), "label": pa.array([0, 1], pa.int32()), **encode_images(pixels)}
    write_table(pa.table(shard), tmp_path / "shard.parquet", SHARDS, {"classes": told[0]} if told[0] else {})
    out = tmp_path / "attack" / "dataset=d" / "model=m" / "attack=clean" / "shard-000.parquet"
    spec = {"model": {}, "attack": {"use": "clean"}, "seed": 0}
    stage.run_attack(
        spec, "", tmp_path / "shard.parquet", None, out, tmp_path / "p.parquet", device="cpu", batch_size=2
    )
    condition = {"dataset": "d", "model": "m", "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}
    cells = [{"condition": condition, "families": ["one_pass"], "references": []}]
    frame = pd.DataFrame({"dataset": ["d", "d"], "model": ["m", "m"], "prediction": [1, 4]})
    assert _names({"cells": cells, "shards": {"d": ["shard-000"]}}, str(tmp_path), frame) == expected


def test_segmentations_come_from_the_shards(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 4, 4), np.uint8)
    masks = np.stack([np.eye(4), np.full((4, 4), -1)]).astype(np.int8)
    for number, (names, truth) in enumerate([(["a", "b"], encode_truth(masks)), (["c", "d"], {})]):
        shard = {"image_id": pa.array(names), "label": pa.array([0, 1], pa.int32()), **encode_images(pixels), **truth}
        write_table(pa.table(shard), tmp_path / "shard" / "dataset=d" / f"shard-00{number}.parquet", SHARDS, {})
    spec = {"cells": [], "shards": {"d": ["shard-000", "shard-001"]}}
    found = _truth(spec, str(tmp_path), ["a", "c", "d"])
    assert found[["dataset", "image_id"]].to_numpy().tolist() == [["d", "a"]]
    assert found.truth[0] == masks[0].tobytes()
    nothing = _truth(spec, str(tmp_path), ["c"])
    assert nothing.columns.tolist() == ["dataset", "image_id", "truth"]
    assert nothing.empty


def scores_of(dataset: str, values: dict[str, list[float]]) -> pd.DataFrame:
    """SaCo of the images ``dataset``0, ``dataset``1 … by method."""
    rows = [(f"{dataset}{i}", method, value) for method, column in values.items() for i, value in enumerate(column)]
    place = {"dataset": dataset, "model": "m", "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}
    frame = pd.DataFrame(rows, columns=["image_id", "method", "value"])
    return frame.assign(metric="saco", variant="k=10", **place)


def test_images_are_chosen_by_the_methods_of_their_own_dataset() -> None:
    first = scores_of("a", {"x": [0.1, 0.9, 0.5], "y": [0.1, 0.9, 0.5]})
    assert choose_images(first) == {"a0": "worst", "a2": "median", "a1": "best"}
    second = scores_of("b", {"x": [0.2, 0.8, 0.3, 0.4], "y": [0.2, 0.8, 0.3, 0.4], "z": [0.2, 0.8, 0.3, 0.4]})
    assert choose_images(pd.concat([first, second])) == {"a0": "worst", "b3": "median", "a1": "best"}
    # an image that a compared method lacks is not chosen
    second.loc[(second["image_id"] == "b3") & (second["method"] == "z"), "value"] = np.nan
    assert choose_images(pd.concat([first, second]), coverage=0.5) == {"a0": "worst", "a2": "median", "a1": "best"}


def test_further_explained_classes_change_no_choice() -> None:
    first = scores_of("a", {"x": [0.1, 0.9, 0.5]})
    other = scores_of("a", {"x": [9.0, 0.0, 0.0]}).assign(explained="runner_up")
    both = pd.concat([first, other])
    assert choose_images(both, explained="clean_prediction") == choose_images(first)
    assert choose_images(both, explained="runner_up") == choose_images(other) != choose_images(first)
