"""The explained class under attack, on the page of findings: counts, signs and the table follow the tests of the run."""

from __future__ import annotations

import pandas as pd
import pytest
from explained_findings import explained_class, explained_found

NAN = float("nan")


def explained_rows(rows: list[tuple[str, int, float, float]]) -> pd.DataFrame:
    """Table `explained` of one model in both directions, from (method, n, difference, adjusted p)."""
    table = pd.DataFrame(rows, columns=["method", "n", "difference", "p_adjusted"])
    table = table.assign(model="m", metric="saco", differ=0.75)
    both = [
        table.assign(explained="prediction", opponent="clean_prediction"),
        table.assign(explained="clean_prediction", opponent="prediction", difference=-table["difference"]),
    ]
    return pd.concat(both).assign(low=lambda f: f["difference"] - 0.05, high=lambda f: f["difference"] + 0.05)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", 9, 0.2, 0.01), ("b", 9, -0.1, 0.2)], ["in 1 of 2 pairs", "higher in 1 and lower in 0"]),
        ([("a", 9, 0.2, 0.01), ("b", 9, -0.1, 0.03)], ["in all 2 pairs", "higher in 1 and lower in 1"]),
        ([("a", 9, 0.2, 0.3), ("b", 0, NAN, NAN)], ["in none of 1 pairs"]),
        ([("a", 9, 0.2, 0.3), ("random", 9, 0.9, 0.001)], ["in none of 1 pairs"]),
    ],
)
def test_counts_are_of_compared_methods_without_random(
    rows: list[tuple[str, int, float, float]], words: list[str]
) -> None:
    text = explained_found(explained_rows(rows))
    assert all(word in text for word in words), text
    assert ("higher" in text) == ("none" not in text)


def test_the_table_has_both_classes_and_the_difference_of_the_attacked_one() -> None:
    columns = ["model", "method", "metric", "reference", "explained", "mean", "low", "high"]
    summary = pd.DataFrame(
        [
            ("m", "a", "saco", "", "clean_prediction", 0.1, 0.0, 0.2),
            ("m", "a", "saco", "", "prediction", 0.3, 0.2, 0.4),
        ],
        columns=columns,
    )
    text = explained_class(explained_rows([("a", 9, 0.2, 0.01)]), summary)
    assert "| m / a | 0.10 [0.00, 0.20] | 0.30 [0.20, 0.40] | 0.20 [0.15, 0.25], p = 0.01 |" in text
    assert "75 % of the images of m" in text
    assert "| not compared |" in explained_class(explained_rows([("a", 0, NAN, NAN)]), summary)
