"""Print the tables of docs/grid-task.md: how close every explainer comes to a right mask, from the tables of the study.

Run after `snakemake --configfile config/grid.yaml`:
    python tools/grid_task.py [results/tables [EXPERIMENT …]]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from findings_tables import read
from provenance import made

from vitfaith.figures.drawing.style import Style
from vitfaith.tables.text import markdown_table

PAGES = {"grid": ("grid_3x3", "grid_5x5"), "grid-smoke": ("grid",)}
"""Page of tools/pages.yaml → experiments of its study."""


OWN = "†"
"""After the numbers of a method that is not compared: they are over its own images."""


def board(folder: Path, experiment: str) -> str:
    """One experiment as Markdown, the best IoU first, of equal ones the more consistent; methods that are not compared come last."""
    summary = read(folder, experiment, "summary")
    scores = read(folder, experiment, "scores")
    rows: Any = summary.set_index(["metric", "variant", "method"]).sort_index()
    inside = scores[scores.metric == "admissible_side"].groupby("method").value.mean()
    mask, sides = rows.loc["admissible_mask"], rows.loc["admissible_side", "consistency"]
    saco = rows.loc["saco"].droplevel("variant")
    order = mask.loc["iou"][["compared", "mean_own"]].assign(side=sides["mean_own"])
    order = order.sort_values(["compared", "mean_own", "side"], ascending=False).index
    head = ["explainer", "IoU", "exact", "best IoU", "AUROC", "consistency", "counted side", "SaCo", "n"]
    label = Style(labels={"diffmask_5x5": "DiffMask", "diffmask_per_image": "DiffMask, image by image"}).label
    cells = []
    for method in order:
        iou = mask.loc["iou", method]
        number, low, high = (iou[of(iou, name)] for name in ("mean", "low", "high"))
        cells.append(
            [
                label(method),
                f"**{number:.3f}** [{low:.3f}, {high:.3f}]{mark(iou)}",
                *(cell(mask.loc[variant, method], 3) for variant in ("exact", "best_iou", "auroc")),
                cell(sides.loc[method], 2),
                f"{inside[method]:.2f}",
                cell(saco.loc[method], 2),
                f"{iou[of(iou, 'n')]}{mark(iou)}",
            ]
        )
    return markdown_table(head, cells)


def mark(row: pd.Series) -> str:
    """The mark of a method that is not compared."""
    return "" if row["compared"] else OWN


def of(row: pd.Series, name: str) -> str:
    """The column with a number: over the images on which all methods have a map, or of a method that is not compared over its own."""
    return name if row["compared"] else f"{name}_own"


def cell(row: pd.Series, digits: int) -> str:
    """The mean of a row of the summary."""
    return f"{row[of(row, 'mean')]:.{digits}f}{mark(row)}"


def main() -> None:
    """Print the line of provenance and the experiments, by default both of the study."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/tables")
    experiments = sys.argv[2:] or PAGES["grid"]
    name = next((page for page, asked in PAGES.items() if list(asked) == list(experiments)), "grid")
    print(f"{made(name, folder.parent, experiments)}\n")
    for experiment in experiments:
        print(f"### {experiment}\n\n{board(folder, experiment)}\n")


if __name__ == "__main__":
    main()
