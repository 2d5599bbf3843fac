"""Names of predicted classes reach the gallery from the dataset, else from the model, else there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.conftest import tiny_vit
from tests.tables import in_memory
from vitfaith.artifacts.images import encode_images, encode_truth
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.models.classifier import Classifier
from vitfaith.stages import attack as stage
from vitfaith.tables.chosen import Chooser, Unit, compared_cells
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.gallery import _truth
from vitfaith.tables.rows import class_names

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
    names = class_names({"cells": cells, "shards": {"d": ["shard-000"]}}, str(tmp_path))
    assert names.of(frame, "prediction") == expected


def test_segmentations_come_from_the_shards(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 4, 4), np.uint8)
    masks = np.stack([np.eye(4), np.full((4, 4), -1)]).astype(np.int8)
    for number, (names, truth) in enumerate([(["a", "b"], encode_truth(masks)), (["c", "d"], {})]):
        shard = {"image_id": pa.array(names), "label": pa.array([0, 1], pa.int32()), **encode_images(pixels), **truth}
        write_table(pa.table(shard), tmp_path / "shard" / "dataset=d" / f"shard-00{number}.parquet", SHARDS, {})
    spec = {"cells": [], "shards": {"d": ["shard-000", "shard-001"]}}
    every = {"d": ["shard-000", "shard-001"]}
    found = _truth(spec, str(tmp_path), ["a", "c", "d"], every)
    assert found[["dataset", "image_id"]].to_numpy().tolist() == [["d", "a"]]
    assert found.truth[0] == masks[0].tobytes()
    assert _truth(spec, str(tmp_path), ["a", "c", "d"], {"d": ["shard-001"]}).empty  # the other is not looked at
    nothing = _truth(spec, str(tmp_path), ["c"], every)
    assert nothing.columns.tolist() == ["dataset", "image_id", "truth"]
    assert nothing.empty


def scores_of(dataset: str, values: dict[str, list[float]]) -> pd.DataFrame:
    """SaCo of the images ``dataset``0, ``dataset``1 … by method."""
    rows = [(f"{dataset}{i}", method, value) for method, column in values.items() for i, value in enumerate(column)]
    place = {"dataset": dataset, "model": "m", "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}
    frame = pd.DataFrame(rows, columns=["image_id", "method", "value"])
    return frame.assign(metric="saco", variant="k=10", **place)


def choose_images(scores: pd.DataFrame, coverage: float = 0.9, explained: str | None = None) -> dict[str, str]:
    """The chosen images of a frame, condition by condition."""
    chooser = Chooser(coverage, explained)
    for key, rows in scores.groupby(CONDITION, sort=True):
        names = pd.Index(sorted(rows["image_id"]), name="image_id").unique()
        chooser.see(names)
        units: list[Unit] = []
        for unit, part in rows.groupby(["metric", "variant"]):
            table = part.pivot(index="method", columns="image_id", values="value").reindex(columns=names)
            units.append(([((method, *unit), row) for row, method in enumerate(table.index)], table.to_numpy()))
        chooser.add(str(key[0]), str(key[4]), names, compared_cells(units, coverage))
    return chooser.roles()


@pytest.mark.parametrize("seed", range(3))
def test_means_are_those_of_all_rows_at_once(seed: int) -> None:
    """Bit by bit, so that near ties are decided as before; an id that two datasets share has one mean over both."""
    draw = np.random.default_rng(seed)
    parts = []
    for dataset in ("a", "b"):
        for attack in ("clean", "pgd"):
            values = {method: (draw.normal(size=40) * 10.0 ** draw.integers(-8, 8, 40)).tolist() for method in "xyz"}
            values["y"][int(draw.integers(40))] = float("nan")
            parts.append(scores_of(dataset, values).assign(attack=attack))
    frame = pd.concat(parts, ignore_index=True).assign(image_id=lambda f: f.image_id.str.replace("b", "a"))
    assert choose_images(frame) == in_memory.chosen(frame, 0.9, "clean_prediction")


def test_without_saco_the_first_images_are_shown() -> None:
    frame = scores_of("a", {"x": [0.1, 0.9, 0.5, 0.2]})
    nothing = {"a0": "first", "a1": "first", "a2": "first"}
    assert choose_images(frame.assign(value=np.nan)) == choose_images(frame, explained="label") == nothing


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
