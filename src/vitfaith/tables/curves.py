"""Curves of the model's answer against the share of replaced features, averaged over images."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vitfaith.statistics import summarise_compared
from vitfaith.tables.collect import CONDITION, sort_rows

STEP = [*CONDITION, "method", "curve", "variant", "step"]


def curve_table(curves: pd.DataFrame, **statistics: Any) -> pd.DataFrame:
    """One row per (condition, method, curve, variant, step, quantity): mean, interval and number of images.

    ``quantity`` is "probability" or "kl". ``fraction`` is the mean over the images of the row: images differ in which of
    their groups are the larger ones, and in their number of superpixels.

    Args:
        curves: rows of schema ``CURVES`` with the condition's columns.
        statistics: settings of :func:`~vitfaith.statistics.summary.summarise_compared`; all steps of a curve share their
            images.
    """
    share = curves.astype({"fraction": float}).groupby(STEP, observed=True).fraction.transform("mean")
    curves, steps = curves.assign(fraction=share.astype("float32")), [*STEP, "fraction"]
    kept = [name for name in ("cluster",) if name in curves.columns]
    means = []
    for value in ("probability", "kl"):
        long = curves.rename(columns={value: "value"})[[*steps, "image_id", "value", *kept]].assign(flag="")
        lines = summarise_compared(long, by=steps, within=[*CONDITION, "curve", "variant"], **statistics)
        means.append(sort_rows(lines, steps).assign(quantity=value))
    return pd.concat(means, ignore_index=True)
