"""The result files of an experiment, and rows of conditions in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.store import partition_values, read_dataset
from vitfaith.datasets.subset import shard_name
from vitfaith.explained import CLEAN_PREDICTION, COLUMN, in_short
from vitfaith.order import natural_order

INPUT = ["dataset", "model", "attack", "smoothing"]
"""Columns of a condition that images and predictions have, whichever class is explained."""

CONDITION = [*INPUT, COLUMN]

OF_THE_SCORING_MODEL = ("scores", "curves")
"""Stages whose files are under the model that answered; files of other stages are under the explained model."""


def condition_text(values: Sequence[object], *, explained: bool) -> str:
    """A condition in one line: ``fashion_mnist · vit · pgd · none``; with the explained class if ``explained`` is true."""
    text = " · ".join(map(str, values[: len(INPUT)]))
    return f"{text} · explained: {in_short(str(values[len(INPUT)]))}" if explained else text


def tells(frame: pd.DataFrame) -> bool:
    """Whether texts on a table say which class is explained: where it is not the clean prediction everywhere."""
    return bool((frame[COLUMN].astype(str) != CLEAN_PREDICTION).any())


def cell_files(spec: Mapping[str, Any], results: str, stage: str, *, family: bool = True) -> Iterator[Path]:
    """Paths of ``stage`` for every condition (and family) and shard of an experiment's table specification."""
    seen: set[str] = set()
    for cell in spec["cells"]:
        if stage == "stability" and not cell["references"]:
            continue
        if stage == "certificates" and not cell["certified"]:
            continue
        if stage == "sanity" and not cell["checked"]:
            continue
        parts = dict(cell["condition"])
        if stage not in OF_THE_SCORING_MODEL:
            parts["model"] = cell.get("maps_of", parts["model"])
        if stage == "attack":
            parts["smoothing"] = ""
        condition = Condition(**parts)
        for name in cell["families"] if family else [None]:
            for shard in spec["shards"][condition.dataset]:
                path = artifact(results, stage, condition, name, shard)
                if path not in seen:
                    seen.add(path)
                    yield Path(path)


def with_shards(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A table specification with the names of the shards of each dataset in place of their number."""
    return {**spec, "shards": {d: [shard_name(i) for i in range(count)] for d, count in spec["shards"].items()}}


def read_conditions(paths: Sequence[Path], schema: pa.Schema) -> pd.DataFrame:
    """Rows of files of any run; older ones, whose paths do not say which class is explained, explain the clean prediction."""
    told = [path for path in paths if COLUMN in partition_values(path)]
    older = [path for path in paths if COLUMN not in partition_values(path)]
    parts = [read_dataset(some, schema).to_pandas() for some in (told, older) if some]
    if older:
        parts[-1] = parts[-1].assign(**{COLUMN: CLEAN_PREDICTION})
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def sort_rows(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """``frame`` in a stable order of ``columns``; variants by the numbers in them (k=5 before k=10)."""

    def key(column: pd.Series) -> pd.Series:
        return column.map(natural_order(column.astype(str))) if column.name == "variant" else column

    return frame.sort_values(list(columns), kind="stable", ignore_index=True, key=key)
