"""Which difference of a metric the images of a run detect, and how many images a smaller one takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vitfaith.compare.folder import read_scores, traits
from vitfaith.errors import ArtifactError
from vitfaith.statistics.clusters import cluster_codes
from vitfaith.statistics.common import COVERAGE, comparable
from vitfaith.statistics.power import detectable_difference, spread_of
from vitfaith.tables.collect import CONDITION, condition_text, tells
from vitfaith.tables.text import markdown_table

GROUP = [*CONDITION, "metric", "variant"]


def power_table(
    results: Path,
    chosen: Mapping[str, str],
    *,
    baseline: str = "random",
    sizes: Sequence[int] = (),
    alpha: float = 0.05,
    power: float = 0.8,
    coverage: float = COVERAGE,
) -> pd.DataFrame:
    """Detectable differences from ``baseline`` in every condition, metric and variant of a folder of results.

    Args:
        chosen: column of the scores → the one value to keep.
        baseline: method that the others are compared with.
        sizes: further numbers of images beside the run's.
        alpha, power, coverage: see :func:`~vitfaith.statistics.power.detectable_difference`, and
            :func:`~vitfaith.statistics.common.common_images`.

    Returns:
        Columns of the condition, metric, variant, measured (images of the run), tests (methods beside the baseline), sd (median
        over them of the standard deviation of the differences), n, alone (detected by a single test), holm (detected by
        the first step of Holm's method over the tests).

    Raises:
        ArtifactError: there are no scores, or no group has the baseline and another method.
    """
    scores = read_scores(results, chosen)
    # metrics with one score a data set have no difference of a single image
    pooled = [metric for metric, trait in traits(results).items() if trait.get("pooled")]
    rows = []
    for key, group in scores[~scores["metric"].isin(pooled)].groupby(GROUP, sort=False):
        table, _, _ = comparable(group.pivot(index="method", columns="image_id", values="value"), coverage)
        others = [method for method in table.index if method != baseline]
        if baseline not in table.index or not others or table.shape[1] < 2:
            continue
        codes = None
        if "cluster" in group:
            names = dict(zip(group["image_id"], group["cluster"], strict=True))
            codes = cluster_codes([names[image] for image in table.columns])
        values = table.to_numpy(dtype=np.float64)
        base = values[list(table.index).index(baseline)]
        spreads = [spread_of(values[list(table.index).index(m)] - base, codes) for m in others]
        spread = float(np.median(spreads))
        for n in dict.fromkeys([table.shape[1], *sizes]):
            units = None if codes is None else (int(codes.max()) + 1) * n / table.shape[1]
            found = [
                detectable_difference(spread, n, alpha=level, power=power, clusters=units)
                for level in (alpha, alpha / len(others))
            ]
            rows.append((*key, table.shape[1], len(others), spread, n, *found))
    if not rows:
        raise ArtifactError(
            f"'{results}' has no scores of '{baseline}' and another method; name a method with --baseline"
        )
    return pd.DataFrame(rows, columns=[*GROUP, "measured", "tests", "sd", "n", "alone", "holm"])


def power_text(found: pd.DataFrame, *, baseline: str, alpha: float, power: float) -> str:
    """:func:`power_table` as Markdown."""
    rows, told = [], tells(found)
    for _, row in found.iterrows():
        condition = condition_text([row[c] for c in CONDITION], explained=told)
        metric = f"{row['metric']} {row['variant']}".strip()
        alone, holm = (f"{row[c]:.3g}" if np.isfinite(row[c]) else "none" for c in ("alone", "holm"))
        rows.append([condition, metric, f"{row['sd']:.3g}", row["n"], alone, holm, row["tests"]])
    head = ["condition", "metric", "sd", "n", "detects, one test", "detects, Holm", "tests"]
    return "\n".join(
        [
            markdown_table(head, rows),
            "",
            f"A true mean difference from {baseline} of this size is found by Wilcoxon's signed-rank test at α = {alpha:g} with "
            f"chance {power:g}; with Holm over the tests against {baseline} at least that often. sd: median over methods of "
            "the standard deviation of the differences between images' scores, from these results (where images form clusters, √n times "
            "the standard error over clusters, if that is larger); for other n the same sd is taken. none: too few images or clusters "
            "for a p-value below α.",
            "",
        ]
    )
