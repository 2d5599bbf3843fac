"""Print the tables of docs/grid-task.md: how close every explainer comes to a right mask, from the tables of the study.

Run after `snakemake --configfile config/grid.yaml`:
    python tools/grid_task.py [results/tables [EXPERIMENT …]]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from provenance import made

from vitfaith.figures.drawing.style import Style
from vitfaith.tables.text import markdown_table

PAGES = {"grid": ("grid_3x3", "grid_5x5"), "grid-smoke": ("grid",)}
"""Page of tools/pages.yaml → experiments of its study."""


def board(folder: Path, experiment: str) -> str:
    """One experiment as Markdown, the best IoU first, of equal ones the more consistent."""
    tables = folder / f"experiment={experiment}"
    summary = pd.read_parquet(tables / "summary.parquet").astype({"method": str, "metric": str, "variant": str})
    scores = pd.read_parquet(tables / "scores.parquet").astype({"method": str, "metric": str})
    rows: Any = summary.set_index(["metric", "variant", "method"]).sort_index()
    inside = scores[scores.metric == "admissible_side"].groupby("method").value.mean()
    mask = rows.loc["admissible_mask"]
    order = mask["mean"].unstack(0)
    order["side"] = rows.loc["admissible_side", "consistency"]["mean"]
    order = order.sort_values(["iou", "side"], ascending=False).index
    head = ["explainer", "IoU", "exact", "best IoU", "AUROC", "consistency", "counted side", "SaCo", "n"]
    cells = []
    label = Style(labels={"diffmask_5x5": "DiffMask", "diffmask_per_image": "DiffMask, image by image"}).label
    for method in order:
        iou = mask.loc["iou", method]
        mean = {v: float(mask.loc[v, method]["mean"]) for v in ("exact", "best_iou", "auroc")}
        side = float(rows.loc["admissible_side", "consistency", method]["mean"])
        saco = float(rows.loc["saco"].xs(method, level="method")["mean"].iloc[0])
        shown = f"**{iou['mean']:.3f}** [{iou['low']:.3f}, {iou['high']:.3f}]"
        shares = [f"{mean[v]:.3f}" for v in mean]
        cells.append(
            [label(method), shown, *shares, *(f"{v:.2f}" for v in (side, inside[method], saco)), int(iou["n"])]
        )
    return markdown_table(head, cells)


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
