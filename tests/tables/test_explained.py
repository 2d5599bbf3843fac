"""Two explained classes in one experiment: paired differences by hand, and tables that never mix the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import write_table
from vitfaith.statistics import paired_comparisons, summarise_compared
from vitfaith.tables.boards import boards_text
from vitfaith.tables.collect import CONDITION, INPUT
from vitfaith.tables.explained import explained_table, explained_tests
from vitfaith.tables.maps import MapFacts
from vitfaith.tables.pooled import KEYS

IMAGES = [f"image-{i:02d}" for i in range(24)]
CLEAN = {"a": np.linspace(0.1, 0.9, 24), "random": np.linspace(-0.2, 0.2, 24)}
MOVED = np.arange(24) % 4 == 0
"""Images whose attacked class is another one."""

STATISTICS: dict[str, Any] = {"confidence": 0.95, "resamples": 200, "seed": 0}


def scores() -> pd.DataFrame:
    parts = []
    for explained in ("clean_prediction", "prediction"):
        for method, values in CLEAN.items():
            shown = values + np.where(MOVED & (method == "a") & (explained == "prediction"), 0.4, 0.0)
            place = dict(zip(CONDITION, ("d", "m", "pgd", "none", explained), strict=True))
            rows = {**place, "method": method, "metric": "saco", "variant": "", "image_id": IMAGES, "flag": ""}
            parts.append(pd.DataFrame(rows | {"value": shown}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """Files of maps in which every fourth image has another class under ``prediction``."""
    cells = []
    for explained in ("clean_prediction", "prediction"):
        condition = Condition("d", "m", "pgd", "none", explained)
        target = np.where(MOVED & (explained == "prediction"), 7, 3)
        count = len(IMAGES)
        table = pa.table(
            {
                "image_id": IMAGES, "method": ["a"] * count, "target": target, "rows": [1] * count, "columns": [1] * count,
                "map": pa.array([[0.0]] * count, pa.list_(pa.float32())), "spread": pa.nulls(count, pa.list_(pa.float32())),
                "samples": [1] * count, "flag": [""] * count, "tied": [0.0] * count,
            }
        )  # fmt: skip
        write_table(table, Path(artifact(str(tmp_path), "attribute", condition, "f", "shard-000")), MAPS, {})
        place = dict(zip(CONDITION, ("d", "m", "pgd", "none", explained), strict=True))
        cells.append({"condition": place, "families": ["f"]})
    return {"cells": cells, "shards": {"d": ["shard-000"]}, "explainers": ["a"]}


def table_of(spec: dict[str, Any], results: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The table of a frame of scores."""
    tests = []
    for key, part in rows.groupby([*INPUT, "method", "metric", "variant"]):
        table = part.pivot(index="explained", columns="image_id", values="value")
        names = dict(zip([*INPUT, "method", "metric", "variant"], map(str, key), strict=True))
        tests.append(explained_tests(table, names, coverage=0.9, **STATISTICS))
    return explained_table(tests, MapFacts(spec, str(results)).differ, STATISTICS["confidence"])


def test_differences_are_paired_by_image(spec: dict[str, Any], tmp_path: Path) -> None:
    found = table_of(spec, tmp_path, scores())
    row = found[(found.explained == "prediction") & (found.method == "a")].iloc[0]
    assert (row.opponent, row.n, row.differ) == ("clean_prediction", 24, 0.25)
    assert row.difference == pytest.approx(0.4 * 6 / 24)
    assert 0 < row.low < row.difference < row.high < 0.4
    assert row.p < 0.05
    back = found[(found.explained == "clean_prediction") & (found.method == "a")].iloc[0]
    assert (back.difference, back.low, back.high) == (-row.difference, -row.high, -row.low)
    same = found[found.method == "random"]
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)
    assert (same.p == 1).all()
    adjusted = found[(found.explained == "prediction")].set_index("method")["p_adjusted"]
    assert adjusted["a"] == pytest.approx(2 * row.p)  # Holm over the two methods


def test_one_value_has_no_differences(spec: dict[str, Any], tmp_path: Path) -> None:
    alone = scores().query("explained == 'prediction'")
    assert table_of(spec, tmp_path, alone).empty
    assert explained_table([], pd.DataFrame(), 0.95).empty


def test_means_and_common_images_are_of_one_value() -> None:
    rows = scores()
    lost = (rows.explained == "prediction") & (rows.method == "random") & rows.image_id.isin(IMAGES[:2])
    rows.loc[lost, "value"] = np.nan
    summary = summarise_compared(rows.assign(reference=""), by=KEYS, **STATISTICS).set_index(["explained", "method"])
    assert summary.loc[("clean_prediction", "a"), "n"] == 24  # the images that the other value lacks stay
    assert summary.loc[("prediction", "a"), "n"] == 22
    assert summary.loc[("clean_prediction", "a"), "mean"] == pytest.approx(CLEAN["a"].mean())
    own = (CLEAN["a"] + np.where(MOVED, 0.4, 0))[2:]
    assert summary.loc[("prediction", "a"), "mean"] == pytest.approx(own.mean())


def test_a_leaderboard_for_each_value_says_which() -> None:
    rows = scores().assign(reference="")
    summary = summarise_compared(rows, by=KEYS, **STATISTICS)
    tests = paired_comparisons(rows, by=[*CONDITION, "metric", "variant", "reference"], **STATISTICS)
    text = boards_text(summary, tests, {"saco": "higher"}, "markdown")
    titles = [line for line in text.splitlines() if line.startswith("###")]
    assert titles == [
        "### d · m · pgd · none · explained: class of the clean image",
        "### d · m · pgd · none · explained: class of the image given",
    ]
    default = summary[summary.explained == "clean_prediction"]
    assert boards_text(default, tests, {"saco": "higher"}, "markdown").startswith("### d · m · pgd · none\n")
