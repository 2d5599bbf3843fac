"""The explained classes of a shard, from files with known predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from vitfaith.artifacts.predictions import prediction_table
from vitfaith.artifacts.schemas import PREDICTIONS, WITHOUT_PIXELS
from vitfaith.artifacts.store import write_table
from vitfaith.artifacts.targets import explained_targets
from vitfaith.errors import ArtifactError, InputError

IDS = ["a", "b"]
CLEAN, LABELS = np.array([0, 1]), np.array([2, 2])
SAMPLES = torch.tensor([[[0.4, 0.6, 0.0], [0.4, 0.6, 0.0], [0.9, 0.1, 0.0]], [[0.1, 0.7, 0.2]] * 3])
"""Of two images and three samples: most samples of the first say class 1, their mean says class 0."""


def images(labels: np.ndarray = LABELS) -> pa.Table:
    columns = {name: np.zeros(2) for name in ("prediction", "linf", "l2", "channels", "height", "width")}
    found = {"image_id": IDS, "label": labels, "target": CLEAN, "success": [False] * 2, "pixels": [b""] * 2, **columns}
    return pa.table(found).select(WITHOUT_PIXELS.names).cast(WITHOUT_PIXELS)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    write_table(prediction_table(IDS, LABELS, CLEAN, SAMPLES), tmp_path / "p.parquet", PREDICTIONS, {})
    return tmp_path / "p.parquet"


def test_each_value(predictions: Path) -> None:
    def found(explained: str, path: Path | None = None) -> list[int]:
        return explained_targets({"explained": explained}, images(), path, "cpu").tolist()

    assert found("clean_prediction") == [0, 1]
    assert found("label") == [2, 2]
    assert found("class_1") == [1, 1]
    assert found("prediction", predictions) == [0, 1]  # of the mean probability (0.57, 0.43), not of the votes
    assert found("runner_up", predictions) == [1, 2]


def test_files_that_do_not_decide(predictions: Path) -> None:
    with pytest.raises(ArtifactError, match="'runner_up' is read from predictions; name their file"):
        explained_targets({"explained": "runner_up"}, images(), None, "cpu")
    swapped = images().take([1, 0])
    with pytest.raises(ArtifactError, match="predictions of other images"):
        explained_targets({"explained": "prediction"}, swapped, predictions, "cpu")
    with pytest.raises(InputError, match="has no class for some images"):
        explained_targets({"explained": "label"}, images(np.array([0, -1])), None, "cpu")
