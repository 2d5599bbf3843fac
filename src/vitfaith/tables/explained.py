"""What the choice of the explained class does to scores: paired differences on the same images, method by method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import read_dataset
from vitfaith.explained import COLUMN
from vitfaith.statistics import paired_comparisons
from vitfaith.statistics.paired import COLUMNS as TESTS
from vitfaith.statistics.paired import holm
from vitfaith.tables.collect import CONDITION, INPUT, cell_files

KEYS = [*CONDITION, "opponent", "method", "metric", "variant"]
COLUMNS = [*KEYS, *(name for name in TESTS if name not in ("method", "opponent")), "confidence", "differ"]


def explained_table(spec: Mapping[str, Any], results: str, scores: pd.DataFrame, **statistics: Any) -> pd.DataFrame:
    """One row per (condition, other explained class, method, metric, variant); none where one class alone is explained.

    ``difference`` is the mean over images of the score of the maps of ``explained`` minus that of the maps of ``opponent``,
    with its interval, n, and p of Wilcoxon's signed-rank test, ``p_adjusted`` by Holm over the methods; ``differ`` is the share
    of the images whose two classes differ (on the others the two maps are one).

    Args:
        spec: specification of the tables, which names the files of maps.
        results: folder of the results.
        scores: per-image rows with the columns of a condition, without metrics of one score a data set.
        statistics: see :func:`~vitfaith.statistics.paired_comparisons`.
    """
    if scores[COLUMN].nunique() < 2:
        return pd.DataFrame(columns=COLUMNS)
    asked = scores.astype(dict.fromkeys([*CONDITION, "method", "metric", "variant"], "str"))
    by = [*INPUT, "explainer", "metric", "variant"]
    tests = paired_comparisons(asked.rename(columns={"method": "explainer", COLUMN: "method"}), by, **statistics)
    tests = tests.rename(columns={"method": COLUMN, "explainer": "method"})
    families = tests.groupby([*CONDITION, "opponent", "metric", "variant"], sort=False)["p"]
    tests["p_adjusted"] = families.transform(lambda p: holm(p.to_numpy()))
    numbers = ["difference", "low", "high"]
    tests[numbers] = tests[numbers] + 0.0  # no negative zeros
    tests["confidence"] = statistics["confidence"]
    shares = differing(spec, results)
    found = tests.merge(shares, on=[*CONDITION, "opponent"], how="left")
    return found[COLUMNS].sort_values(KEYS, ignore_index=True)


def differing(spec: Mapping[str, Any], results: str) -> pd.DataFrame:
    """The share ``differ`` of the images of a condition whose class differs from that of the ``opponent``."""
    schema = pa.schema([MAPS.field(name) for name in ("image_id", "target")])
    frame = read_dataset(list(cell_files(spec, results, "attribute")), schema).to_pandas()
    frame = frame.astype(dict.fromkeys(CONDITION, "str")).drop_duplicates([*CONDITION, "image_id"])
    rows = []
    for key, part in frame.groupby(INPUT, sort=True):
        classes = part.pivot(index="image_id", columns=COLUMN, values="target")
        for one in classes:
            for other in classes.columns.drop(one):
                share = float(np.mean(classes[one] != classes[other]))
                rows.append((*key, one, other, share))
    return pd.DataFrame(rows, columns=[*CONDITION, "opponent", "differ"])
