"""The logs of the trainings behind learned explainers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vitfaith.artifacts.schemas import DIFFMASK_LOG
from vitfaith.artifacts.store import read_table


def training_table(spec: Mapping[str, Any]) -> pd.DataFrame:
    """One row per (model, method, step) with the columns of the log, from ``spec["trainings"]``.

    Raises:
        ArtifactError: a log is missing or damaged.
    """
    parts = [
        read_table(Path(each["log"]), DIFFMASK_LOG)
        .to_pandas()
        .assign(model=each["model"], method=each["method"], margin=each["margin"])
        for each in spec["trainings"]
    ]
    empty = DIFFMASK_LOG.empty_table().to_pandas().assign(model="", method="", margin=0.0)
    columns = ["model", "method", "margin", *DIFFMASK_LOG.names]
    return pd.concat(parts, ignore_index=True)[columns] if parts else empty[columns]
