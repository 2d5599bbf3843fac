"""Write docs/findings.md: the papers' claims on the default study's data, from its tables.

Run after the default study:  uv run python tools/findings.py > docs/findings.md
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from findings_tables import markdown

from vitfaith.statistics.paired import against

TABLES = Path("results/tables/experiment=fashion_mnist")
CLEAN = "attack == 'clean' and smoothing == 'none'"
ABLATION = {
    ("last layer", "no gradient"): "raw_attention",
    ("all layers", "no gradient"): "rollout",
    ("last layer", "gradient"): "attention_gradcam",
    ("all layers", "gradient"): "transformer_mm",
}


def interval(row: pd.Series) -> str:
    """Mean and interval as text; those over its own images for a method that is not compared."""
    if row["compared"]:
        return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    return f"not compared; {row['mean_own']:.3f} on {row['n_own']} of {row['asked']} images"


def random_is_zero(summary: pd.DataFrame) -> str:
    """SaCo of random maps in every condition."""
    rows = summary.query("metric == 'saco' and method == 'random' and reference == ''")
    table = rows.assign(value=rows.apply(interval, axis=1)).pivot(
        index=["model"], columns=["attack", "smoothing"], values="value"
    )
    table.columns = [", ".join(column) for column in table.columns]
    largest = rows["mean"].abs().max()
    verdict = "holds" if largest <= 0.03 else "does not hold everywhere"
    return (
        "## Random maps score zero under SaCo\n\n"
        f"Expected within ±0.03; the largest absolute mean over the {len(rows)} conditions is {largest:.3f}: {verdict}. "
        f"n = {rows.n.min()} images each.\n\n{markdown(table)}\n"
    )


def beats_random(statistics: pd.DataFrame, directions: dict[str, int]) -> str:
    """Which methods each metric distinguishes from Random, and in which direction."""
    parts = []
    tests = against(statistics.query(CLEAN), "random", ["model", "metric", "variant"])
    for model, group in tests.groupby("model", observed=True):
        group = group.assign(sign=group.metric.map(directions).astype(int) * group.difference)
        group["cell"] = [
            "not compared"
            if math.isnan(p)
            else ("**better**" if s > 0 and p < 0.05 else "**worse**" if s < 0 and p < 0.05 else "not distinguished")
            + f" (p = {p:.1e})"
            for s, p in zip(group.sign, group.p_adjusted, strict=True)
        ]
        parts.append(f"### {model}\n\n{markdown(group.pivot(index='method', columns='metric', values='cell'))}\n")
    return (
        "## Which metrics distinguish which methods from Random\n\n"
        "Paired Wilcoxon signed-rank tests over images, clean and undefended, p adjusted by Holm over the tests against "
        "Random of a metric and model; better and worse in the metric's own sense at 0.05.\n\n" + "\n".join(parts)
    )


def ablation(summary: pd.DataFrame) -> str:
    """The 2 × 2 of gradient and number of layers."""
    parts = []
    for model, group in summary.query(f"{CLEAN} and metric == 'saco' and reference == ''").groupby(
        "model", observed=True
    ):
        values = group.set_index("method").apply(interval, axis=1)
        table = pd.DataFrame(index=["last layer", "all layers"], columns=["no gradient", "gradient"])
        for (layers, gradient), method in ABLATION.items():
            table.loc[layers, gradient] = f"{values[method]} ({method})"
        parts.append(f"### {model}\n\n{markdown(table)}\n")
    return (
        "## Gradients and layers\n\nThe SaCo paper reports that weighting by gradients and aggregating over layers both "
        "raise SaCo (ImageNet, mean of three models: .18, .25, .38, .46). Here:\n\n" + "\n".join(parts)
    )


def robustness(summary: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Accuracy and top-k overlap with and without smoothing."""
    hits = predictions.assign(hit=predictions.prediction == predictions.label)
    accuracy = hits.groupby(["model", "smoothing", "attack"], observed=True).hit.agg(["mean", "count"])
    table = accuracy["mean"].unstack("attack").map(lambda v: f"{v:.3f}")
    overlap = summary.query("metric == 'top_k_overlap' and reference == 'clean' and variant == 'k=0.2'")
    overlap = overlap.assign(value=overlap.apply(interval, axis=1)).pivot(
        index=["model", "method"], columns=["attack", "smoothing"], values="value"
    )
    overlap.index = [" / ".join(i) for i in overlap.index]
    overlap.columns = [", ".join(column) for column in overlap.columns]
    table.index = [" / ".join(i) for i in table.index]
    return (
        "## Attacks and smoothing\n\nAccuracy on "
        f"{accuracy['count'].min()} images (behind `dds`: arg-max of the mean probability):\n\n{markdown(table)}\n\n"
        "Overlap of the top 20 % of patches with the map of the clean image behind the same smoothing (random maps are keyed by the image and do not look at it, so theirs is 1 by construction). The attacks are "
        "aimed at the undefended classifier's prediction, neither at the explanation nor through the smoothing, and "
        "their l2 length is far beyond any certified radius: what follows is empirical.\n\n" + markdown(overlap) + "\n"
    )


OTHERS = """## Other studies

- [Natural images with known objects](stamps-findings.md): 28 explainers on a ViT-S/14, faithfulness beside localisation.
- [Attacks, smoothing and what is proved](certified-findings.md).
- [DiffMask's Table 1](diffmask.md#table-1), and [a counting task with exact ground truth](grid-task.md).
"""


def main() -> None:
    """Print the document."""
    summary = pd.read_parquet(TABLES / "summary.parquet")
    statistics = pd.read_parquet(TABLES / "statistics.parquet")
    predictions = pd.read_parquet(TABLES / "predictions.parquet")
    for frame in (summary, statistics, predictions):
        for column in frame.select_dtypes("category"):
            frame[column] = frame[column].astype(str)
    directions = {"saco": 1, "insertion_auc": 1, "aopc": 1, "deletion_auc": -1, "log_odds": -1}
    print("# Findings on the default study\n\nWritten by `uv run python tools/findings.py` from `results/tables`.\n")
    print(random_is_zero(summary))
    print(beats_random(statistics, directions))
    print(ablation(summary))
    print(robustness(summary, predictions))
    print(OTHERS, end="")


if __name__ == "__main__":
    main()
