"""Print the tables of docs/vit-shapley.md: error against exact Shapley values, and the place of vit_shapley in leaderboards.

python tools/vit_shapley.py exact [images]                    # nine cells, all 512 sets; needs no run
python tools/vit_shapley.py board RESULTS EXPERIMENT [PAGE]   # clean images of a run, from its tables; PAGE of tools/pages.yaml
    [--trainings]                                             # and where the run's trainings ended, from their logs
"""

from __future__ import annotations

import sys
import time
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from provenance import line, made
from torch import Tensor

from vitfaith.api.summary import leaderboard
from vitfaith.datasets.opening import open_source
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.shapley.files import load_shapley
from vitfaith.explainers.shapley.kernel import size_probabilities
from vitfaith.explainers.shapley.network import Game
from vitfaith.figures.drawing.names import decimal
from vitfaith.figures.drawing.style import Style
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import load_classifier
from vitfaith.shipped import located
from vitfaith.study.load import load_study, read_yaml
from vitfaith.tables.text import markdown_table

STUDY, DATASET, MODEL = Path(__file__).parents[1] / "config" / "grid.yaml", "grid_3x3", "vit_grid_3x3"
SEED = 2024
"""Of the studies, and of the bootstrap in their tables."""
SHOWN = {
    ("admissible_mask", "auroc"): "AUROC of a right mask ↑",
    ("admissible_mask", "iou"): "IoU of a right mask ↑",
    ("deletion_auc", ""): "Deletion ↓",
    ("insertion_auc", ""): "Insertion ↑",
    ("saco", ""): "SaCo ↑",
    ("localisation_ap", ""): "Average precision of the object ↑",
}
"""(metric, variant; empty: any) → heading."""


def weights(players: int) -> tuple[Tensor, Tensor]:
    """All sets (2^n, n) bool, and the matrix (n, 2^n) float64 that makes Shapley values of their values."""
    sets = [s for k in range(players + 1) for s in combinations(range(players), k)]
    members = torch.zeros(len(sets), players, dtype=torch.bool)
    matrix = torch.zeros(players, len(sets), dtype=torch.float64)
    for column, s in enumerate(sets):
        members[column, list(s)] = True
        for i in range(players):
            size = len(s) - (i in s)
            share = factorial(size) * factorial(players - size - 1) / factorial(players)
            matrix[i, column] = share if i in s else -share
    return members, matrix


