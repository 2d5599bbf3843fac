"""The explained classes of a shard, from the files that decide them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from vitfaith.artifacts.schemas import PREDICTIONS
from vitfaith.artifacts.store import read_table
from vitfaith.artifacts.tensors import integer_tensor
from vitfaith.errors import ArtifactError
from vitfaith.explained import CLEAN_PREDICTION, PREDICTION, RUNNER_UP, classes


def explained_targets(spec: Mapping[str, Any], images: pa.Table, predictions: Path | None, device: str) -> Tensor:
    """The classes (N,) int64 that ``spec["explained"]`` means for the rows of ``images`` (schema IMAGES).

    Args:
        predictions: file of schema PREDICTIONS of the same images: of the condition for ``prediction``, of the clean images
            for ``runner_up``; others need none.

    Raises:
        ArtifactError: a needed file is not given, or holds other images.
        InputError: an image has no label, or the model a single class.
    """
    explained = spec.get("explained", CLEAN_PREDICTION)
    predicted, scores = integer_tensor(images, "target", device), None
    if explained in (PREDICTION, RUNNER_UP):
        if predictions is None:
            raise ArtifactError(f"explained class '{explained}' is read from predictions; name their file")
        found = read_table(predictions, PREDICTIONS)
        if found.column("image_id").to_pylist() != images.column("image_id").to_pylist():
            raise ArtifactError(f"'{predictions}' holds predictions of other images; delete it and run again")
        if explained == PREDICTION:
            predicted = integer_tensor(found, "prediction", device)
        else:
            scores = torch.tensor(found.column("probabilities").to_pylist(), dtype=torch.float32, device=device)
    labels = integer_tensor(images, "label", device)
    return classes(explained, len(images), predicted=predicted, scores=scores, labels=labels).to(device)
