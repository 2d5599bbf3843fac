"""The figure of trainings: what it draws, and what it says when there is nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitfaith.artifacts.schemas import DIFFMASK_LOG
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import FIGURES
from vitfaith.tables.trainings import training_table

ENTRY = FIGURES["diffmask_training"]


def log(path: Path, count: int) -> Path:
    rows = [
        {
            "step": 20 * i, "images": 320 * i, "kl": 0.1 / i, "kept_share": 0.9 - 0.1 * i, "objective": 0.5, "multiplier": float(i),
            "agreement": 1.0, "gradient_norm": 1.0, "test_kl": 0.2 if i == 2 else None, "test_kept_share": None, "test_agreement": None,
        }
        for i in range(1, count + 1)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=DIFFMASK_LOG), path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    trainings = [
        {"model": model, "method": "diffmask", "log": str(log(tmp_path / f"{model}.parquet", count)), "margin": 0.1}
        for model, count in (("small", 3), ("large", 5))
    ]
    return training_table({"trainings": trainings})


def test_lines_are_the_rows_of_the_logs(table: pd.DataFrame) -> None:
    style = Style(dpi=60)
    with style.context_of_drawing():
        picture = ENTRY.implementation(FigureData(trainings=table), ENTRY.parameters(), style)
    kl, kept, multiplier = picture.axes
    drawn = {line.get_label(): line for line in multiplier.get_lines()}
    assert len(drawn) == 2
    lengths = sorted(len(line.get_xdata()) for line in drawn.values())
    assert lengths == [3, 5]
    longest = max(drawn.values(), key=lambda line: len(line.get_xdata()))
    assert list(longest.get_xdata()) == [20, 40, 60, 80, 100]
    assert list(longest.get_ydata()) == pytest.approx([1, 2, 3, 4, 5])
    markers = [line for line in kl.get_lines() if line.get_linestyle() == "None"]
    assert [list(line.get_ydata()) for line in markers] == [[pytest.approx(0.2)]] * 2
    assert kept.get_ylim() == (0, 1.02)


def test_what_is_missing_is_said(table: pd.DataFrame, tmp_path: Path) -> None:
    style = Style(dpi=60)
    with pytest.raises(ArtifactError, match="'trainings' is empty"):
        ENTRY.implementation(FigureData(trainings=training_table({"trainings": []})), ENTRY.parameters(), style)
    with pytest.raises(ConfigError, match="other"):
        ENTRY.implementation(FigureData(trainings=table), ENTRY.parameters(models=("other",)), style)
    with pytest.raises(ArtifactError, match=r"gone\.parquet' does not exist"):
        training_table(
            {"trainings": [{"model": "m", "method": "d", "log": str(tmp_path / "gone.parquet"), "margin": 0.1}]}
        )
