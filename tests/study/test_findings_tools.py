"""Tools that print tables of findings: the right rows and bold cells, from small tables made by hand."""

from __future__ import annotations

import pandas as pd
from tools.fills import FILLS, fills_table


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
