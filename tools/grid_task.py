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
    mask, sides = rows.loc["admissible_mask"], rows.loc["admissible_side", "consistency"]
    saco = rows.loc["saco"].droplevel("variant")
    inside = counted_side(scores, sides)
    places = pd.DataFrame(
        {"compared": mask.loc["iou"]["compared"], "iou": shown(mask.loc["iou"]), "side": shown(sides)}
    )
    places = places.sort_values(["compared", "iou", "side"], ascending=False)
    head = ["explainer", "IoU", "exact", "best IoU", "AUROC", "consistency", "counted side", "SaCo", "n, masks"]
    label = Style(labels={"diffmask_5x5": "DiffMask", "diffmask_per_image": "DiffMask, image by image"}).label
    cells = []
    for method in map(str, places.index):
        iou = mask.loc["iou", method]
        number, low, high = (iou[of(iou, name)] for name in ("mean", "low", "high"))
        cells.append(
            [
                label(method),
                f"**{number:.3f}** [{low:.3f}, {high:.3f}]{mark(iou)}",
                *(cell(mask.loc[variant, method], 3) for variant in ("exact", "best_iou", "auroc")),
                cell(sides.loc[method], 2),
                f"{inside[method]:.2f}{mark(sides.loc[method])}",
                cell(saco.loc[method], 2),
                f"{iou[of(iou, 'n')]}{mark(iou)}",
            ]
        )
    return markdown_table(head, cells)


def counted_side(scores: pd.DataFrame, sides: pd.DataFrame) -> pd.Series:
    """Method → share of images on whose counted side its map is: images that all compared methods have, or of the others their own."""
    values = scores[scores.metric == "admissible_side"].pivot(index="image_id", columns="method", values="value")
    compared = sides.index[sides["compared"]]
    return pd.concat([values[compared].dropna().mean(), values.drop(columns=compared).mean()])


def shown(rows: pd.DataFrame) -> pd.Series:
    """The means that the table shows."""
    return rows["mean"].where(rows["compared"], rows["mean_own"])


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
