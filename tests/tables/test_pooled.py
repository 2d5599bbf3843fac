"""Scores of a whole data set in the summary, and sanity checks as rows of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vitfaith.statistics.segmentation import VARIANTS
from vitfaith.tables.measured import OF_SANITY
from vitfaith.tables.pooled import KEYS, pooled_summary

WHERE = {"dataset": "d", "model": "m", "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}


def test_segmentation_divides_sums_over_images() -> None:
    counts = {
        "a": dict(zip(VARIANTS, (90, 100, 60, 70, 30, 40, 0.9, 0.8), strict=True)),
        "b": dict(zip(VARIANTS, (5, 10, 3, 6, 2, 7, 0.5, 0.4), strict=True)),
        "c": dict.fromkeys(VARIANTS, np.nan),
    }
    rows = [
        {
            **WHERE,
            "image_id": image,
            "method": "x",
            "metric": id_,
            "variant": variant,
            "value": float(value),
            "flag": "",
        }
        for id_ in ("segmentation", "again")
        for image, values in counts.items()
        for variant, value in values.items()
    ]
    how = dict.fromkeys(("segmentation", "again"), "segmentation")
    summary = pooled_summary(pd.DataFrame(rows), how, confidence=0.9, resamples=200, seed=0)
    assert summary[KEYS].drop_duplicates().shape[0] == len(summary) == 8
    assert set(summary.n) == {2}
    assert set(summary.flagged) == {1}
    mean = summary[summary.metric == "segmentation"].set_index("variant")["mean"]
    assert mean["pixel_accuracy"] == pytest.approx(95 / 110)
    assert mean["miou"] == pytest.approx((63 / 76 + 32 / 47) / 2)
    assert mean["map"] == pytest.approx(0.7)
    assert mean["f1"] == pytest.approx(0.6)
    none = pd.DataFrame(rows[:0], columns=list(rows[0]))
    assert pooled_summary(none, how, confidence=0.9, resamples=200, seed=0).empty


def test_a_check_is_a_metric_whose_variant_is_what_it_measured() -> None:
    told = {"check": "mprt", "reference": "random head", "method": "x", "step": 0, "family": "one_pass"}
    for metric, variant, expected in (("spearman", "", "spearman"), ("top_k_overlap", "k=5", "top_k_overlap k=5")):
        named = {**told, "metric": metric, "variant": variant}
        key = tuple(named[name] for name in OF_SANITY.names)
        assert OF_SANITY.summary_key(key) == ("x", "random head", "mprt", expected)
