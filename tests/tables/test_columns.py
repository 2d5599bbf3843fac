"""docs/columns.md says what each column of the tables means."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from vitfaith.artifacts import schemas
from vitfaith.artifacts.paths import Condition
from vitfaith.statistics import paired_comparisons
from vitfaith.tables.conditions import COLUMNS as CONDITIONS
from vitfaith.tables.examples import PICTURES
from vitfaith.tables.maps import MapFacts
from vitfaith.tables.sample import empty_pairs
from vitfaith.tables.trainings import training_table

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
PARTITIONS = tuple(Condition.__dataclass_fields__)


def comparisons() -> pd.DataFrame:
    return paired_comparisons(
        pd.DataFrame(columns=["method", "image_id", "value", *PARTITIONS, "metric", "variant", "reference"]),
        by=[*PARTITIONS, "metric", "variant", "reference"],
    )


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("statistics", list(comparisons())),
        ("costs", list(MapFacts({"cells": []}, "results").costs)),
        ("conditions", CONDITIONS),
        ("sample_pairs", list(empty_pairs())),
        ("sample_pictures", PICTURES),
        ("trainings", list(training_table({"trainings": []}))),
    ],
)
def test_every_column_of_a_table_is_explained(table: str, columns: list[str]) -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    own = {name for row in rows if table in row[1] for name in re.findall(r"`(\w+)`", row[0])}
    assert own, table
    assert set(columns) <= {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} | {*PARTITIONS, "family"}
    assert own <= set(columns)


@pytest.mark.parametrize("name", [name for name, value in vars(schemas).items() if isinstance(value, pa.Schema)])
def test_every_column_of_a_schema_is_named(name: str) -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    missing = [column for column in getattr(schemas, name).names if column not in named]
    assert not missing
