"""Write docs/findings.md: the papers' claims on the default study's data, from its tables.

Run after the default study:  uv run python tools/findings.py > docs/findings.md
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from explained_findings import explained_class, explained_found
from findings_tables import interval, listed, markdown, read, share, top_patches
from provenance import changed, made

from vitfaith.statistics.paired import against

EXPERIMENT = "fashion_mnist"
ATTACKED_CLASS = "attacked_class"
TABLES = Path("results/tables")
CLEAN = "attack == 'clean' and smoothing == 'none'"
ABLATION = {
    ("last layer", "no gradient"): "raw_attention",
    ("all layers", "no gradient"): "rollout",
    ("last layer", "gradient"): "attention_gradcam",
    ("all layers", "gradient"): "transformer_mm",
}
EFFECTS = {
    "aggregating over all layers": (("rollout", "raw_attention"), ("transformer_mm", "attention_gradcam")),
    "weighting by gradients": (("attention_gradcam", "raw_attention"), ("transformer_mm", "rollout")),
}
"""What is said to raise SaCo → pairs (with it, without it)."""
DIRECTIONS = {"saco": 1, "insertion_auc": 1, "aopc": 1, "deletion_auc": -1, "log_odds": -1}
"""Metric → sign by which larger is better."""


def random_is_zero(summary: pd.DataFrame) -> str:
    """SaCo of random maps in every condition."""
    rows = summary.query("metric == 'saco' and method == 'random' and reference == ''")
    table = rows.assign(value=rows.apply(interval, axis=1, digits=3)).pivot(
        index=["model"], columns=["attack", "smoothing"], values="value"
    )
    table.columns = [", ".join(column) for column in table.columns]
    largest = rows["mean"].abs().max()
    verdict = "holds" if largest <= 0.03 else "does not hold everywhere"
    return (
        "## Random maps under SaCo\n\n"
        f"Expected within ±0.03; the largest absolute mean over the {len(rows)} conditions is {largest:.3f}: {verdict}. "
        f"n = {rows.n.min()} to {rows.n.max()} images.\n\n{markdown(table)}\n"
    )


def random_found(summary: pd.DataFrame) -> str:
    """In how many conditions random maps score zero."""
    rows = summary.query("metric == 'saco' and method == 'random' and reference == ''")
    zero = int(((rows.low <= 0) & (rows.high >= 0)).sum())
    return (
        f"Random maps have a mean SaCo whose interval contains 0 in {share(zero, len(rows))} conditions; the largest "
        f"absolute mean is {rows['mean'].abs().max():.3f}."
    )


def against_random(statistics: pd.DataFrame) -> pd.DataFrame:
    """Tests of all methods against Random on clean, undefended images; ``verdict`` is in the metric's own sense."""
    tests = against(statistics.query(CLEAN), "random", ["model", "metric", "variant"])
    signs = tests.metric.map(DIRECTIONS).astype(int)
    bounds = zip(signs * tests.low, signs * tests.high, tests.p_adjusted, strict=True)
    return tests.assign(verdict=[_verdict(min(pair), max(pair), p) for *pair, p in bounds])


def _verdict(low: float, high: float, p: float) -> str:
    """A verdict needs the test, which is of ranks, and the interval of the mean difference: the two can disagree."""
    if math.isnan(p):
        return "not compared"
    return "not distinguished" if p >= 0.05 or low <= 0 <= high else "better" if low > 0 else "worse"


def metrics_found(tests: pd.DataFrame) -> str:
    """Whether older metrics see the methods that SaCo finds better than Random."""
    verdicts = tests.pivot(index=["model", "method"], columns="metric", values="verdict")
    verdicts = verdicts[verdicts["saco"] != "not compared"]
    better = verdicts[verdicts["saco"] == "better"]
    worse = int((verdicts["saco"] == "worse").sum())
    first = (
        f"On clean images SaCo finds {share(len(better), len(verdicts))} pairs of model and method better than random maps"
        f"{f' and {worse} worse' if worse else ''}"
    )
    if better.empty:
        return f"{first}."
    older = {metric: int((better[metric] == "better").sum()) for metric in DIRECTIONS if metric != "saco"}
    supported = sum(older.values()) < 0.5 * len(better) * len(older)
    return (
        f"{first}; of these {len(better)}, older metrics find {listed([f'{n} ({m})' for m, n in older.items()])}, so the claim "
        f"that they miss what SaCo separates from random maps is {'' if supported else 'not '}supported here."
    )


def beats_random(tests: pd.DataFrame) -> str:
    """Which methods each metric distinguishes from Random, and in which direction."""
    parts = []
    for model, group in tests.groupby("model", observed=True):
        bold = group.verdict.replace({"better": "**better**", "worse": "**worse**"})
        group = group.assign(
            cell=[v if math.isnan(p) else f"{v} (p = {p:.2g})" for v, p in zip(bold, group.p_adjusted, strict=True)]
        )
        parts.append(f"### {model}\n\n{markdown(group.pivot(index='method', columns='metric', values='cell'))}\n")
    return (
        "## Which metrics distinguish which methods from Random\n\n"
        "Paired Wilcoxon signed-rank tests over images, clean and undefended, p adjusted by Holm over the tests against "
        "Random of a metric and model. Better and worse, in the metric's own sense: p below 0.05, and an interval of the mean difference without 0.\n\n"
        + "\n".join(parts)
    )


