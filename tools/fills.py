"""Print the table of docs/fills.md: SaCo of every explainer under each fill of the study, from its tables.

Run after `snakemake --configfile config/fills.yaml`:  python tools/fills.py [results]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from provenance import made

from vitfaith.figures.drawing.style import Style
from vitfaith.order import natural
from vitfaith.tables.text import markdown_table

FILLS = {
    "saco_image_mean": "image mean",
    "saco_noise": "noise",
    "saco_blur": "blur",
    "saco_noisy_linear": "noisy linear",
    "saco_placeholder": "placeholder",
    "saco_diffusion": "diffusion",
    "saco_black": "black",
}
"""Metric of the study → heading of its column."""


def fills_table(summary: pd.DataFrame) -> str:
    """Mean SaCo, methods by fills, model after model in the order of the first fill; the best of each fill and model is bold."""
    rows = summary[summary["metric"].isin(FILLS) & (summary["reference"] == "")].astype({"model": str, "method": str})
    lines = []
    for model in sorted(rows["model"].unique(), key=natural):
        means = rows[rows["model"] == model].pivot(index="method", columns="metric", values="mean")[list(FILLS)]
        best, first = means.max(), f"`{model}`"
        for method, values in means.sort_values(next(iter(FILLS)), ascending=False).iterrows():
            cells = [f"{v:.2f}".replace("-", "−") for v in values]
            bold = [f"**{cell}**" if v == top else cell for cell, v, top in zip(cells, values, best, strict=True)]
            lines.append([first, Style().label(str(method)), *bold])
            first = ""
    return markdown_table(["model", "method", *FILLS.values()], lines)


def main() -> None:
    """Print the line of provenance and the table."""
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    print(f"{made('fills', results)}\n")
    print(fills_table(pd.read_parquet(results / "tables" / "experiment=fills" / "summary.parquet")))


if __name__ == "__main__":
    main()
