"""Bytes that `vitfaith plan` guesses, against files of the project's own schemas."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from benchmarks.synthetic_results import Size, lists, study, write_results

from vitfaith.artifacts.maps import RAW_MEAN
from vitfaith.artifacts.schemas import MAPS, SMOOTHED_MAPS
from vitfaith.artifacts.store import write_table
from vitfaith.study.guess import guess
from vitfaith.study.jobs import jobs

IMAGES = 40


def test_guessed_bytes_are_the_bytes_of_files(tmp_path: Path) -> None:
    """Within a quarter. Maps are left out: the synthetic ones repeat."""
    plan = write_results(study(IMAGES), tmp_path, Size())
    guessed: Counter[str] = Counter()
    for job in jobs(plan):
        guessed[job.stage] += round(guess(plan, job, None, False)[1])
    written: Counter[str] = Counter()
    for path in (tmp_path / "results").rglob("*.parquet"):
        written[path.relative_to(tmp_path / "results").parts[0]] += path.stat().st_size
    assert 1 <= guessed["shard"] / written["shard"] + 0.01 <= 1.05
    assert 1 <= guessed["attack"] / (written["attack"] + written["predictions"]) + 0.01 <= 1.05
    assert 0.8 <= guessed["score"] / (written["scores"] + written["curves"]) <= 1.25


def test_maps_take_four_bytes_per_cell(tmp_path: Path) -> None:
    """A dictionary of values that differ would add a third."""
    count, cells, rng = 2000, 196, np.random.default_rng(0)
    maps = lists(rng.random((count, cells), np.float32), pa.float32())
    table = pa.table(
        {
            "image_id": [f"image {i}" for i in range(count)],
            "method": ["saliency"] * count,
            "target": np.zeros(count, np.int32),
            **{name: np.full(count, 14, np.int16) for name in ("rows", "columns")},
            "map": maps,
            "spread": maps,
            "samples": np.ones(count, np.int32),
            "flag": [""] * count,
            "tied": np.zeros(count),
            RAW_MEAN: maps,
        }
    )
    for arrays, schema in ((2, MAPS), (3, SMOOTHED_MAPS)):
        write_table(table, tmp_path / "maps.parquet", schema, {})
        assert (tmp_path / "maps.parquet").stat().st_size <= count * (arrays * 4 * cells + 40)