def ablation_found(statistics: pd.DataFrame) -> str:
    """How often gradients and layers raise SaCo, by the interval of the paired difference."""
    pairs = statistics.query(f"{CLEAN} and metric == 'saco'").set_index(["method", "opponent"]).sort_index()
    told, everywhere = [], True
    for effect, compared in EFFECTS.items():
        rows = pd.concat([pairs.loc[[pair]] for pair in compared]).query("n > 0")
        raised, lowered = int((rows.low > 0).sum()), int((rows.high < 0).sum())
        everywhere &= raised == len(rows)
        told.append(
            f"{effect} raises SaCo in {share(raised, len(rows))} comparisons{f' and lowers it in {lowered}' if lowered else ''}"
        )
    text = "; ".join(told)
    return (
        f"{text[0].upper()}{text[1:]} (intervals of paired differences), so the claim that both raise SaCo "
        f"{'holds' if everywhere else 'does not hold'} in every comparison."
    )


def ablation(summary: pd.DataFrame) -> str:
    """The 2 × 2 of gradient and number of layers."""
    parts = []
    for model, group in summary.query(f"{CLEAN} and metric == 'saco' and reference == ''").groupby(
        "model", observed=True
    ):
        values = group.set_index("method").apply(interval, axis=1, digits=3)
        table = pd.DataFrame(index=["last layer", "all layers"], columns=["no gradient", "gradient"])
        for (layers, gradient), method in ABLATION.items():
            table.loc[layers, gradient] = f"{values[method]} ({method})"
        parts.append(f"### {model}\n\n{markdown(table)}\n")
    return (
        "## Gradients and layers\n\nThe SaCo paper reports that weighting by gradients and aggregating over layers both "
        "raise SaCo (ImageNet, mean of three models: .18, .25, .38, .46). Here:\n\n" + "\n".join(parts)
    )


def accuracies(predictions: pd.DataFrame) -> pd.DataFrame:
    """Share of right predictions (``mean``) and their number (``count``) by model, smoothing and attack."""
    hits = predictions.assign(hit=predictions.prediction == predictions.label)
    return hits.groupby(["model", "smoothing", "attack"], observed=True).hit.agg(["mean", "count"])


def robustness_found(summary: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """How much the attacks take from predictions and from top patches, without smoothing and behind it."""
    accuracy = accuracies(predictions)["mean"].unstack("attack")
    falls = -accuracy.drop(columns="clean").sub(accuracy["clean"], axis=0)
    lost = falls.max(axis=1).groupby("smoothing").max().clip(lower=0)
    costs = (accuracy["clean"].xs("none", level="smoothing") - accuracy["clean"].xs("dds", level="smoothing")).max()
    wide = (
        top_patches(summary)
        .query("method != 'random'")
        .pivot(index=["model", "method", "attack"], columns="smoothing", values=["low", "high"])
    )
    wide = wide.dropna()
    closer = int((wide["low", "dds"] > wide["high", "none"]).sum())
    return (
        f"The attacks lower accuracy by up to {lost['none']:.2f} without smoothing and by up to {lost['dds']:.2f} behind `dds`; "
        f"on clean images `dds` costs up to {max(costs, 0):.2f}. Under attack, maps keep more of the top 20 % of patches of the clean "
        f"image behind `dds` than without it in {share(closer, len(wide))} cells (intervals that do not meet). These attacks "
        "do not see the smoothing: [others do](certified-findings.md), and certificates are there, too."
    )


def robustness(summary: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Accuracy and top-k overlap with and without smoothing."""
    accuracy = accuracies(predictions)
    table = accuracy["mean"].unstack("attack").map(lambda v: f"{v:.3f}")
    overlap = top_patches(summary)
    overlap = overlap.assign(value=overlap.apply(interval, axis=1, digits=3)).pivot(
        index=["model", "method"], columns=["attack", "smoothing"], values="value"
    )
    overlap.index = [" / ".join(i) for i in overlap.index]
    overlap.columns = [", ".join(column) for column in overlap.columns]
    table.index = [" / ".join(i) for i in table.index]
    return (
        "## Attacks and smoothing\n\nAccuracy on "
        f"{accuracy['count'].min()} images (behind `dds`: arg-max of the mean probability):\n\n{markdown(table)}\n\n"
        "Overlap of the top 20 % of patches with the map of the clean image behind the same smoothing (random maps are keyed by the image and do not look at it, so theirs is 1 by construction). The attacks are "
        "aimed at the undefended classifier's prediction, neither at the explanation nor through the smoothing: what follows is "
        "measured and proves nothing; [certificates](certified-findings.md) do.\n\n" + markdown(overlap) + "\n"
    )


OTHERS = """## Other studies

- [Natural images with known objects](stamps-findings.md): 28 explainers on a ViT-S/14, faithfulness beside localisation;
  16 of them, [each cut-out scored by a network that has not seen it](stamps-crossfit.md).
- [Attacks, smoothing and what is proved](certified-findings.md).
- [DiffMask's Table 1](diffmask.md#table-1), and [a counting task with exact ground truth](grid-task.md).
"""


def main() -> None:
    """Print the document."""
    summary, statistics, predictions = (
        read(TABLES, EXPERIMENT, name) for name in ("summary", "statistics", "predictions")
    )
    explained, both_classes = (read(TABLES, ATTACKED_CLASS, name) for name in ("explained", "summary"))
    tests = against_random(statistics)
    found = [
        random_found(summary),
        metrics_found(tests),
        ablation_found(statistics),
        robustness_found(summary, predictions),
        explained_found(explained),
    ]
    print(
        f"# Findings on the default study\n\n{' '.join(found)}\n\n{made('findings', Path('results'), [EXPERIMENT, ATTACKED_CLASS])}\n"
    )
    print(random_is_zero(summary))
    print(beats_random(tests))
    print(ablation(summary))
    print(robustness(summary, predictions))
    print(explained_class(explained, both_classes))
    print(OTHERS + changed("findings"), end="")


if __name__ == "__main__":
    main()