def values_of_sets(game: Game, classifier: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """v (B, 2^n) float64 of every set of patches, for the targets' probabilities."""
    members, _ = weights(classifier.grid[0] * classifier.grid[1])
    rows = zip(images, targets, strict=True)
    return torch.stack([game.of_sets(x[None], members[None], classifier.patches)[0, :, y].double() for x, y in rows])


def objective(maps: Tensor, values: Tensor) -> float:
    """E_S[(v(S) − v(∅) − Σ φ)²] over all proper sets with the probabilities of the Shapley kernel, mean over images."""
    flat = maps.flatten(1).double()
    members, _ = weights(flat.shape[1])
    sizes = members.sum(1)
    of_size = torch.bincount(sizes).double()
    kernel = torch.cat([torch.zeros(1), size_probabilities(flat.shape[1]), torch.zeros(1)]).double() / of_size
    missed = values - values[:, :1] - flat @ members.double().T
    return float((missed**2 @ kernel[sizes]).mean())


def errors(maps: Tensor, truth: Tensor) -> list[float]:
    """Mean absolute error of a cell, share of the variance over cells that is explained, mean correlation over images.

    Correlations are over images whose exact values differ between cells.
    """
    flat, true = maps.flatten(1).double(), truth.flatten(1)
    shares = true.mean(1, keepdim=True)  # what an efficient map without any knowledge gives each cell
    differ = (true.std(1) > 1e-3) & (flat.std(1) > 0)
    pairs = zip(flat[differ].numpy(), true[differ].numpy(), strict=True)
    rows = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    missed = float(((flat - true) ** 2).sum() / ((shares - true) ** 2).sum())
    return [float((flat - true).abs().mean()), 1 - missed, float(np.mean(rows)) if rows else float("nan")]


def against_exact(count: int) -> str:
    """Errors and right masks of the head, of exact values and of equal shares, on the first test grids."""
    study = load_study(read_yaml(STUDY))
    section, source = study.models[MODEL], open_source(study.datasets[DATASET][0].spec())
    classifier = load_classifier(section.spec(), Path(str(section.weights)), "cpu")
    first, ids = np.arange(count), source.image_ids[:count]
    images = torch.from_numpy(source.read(first)).float() / 255
    truths = torch.from_numpy(np.stack(list(source.masks(first))))  # type: ignore[misc, arg-type]
    with torch.inference_mode():
        targets = classifier(images).argmax(1)
    file = located("vitfaith:shapley") + f"/{MODEL}.safetensors"
    head = {"vit_shapley": EXPLAINERS.item("vit_shapley", weights=file)}
    maps = explain(classifier, images, targets, ids, head, seed=study.seed, batch_size=64)["vit_shapley"]
    _, game = load_shapley(Path(file), classifier)
    start = time.perf_counter()
    values = values_of_sets(game, classifier, images, targets)
    truth = (values @ weights(values.shape[1].bit_length() - 1)[1].T).unflatten(1, classifier.grid)
    seconds = time.perf_counter() - start
    # Shapley values of the network itself, whose answers to removed cells are not in its domain
    items = {"kernel_shap": EXPLAINERS.item("kernel_shap", fill=game.fill)}
    own = explain(classifier, images, targets, ids, items, seed=study.seed, batch_size=512)["kernel_shap"]
    shown = {
        "exact values": truth,
        "ViT-Shapley": maps,
        "equal shares": truth.mean((1, 2), keepdim=True).expand_as(truth),
        "exact values of the network itself, cells black": own,
    }
    metrics = {"admissible_mask": METRICS.item("admissible_mask")}
    scored = evaluate(
        classifier, images, targets, ids, {name: found.float() for name, found in shown.items()}, metrics,
        truth=truths,
    ).scores.to_pandas()  # fmt: skip
    means = scored.groupby(["method", "metric", "variant"], observed=True).value.mean()
    rows = []
    for name, found in shown.items():
        told = [f"{v:.4f}" for v in errors(found, truth)]
        told[2:] = told[2:] if name != "equal shares" else [""]
        told.append("" if found is own else f"{objective(found, values):.5f}")
        right = [means.get((name, "admissible_mask", v), np.nan) for v in ("iou", "auroc")]
        rows.append([name, *told, *("" if np.isnan(v) else f"{v:.3f}" for v in right)])
    spread = (truth - truth.mean((1, 2), keepdim=True)).abs().mean()
    facts = (
        f"First {count} test grids, predicted class, seed {study.seed}; v is known at all 512 sets ({seconds:.0f} s). "
        f"A cell's exact value is on average {spread:.4f} away from an equal share.\n\n"
    )
    return facts + markdown_table(
        ["map", "mean absolute error", "variance explained", "correlation", "objective", "IoU", "AUROC"], rows
    )


def place(scores: pd.DataFrame) -> str:
    """Where vit_shapley stands among the compared explainers of each model on clean images, by the scores of SHOWN."""
    clean = scores.query("attack == 'clean' and smoothing == 'none'").astype({"metric": str, "variant": str})
    names = zip(clean["metric"], clean["variant"], strict=True)
    headings = [SHOWN.get((metric, variant)) or SHOWN.get((metric, ""), "") for metric, variant in names]
    clean = clean.assign(score=headings)
    table = leaderboard(clean[clean["score"] != ""], by=["model", "score"], seed=SEED)
    label, rows = Style().label, []
    for model, of_model in table.groupby("model", observed=True):
        if "vit_shapley" not in set(of_model["method"]):
            continue
        for score in [heading for heading in SHOWN.values() if heading in set(of_model["score"])]:
            board = of_model[of_model["score"] == score].set_index("method")
            own, compared = board.loc["vit_shapley"], board[board["compared"]]
            best = compared.drop(index="vit_shapley")["mean"].head(1)
            mean, low, high, first, chance = (
                decimal(v, 3) for v in (*own[["mean", "low", "high"]], best.iloc[0], board.loc["random", "mean"])
            )
            of = f"{own['rank']} of {len(compared)}"
            other = f"{label(str(best.index[0]))} {first}"
            rows.append([f"`{model}`", score, f"{mean} [{low}, {high}]", own["n"], of, other, chance])
    return markdown_table(
        ["model", "score", "mean [95 % interval]", "n", "place", "best other explainer", "random"], rows
    )


def trainings(results: Path) -> str:
    """Where the trainings of classifiers and heads of a run ended: the last rows of their logs."""
    logs = {f"`{_trained(file)}`": file for file in sorted(results.glob("train/classifier/*.log.parquet"))}
    logs |= {f"head for `{_trained(file)}`": file for file in sorted(results.glob("train/shapley/*/*.log.parquet"))}
    rows = []
    for name, file in logs.items():
        last = pd.read_parquet(file).iloc[-1]
        rates = [f"{last[key]:.3f}" if key in last else "" for key in ("test_accuracy", "removed_accuracy")]
        head = "test_explained" in last
        errors = [f"{last['test_loss']:.5f}", f"{100 * last['test_explained']:.1f} %"] if head else ["", ""]
        rows.append([name, *rates, *errors, f"{last['seconds']:.0f}"])
    return markdown_table(
        ["network", "accuracy", "patches removed", "held-out error", "below equal shares", "seconds"], rows
    )


def _trained(log: Path) -> str:
    """The model of a log."""
    return log.name.removesuffix(".log.parquet")


def main() -> None:
    """Print what is asked for."""
    torch.set_num_threads(1)
    what, *rest = sys.argv[1:]
    if what == "exact":
        count = int(rest[0]) if rest else 128
        found = against_exact(count)
        print(
            f"{line('vit-shapley', [f'seed {SEED}', f'n = {count} images', 'no intervals'], time.process_time())}\n\n{found}"
        )
        return
    results, experiment, *page = (word for word in rest if word != "--trainings")
    scores = pd.read_parquet(Path(results, "tables", f"experiment={experiment}", "scores.parquet"))
    if page:
        print(f"{made(page[0], Path(results), [experiment])}\n")
    print(place(scores))
    if "--trainings" in rest:
        print(f"\n{trainings(Path(results))}")


if __name__ == "__main__":
    main()
