"""Polars and DuckDB read the columns and values of a folder of results that pandas reads."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.compare.test_compare import IDS, write

SORTED = ["attack", "method", "image_id"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scores of two attacks, one of them missing."""
    values = np.random.default_rng(0).normal(size=len(IDS))
    write(tmp_path, {"random": values, "rollout": values + 1})
    write(tmp_path, {"random": -values, "rollout": np.where(values > 1, np.nan, values)}, attack="pgd")
    return tmp_path / "scores"


@pytest.mark.parametrize("reader", ["polars", "duckdb"])
def test_columns_types_and_values(folder: Path, reader: str) -> None:
    expected = pd.read_parquet(folder)
    files = f"{folder}/**/*.parquet"
    if reader == "polars":
        frame = pl.read_parquet(files, hive_partitioning=True)
        assert frame.schema["value"] == pl.Float64
        assert {str(frame.schema[name]) for name in frame.columns if name != "value"} == {"String"}
        columns = {name: frame[name].to_list() for name in frame.columns}
    else:
        relation = duckdb.sql(f"SELECT * FROM read_parquet('{files}', hive_partitioning=true)")
        assert {name: str(t) for name, t in zip(relation.columns, relation.types, strict=True)} == {
            name: "DOUBLE" if name == "value" else "VARCHAR" for name in relation.columns
        }
        columns = dict(zip(relation.columns, map(list, zip(*relation.fetchall(), strict=True)), strict=True))
    found = pd.DataFrame(columns)
    assert set(found.columns) == set(expected.columns)
    found, expected = (
        frame.astype({"value": float})[sorted(frame.columns)].sort_values(SORTED, ignore_index=True)
        for frame in (found, expected)
    )
    np.testing.assert_array_equal(found["value"], expected["value"])
    for name in set(found.columns) - {"value"}:
        assert found[name].astype(str).tolist() == expected[name].astype(str).tolist()


def test_the_lines_of_the_documentation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.parent.joinpath("results").symlink_to(folder.parent)
    text = (Path(__file__).resolve().parents[2] / "docs/faq.md").read_text()
    polars_line = 'pl.read_parquet("results/scores/**/*.parquet", hive_partitioning=True)'
    query = "FROM read_parquet('results/scores/**/*.parquet', hive_partitioning=true)"
    assert polars_line in text
    assert query in text
    assert len(pl.read_parquet("results/scores/**/*.parquet", hive_partitioning=True)) == 4 * len(IDS)
    assert duckdb.sql(f"SELECT count(*) {query}").fetchall() == [(4 * len(IDS),)]
