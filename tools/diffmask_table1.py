"""Print Table 1 of docs/diffmask.md, what removals along each explainer's order cost, from the tables of config/diffmask.yaml.

Run after `snakemake --configfile config/diffmask.yaml`:  python tools/diffmask_table1.py [results]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from findings_tables import read
from provenance import made

from vitfaith.tables.text import markdown_table

MODELS = ("vit_patch4", "vit_patch2")
METHODS = {
    "diffmask": "diffmask",
    "rollout": "rollout",
    "rollout_discard": "rollout, discard 0.9",
    "transformer_mm": "transformer_mm",
    "attention_gradcam": "attention_gradcam",
    "token_gradcam": "token_gradcam",
    "random": "random",
}
"""Explainer of the study → its name in the table."""
COLUMNS = {
    "diffmask_positive_nll": ("−log p pos. ↑", 1),
    "diffmask_negative_nll": ("−log p neg. ↓", 1),
    "kl_positive": ("KL pos. ↑", 2),
    "kl_negative": ("KL neg. ↓", 2),
    "kl_positive_placeholder": ("KL pos., placeholder ↑", 2),
    "kl_negative_placeholder": ("KL neg., placeholder ↓", 2),
}
"""Metric of the study → heading of its column, and decimals."""


def table1(summary: pd.DataFrame) -> str:
    """Means, methods by metrics, model after model; the best of each metric and model is bold."""
    rows = summary[summary["metric"].isin(COLUMNS)]
    lines = []
    for model in [model for model in MODELS if model in set(rows["model"])]:
        means = rows[rows["model"] == model].pivot(index="method", columns="metric", values="mean")
        means = means.loc[list(METHODS), list(COLUMNS)]
        best = {name: means[name].max() if "↑" in head else means[name].min() for name, (head, _) in COLUMNS.items()}
        first = model
        for method, values in means.iterrows():
            cells = [f"{values[name]:.{digits}f}" for name, (_, digits) in COLUMNS.items()]
            marked = [f"**{c}**" if values[name] == best[name] else c for c, name in zip(cells, COLUMNS, strict=True)]
            lines.append([first, METHODS[str(method)], *marked])
            first = ""
    return markdown_table(["model", "method", *(head for head, _ in COLUMNS.values())], lines)


def spread(summary: pd.DataFrame) -> str:
    """Images, half widths of the intervals, and how far DiffMask's two read-outs are apart, as shares of the values in the table."""
    rows = summary[summary["metric"].isin(COLUMNS)].set_index(["model", "metric", "method"])
    shown = rows[rows.index.get_level_values("method").isin(METHODS)]
    half = (shown["high"] - shown["low"]) / 2 / shown["mean"]
    expected, official = (rows["mean"].xs(name, level="method") for name in ("diffmask", "diffmask_official"))
    apart = (official / expected - 1).abs().max()
    return (
        f"n from {shown['n'].min()} to {shown['n'].max()}. Half widths of the 95 % intervals: {half.median():.0%} of the value in the "
        f"middle, {half.max():.0%} at most. The read-outs Π P(z > 0) and E[z] differ by {apart:.1%} at most."
    )


def main() -> None:
    """Print the table."""
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    summary = read(results / "tables", "diffmask_table1", "summary")
    print(f"{made('diffmask-table1', results)}\n\n{table1(summary)}\n\n{spread(summary)}")


if __name__ == "__main__":
    main()
