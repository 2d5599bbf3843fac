"""The explained class under attack: sections of docs/findings.md from the experiment `attacked_class` of the default study.

An attacked image has two classes that a map can explain: the one predicted for the clean image, and the one predicted now.
"""

from __future__ import annotations

import math

import pandas as pd
from findings_tables import interval, listed, markdown, share

CLEAN_CLASS, ATTACKED_CLASS = "clean_prediction", "prediction"


def compared(explained: pd.DataFrame) -> pd.DataFrame:
    """SaCo of maps of the attacked prediction minus that of maps of the clean one, by model and method, paired by image."""
    return explained[
        (explained["metric"] == "saco")
        & (explained["explained"] == ATTACKED_CLASS)
        & (explained["opponent"] == CLEAN_CLASS)
    ]


def explained_found(explained: pd.DataFrame) -> str:
    """For how many pairs of model and method the explained class changes SaCo (Wilcoxon, Holm, 0.05)."""
    rows = compared(explained).query("n > 0 and method != 'random'")
    significant = rows[rows["p_adjusted"] < 0.05]
    higher = int((significant["difference"] > 0).sum())
    moved = f", higher in {higher} and lower in {len(significant) - higher}" if len(significant) else ""
    return (
        f"Under PGD, maps of the attacked prediction have another SaCo than maps of the clean prediction in "
        f"{share(len(significant), len(rows))} pairs of model and method{moved}."
    )


def explained_class(explained: pd.DataFrame, summary: pd.DataFrame) -> str:
    """SaCo of the maps of both classes under attack, and the paired difference."""
    rows = summary[(summary["metric"] == "saco") & (summary["reference"] == "")]
    saco = rows.assign(text=rows.apply(interval, axis=1)).pivot(
        index=["model", "method"], columns="explained", values="text"
    )
    tests = compared(explained).set_index(["model", "method"])
    table = pd.DataFrame(
        {
            "clean prediction": saco[CLEAN_CLASS],
            "attacked prediction": saco[ATTACKED_CLASS],
            "difference": [_difference(tests.loc[key]) for key in saco.index],
        }
    )
    table.index = [" / ".join(key) for key in table.index]
    differ = compared(explained).groupby("model")["differ"].first()
    told = listed([f"{100 * part:.0f} % of the images of {model}" for model, part in differ.items()])
    return (
        "## The explained class under attack\n\n"
        "A map of an attacked image explains the class predicted for the clean image or the class predicted now. The two differ in "
        f"{told}; in the others both have the same score. SaCo under PGD without smoothing; difference: attacked minus clean "
        "prediction, over the images on which both have a map, p of Wilcoxon's test by Holm over the methods of a model.\n\n"
        + markdown(table)
        + "\n"
    )


def _difference(test: pd.Series) -> str:
    if math.isnan(test["p_adjusted"]):
        return "not compared"
    return f"{test['difference']:.2f} [{test['low']:.2f}, {test['high']:.2f}], p = {test['p_adjusted']:.2g}"
