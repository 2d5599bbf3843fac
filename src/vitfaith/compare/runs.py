"""Which scores moved between two runs, by how much, and which settings and code differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vitfaith.compare.folder import KEYS, read_scores, settings_of
from vitfaith.errors import ArtifactError
from vitfaith.statistics import COVERAGE
from vitfaith.statistics.paired import holm, paired_tests


@dataclass(frozen=True)
class Difference:
    """Differences of run B from run A.

    Attributes:
        scores: one row for each condition, method and metric in both runs: n (images in both), a, b (means over these),
            difference (b − a), low, high, p_adjusted (Wilcoxon signed-rank, Holm over all compared rows), moved (whether
            any image's score is another), asked (images with a value in either run) and compared (whether n is at least
            the share ``coverage`` of these; p_adjusted is NaN where it is not).
        coverage: that share.
        settings: (stage, setting, values in A, values in B) where they differ.
        only_a, only_b: conditions, methods and metrics that the other run has not.
    """

    scores: pd.DataFrame
    settings: list[tuple[str, str, str, str]]
    only_a: list[tuple[str, ...]]
    only_b: list[tuple[str, ...]]
    coverage: float = COVERAGE


def compare_runs(
    first: Path,
    second: Path,
    *,
    tolerance: float = 0.0,
    coverage: float = COVERAGE,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compare the scores of two results folders image by image.

    Args:
        tolerance: differences of an image's score up to this are no move (other hardware rounds otherwise).
        coverage: see :func:`~vitfaith.statistics.common.common_images`; the two runs are what is compared.
        confidence, resamples, seed: of the bootstrap intervals of the mean difference.

    Raises:
        ArtifactError: a folder has no scores, or the runs share none.
    """
    frames = {name: read_scores(path, {}) for name, path in (("a", first), ("b", second))}
    groups = {
        name: {tuple(map(str, key)): rows for key, rows in frame.groupby(list(KEYS), sort=True)}
        for name, frame in frames.items()
    }
    shared = [key for key in groups["a"] if key in groups["b"]]
    if not shared:
        raise ArtifactError(f"'{first}' and '{second}' share no condition, method and metric; nothing can be compared")
    rows = [
        dict(zip(KEYS, key, strict=True))
        | _row(groups["a"][key], groups["b"][key], tolerance, confidence=confidence, resamples=resamples, seed=seed)
        for key in shared
    ]
    scores = pd.DataFrame(rows)
    scores["compared"] = scores["n"] >= coverage * scores["asked"]
    scores["p_adjusted"] = holm(scores.pop("p").where(scores["compared"]))
    return Difference(
        scores,
        _changed(settings_of(first), settings_of(second)),
        [key for key in groups["a"] if key not in groups["b"]],
        [key for key in groups["b"] if key not in groups["a"]],
        coverage,
    )


def _row(a: pd.DataFrame, b: pd.DataFrame, tolerance: float, **statistics: Any) -> dict[str, Any]:
    both = pd.concat(
        {"b": b.set_index("image_id")["value"], "a": a.set_index("image_id")["value"]}, axis=1, join="outer"
    ).sort_index()
    known = a if "cluster" in a else b if "cluster" in b else None
    clusters = None if known is None else dict(zip(known["image_id"], known["cluster"], strict=True))
    test = paired_tests(both.T, clusters=clusters, **statistics).iloc[0]
    finite = both.dropna()
    shared = both.index.isin(a["image_id"]) & both.index.isin(b["image_id"])
    same = np.isclose(both["a"], both["b"], rtol=0, atol=tolerance, equal_nan=True)
    return {
        "n": int(test["n"]),
        "asked": int(both.notna().any(axis=1).sum()),
        "a": float(finite["a"].mean()),
        "b": float(finite["b"].mean()),
        "difference": float(test["difference"]),
        "low": float(test["low"]),
        "high": float(test["high"]),
        "p": float(test["p"]),
        "moved": not bool(same[shared].all()),
    }


def _changed(a: dict[tuple[str, str], Any], b: dict[tuple[str, str], Any]) -> list[tuple[str, str, str, str]]:
    def text(found: dict[tuple[str, str], Any], key: tuple[str, str]) -> str:
        return ", ".join(found.get(key, ())) or "–"

    keys = dict.fromkeys([*a, *b])
    return [(*key, text(a, key), text(b, key)) for key in keys if a.get(key) != b.get(key)]
