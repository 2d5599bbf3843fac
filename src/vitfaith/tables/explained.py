"""Effect of the explained class on scores: paired differences on the same images, method by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vitfaith.explained import COLUMN
from vitfaith.statistics.paired import COLUMNS as TESTS
from vitfaith.statistics.paired import compare_all, finished
from vitfaith.tables.collect import CONDITION

KEYS = [*CONDITION, "opponent", "method", "metric", "variant"]
COLUMNS = [*KEYS, *(name for name in TESTS if name not in ("method", "opponent")), "confidence", "differ"]


def explained_tests(
    table: pd.DataFrame,
    names: Mapping[str, str],
    clusters: Mapping[str, str | None] | None = None,
    **statistics: Any,
) -> pd.DataFrame:
    """Tests of the explained classes of one condition against each other, for one method, metric and variant.

    Args:
        table: one row per explained class, sorted, and one column per image.
        names: dataset, model, attack, smoothing, method, metric and variant.
        clusters, statistics: see :func:`~vitfaith.statistics.paired.compare_all`.
    """
    tests = compare_all(table, clusters, **statistics)
    return tests.rename(columns={"method": COLUMN}).assign(**names)


def explained_table(tests: Sequence[pd.DataFrame], differ: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """One row per (condition, other explained class, method, metric, variant); none where one class alone is explained.

    ``difference`` is the mean over images of the score of maps of ``explained`` minus the score of maps of ``opponent``,
    with its interval, n, and p of Wilcoxon's signed-rank test, ``p_adjusted`` by Holm over the methods; ``differ`` is the share
    of the images whose two classes differ (on the others the two maps are one).

    Args:
        tests: from :func:`explained_tests`.
        differ: see :class:`vitfaith.tables.maps.MapFacts`.
        confidence: of the intervals.
    """
    if not tests:
        return pd.DataFrame(columns=COLUMNS)
    found = pd.concat(tests, ignore_index=True)
    found = finished(found, [*CONDITION, "opponent", "metric", "variant"], confidence)
    return found.merge(differ, on=[*CONDITION, "opponent"], how="left")[COLUMNS].sort_values(KEYS, ignore_index=True)
