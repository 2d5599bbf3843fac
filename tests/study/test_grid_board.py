"""The table of the coloured grids: common images, and methods that are not compared."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from grid_task import board

MASK = ("iou", "exact", "best_iou", "auroc")


def summary_of(means: dict[str, tuple[bool, float]]) -> pd.DataFrame:
    rows = []
    names = [("admissible_mask", variant) for variant in MASK] + [("admissible_side", "consistency"), ("saco", "k=9")]
    for method, (compared, value) in means.items():
        for metric, variant in names:
            common = (value, value - 0.1, value + 0.1, 9) if compared else (float("nan"),) * 3 + (0,)
            own = (1 - value if compared else 0.91, value - 0.2, value + 0.2, 10 if compared else 4)
            rows.append((method, metric, variant, compared, *common, *own))
    columns = ["method", "metric", "variant", "compared"]
    return pd.DataFrame(
        rows, columns=[*columns, "mean", "low", "high", "n", "mean_own", "low_own", "high_own", "n_own"]
    )


def test_a_method_that_is_not_compared_comes_last_with_the_numbers_of_its_own_images(tmp_path: Path) -> None:
    folder = tmp_path / "experiment=grid"
    folder.mkdir()
    summary_of({"rare": (False, 0.9), "random": (True, 0.3), "rollout": (True, 0.5)}).to_parquet(
        folder / "summary.parquet"
    )
    sides = pd.DataFrame(
        [("rare", "a", 1.0), ("random", "a", 0.0), ("random", "b", 1.0), ("random", "c", 1.0), ("rollout", "a", 1.0), ("rollout", "b", 1.0)],
        columns=["method", "image_id", "value"],
    )  # fmt: skip
    sides.assign(metric="admissible_side").to_parquet(folder / "scores.parquet")
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in board(tmp_path, "grid").splitlines()]
    assert [row[1] for row in found[2:]] == [
        "**0.500** [0.400, 0.600]",
        "**0.300** [0.200, 0.400]",
        "**0.910** [0.700, 1.100]†",
    ]
    assert found[3][2:] == ["0.300", "0.300", "0.300", "0.30", "0.50", "0.30", "9"]
    assert found[4][2:] == ["0.910†", "0.910†", "0.910†", "0.91†", "1.00†", "0.91†", "4†"]
