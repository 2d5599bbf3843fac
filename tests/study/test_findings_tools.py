"""Tools that print tables of findings: the right rows, places and bold cells, from small tables made by hand."""

from __future__ import annotations

import pandas as pd
from tools.fills import FILLS, fills_table
from tools.vit_shapley import place


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_fills_are_columns_and_the_best_of_each_model_is_bold() -> None:
    means = {
        ("vit_patch10", "random"): [0.0, 0.1],
        ("vit_patch10", "rollout"): [0.5, -0.25],
        ("vit_patch4", "rollout"): [0.2, 0.3],
        ("vit_patch4", "random"): [-0.1, 0.9],
    }
    rows = [
        (model, method, metric, "", pair[metric == "saco_black"])
        for (model, method), pair in means.items()
        for metric in [*FILLS, "deletion_auc"]
    ]
    rows.append(("vit_patch4", "random", "saco_black", "clean", 9.0))  # stability, another table's row
    summary = pd.DataFrame(rows, columns=["model", "method", "metric", "reference", "mean"])
    found = cells(fills_table(summary.astype(dict.fromkeys(["model", "method", "metric", "reference"], "category"))))
    assert found[0] == ["model", "method", *FILLS.values()]
    first = ["**0.20**"] * 6
    assert found[2:] == [
        ["`vit_patch4`", "Rollout", *first, "0.30"],
        ["", "Random", *["−0.10"] * 6, "**0.90**"],
        ["`vit_patch10`", "Rollout", *["**0.50**"] * 6, "−0.25"],
        ["", "Random", *["0.00"] * 6, "**0.10**"],
    ]


def test_places_are_by_the_direction_of_a_score_and_over_compared_explainers() -> None:
    means = {  # method → deletion (lower is better), SaCo
        "random": (0.6, 0.0),
        "rollout": (0.2, 0.5),
        "vit_shapley": (0.3, 0.7),
        "raw_attention": (0.4, 0.6),
    }
    rows = [
        ("m", attack, "none", method, f"image-{i}", metric, variant, pair[metric == "saco"] + (attack != "clean"), "")
        for method, pair in means.items()
        for attack in ("clean", "pgd")
        for i in range(10)
        for metric, variant in (("deletion_auc", ""), ("saco", "k=9"), ("sparsity_gini", ""))
    ]
    names = ["model", "attack", "smoothing", "method", "image_id", "metric", "variant", "value", "flag"]
    scores = pd.DataFrame(rows, columns=names)
    lost = (scores["method"] == "raw_attention") & scores["image_id"].isin(["image-1", "image-2"])
    scores.loc[lost, ["value", "flag"]] = float("nan"), "constant"  # too few images: not compared
    other = scores[scores["method"] != "vit_shapley"].assign(model="without a head")
    found = cells(place(pd.concat([other, scores]).astype({"model": "category", "method": "category"})))
    assert found[2:] == [
        ["`m`", "Deletion ↓", "0.300 [0.300, 0.300]", "10", "2 of 3", "Rollout 0.200", "0.600"],
        ["`m`", "SaCo ↑", "0.700 [0.700, 0.700]", "10", "1 of 3", "Rollout 0.500", "0.000"],
    ]
