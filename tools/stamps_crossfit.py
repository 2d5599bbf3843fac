"""Write docs/stamps-crossfit.md: the cut-outs of config/stamps.yaml, each scored by a network that has not seen it.

After `bash tools/stamps.sh`, 1½ hours on two cores; a stopped run continues:
    python tools/stamps_crossfit.py OUT [--cores 2] > docs/stamps-crossfit.md
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from findings_tables import read
from provenance import changed, made
from stamps_findings import board_found, by_saco, wide
from stamps_folds import write_studies
from study_run import run_study

from vitfaith.compare.folder import read_folds
from vitfaith.compare.show import results_table
from vitfaith.statistics.intervals import confidence_interval
from vitfaith.tables.text import markdown_table

NAME = "stamps-crossfit"
STATISTICS = {"confidence": 0.95, "resamples": 2000, "seed": 0, "coverage": 0.9}


def accuracies(folders: Sequence[Path], scores: pd.DataFrame) -> str:
    """Accuracy on the scored images of all folds, with an interval over cut-outs, and what the trainings took."""
    hits = pd.concat([read(folder / "tables", "explainers", "predictions") for folder in folders])
    cluster = scores.drop_duplicates("image_id").set_index("image_id")["cluster"]
    right = (hits["prediction"] == hits["label"]).astype(float).to_numpy()
    mean, low, high = confidence_interval(right, clusters=list(cluster.reindex(hits["image_id"])))
    logs = [pd.read_parquet(folder / "train/classifier/vit_small.log.parquet").iloc[-1] for folder in folders]
    reached = ", ".join(f"{log['test_accuracy']:.3f}" for log in logs)
    return (
        f"Accuracy {mean:.3f} [{low:.3f}, {high:.3f}] on the {len(hits)} scored images; on one image of each held-out cut-out, fold by "
        f"fold, {reached}. The trainings took {sum(log['seconds'] for log in logs):.0f} s together.\n"
    )


def pooled(folders: Sequence[Path]) -> pd.DataFrame:
    """Mean and interval of every score over the images of all folds."""
    text = results_table(folders, {}, "csv", baseline="random", statistics=STATISTICS)
    summary = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=["nan", "NaN"])
    for column in ("n", "mean", "low", "high"):
        summary[column] = pd.to_numeric(summary[column], errors="coerce")
    return summary


def board(summary: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Every explainer by faithfulness and localisation, how wide the intervals are, and how far the two agree."""
    table, agreement = by_saco(summary)
    widths = wide(summary.assign(width=summary["high"] - summary["low"]), "width")
    images, cutouts = scores["image_id"].nunique(), scores["cluster"].nunique()
    return (
        f"## All explainers\n\nClean images; means over n = {images} images of {cutouts} cut-outs with 95 % bootstrap intervals over whole "
        f"cut-outs, in the order of SaCo. The intervals do not contain what other networks or other photographs would change.\n\n{table}\n\n"
        f"{agreement}\n\n"
        + markdown_table(["width of the 95 % interval", "median over methods", "largest"],
                         [[name, f"{widths[name].median():.3f}", f"{widths[name].max():.3f}"] for name in widths.columns])
        + "\n"
    )  # fmt: skip


def per_cutout(scores: pd.DataFrame) -> str:
    """Fewest and most scored images of a cut-out."""
    images = scores.groupby("cluster")["image_id"].nunique()
    return f"{images.min()} to {images.max()}"


def found(summary: pd.DataFrame, scores: pd.DataFrame) -> str:
    """The first paragraph: on how many images of networks that have not seen them, and what the board comes to."""
    return (
        f"Every scored image is of a cut-out that its network has not seen: {scores['image_id'].nunique()} images of "
        f"{scores['cluster'].nunique()} cut-outs. {board_found(summary)}"
    )


def main() -> None:
    """Run what is missing and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    places = write_studies(given.out.resolve())
    for place in places:
        run_study(place / "study.yaml", place, ["scores"], given.cores)
    folders = [place / "results" for place in places]
    scores, summary = read_folds(folders, {}), pooled(folders)
    line = made(
        NAME,
        folders,
        ["explainers"],
        f"95 % intervals from {STATISTICS['resamples']:,} bootstrap resamples of whole cut-outs",
    )
    print(
        f"# Natural images, cross-fitted\n\n{found(summary, scores)}\n\n{line}\n\n"
        "The cut-outs of `config/stamps.yaml` in five folds; each fold is scored by a ViT-S/14 that was "
        f"fine-tuned on the other four. A cut-out has {per_cutout(scores)} scored images, each at its own place and scale, on a photograph that no "
        "training used. 112 px. Attacks, smoothing and "
        "all explainers are in [the study of one split](stamps-findings.md).\n\n"
        f"{accuracies(folders, scores)}\n{board(summary, scores)}{changed(NAME)}",
        end="",
    )


if __name__ == "__main__":
    main()
