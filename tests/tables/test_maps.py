"""The table of maps, file by file by hand, and the column of tied features that leaderboards have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.files import IDS, ShardOnDisk
from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import write_table
from vitfaith.stages.attribute import map_table
from vitfaith.study.identity import spec_of
from vitfaith.tables.boards import boards_text
from vitfaith.tables.cells import TIED_NOTE
from vitfaith.tables.collect import with_shards
from vitfaith.tables.maps import COLUMNS, map_summary

CLEAN = Condition("d", "m", "clean", "none", "clean_prediction")


@pytest.fixture
def found(tmp_path: Path, targets: Tensor) -> pd.DataFrame:
    spec = with_shards(json.loads(spec_of(ShardOnDisk(tmp_path, {"saco": {}}).plan, "tables", {"experiment": "e"})))
    maps = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    maps[0, :2], maps[1, 0, 0], maps[2] = 0, torch.nan, 0.5
    (family,) = spec["cells"][0]["families"]
    (shard,) = spec["shards"]["d"]
    path = Path(artifact(str(tmp_path / "results"), "attribute", CLEAN, family, shard))
    path.parent.mkdir(parents=True)
    write_table(map_table(IDS, "r", targets, maps, None), path, MAPS, {})
    return map_summary(spec, str(tmp_path / "results"))


def test_one_row_a_condition_and_method(found: pd.DataFrame) -> None:
    assert list(found.columns) == COLUMNS
    (row,) = found.to_dict("records")
    assert (row["dataset"], row["attack"], row["smoothing"], row["method"]) == ("d", "clean", "none", "r")
    assert (row["n"], row["constant"], row["nan"]) == (5, 1, 1)
    assert row["tied"] == pytest.approx((7 / 16 + 15 / 16 + 0 + 0) / 4)


def test_leaderboards_show_the_share(found: pd.DataFrame) -> None:
    row = {"reference": "", "metric": "saco", "variant": "k=4", "n": 3, "mean": 0.5, "low": 0.4, "high": 0.6}
    where = {"dataset": "d", "model": "m", "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}
    own = {f"{name}_own": row[name] for name in ("n", "mean", "low", "high")} | {"compared": True, "asked": 3}
    summary = pd.DataFrame([{**where, "method": name, **row, **own} for name in ("r", "other")])
    nothing = pd.DataFrame(columns=[*where, "method", "opponent", "metric", "variant", "p"])
    texts = {
        form: [boards_text(summary, nothing, {"saco": "higher"}, form, maps=maps) for maps in (None, found)]  # type: ignore[arg-type]
        for form in ("markdown", "latex")
    }
    without, shown = texts["markdown"]
    assert "Tied" not in without
    assert "| Method | SaCo (k=4) ↑ | Tied |\n| --- | --- | --- |" in shown
    assert "n=3 | 34 % |" in shown
    assert "n=3 | – |" in shown
    assert TIED_NOTE in shown
    without, shown = texts["latex"]
    assert "Tied" not in without
    assert "\\begin{tabular}{lll}" in shown
    assert "& Tied \\\\" in shown
    assert "& 34 \\% \\\\" in shown
    assert TIED_NOTE in shown
    assert np.isfinite(found.tied).all()
