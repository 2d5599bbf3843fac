"""DiffMask on the coloured grids over several seeds: dual ascent against the released rule, scored with the right masks.

Run:  python benchmarks/grid_diffmask.py OUT [rule …] [--seeds 5] [--task grid_3x3]
Writes OUT/{rule}.scores.parquet, OUT/{rule}.curves.parquet (kept rule by rule), and prints the table of docs/grid-task.md;
--table prints it from what is there, --figure FILE draws the curves.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vitfaith.datasets.opening import open_source
from vitfaith.errors import VitfaithError
from vitfaith.explainers.diffmask.recipe import OFFICIAL, DiffMaskRecipe
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml

OURS: dict[str, Any] = {
    "epochs": 100,
    "steps": 1000,
    "batch_size": 32,
    "multiplier": 1.0,
    "multiplier_learning_rate": 0.1,
}
RATES = {"learning_rate": 1e-3, "placeholder_learning_rate": 1e-2, "warmup": 100}
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "dual": ("dual ascent", OURS),
    "wrong_way": ("the released steps, all else as above", {**OURS, "mode": "official"}),
    "released_fast": (
        "released settings, our learning rates",
        {**OFFICIAL, **RATES, "epochs": 100, "steps": 1000, "batch_size": 32},
    ),
    "released": ("released settings", {**OFFICIAL, "epochs": 100, "steps": 4000, "batch_size": 16}),
}
"""Rule → (what it is, settings over the defaults)."""

MEASURES = ("iou", "exact", "auroc", "consistency", "inside", "kl", "kept_share", "multiplier")


def scores_of(
    maps: torch.Tensor, source: Any, images: torch.Tensor, labels: Any, truth: Any, model: Any
) -> dict[str, float]:
    """Means over the grids that have both sides, of the masks at 0.5 in their own scale."""
    metrics = {name: METRICS.item(name, masks=("diffmask",)) for name in ("admissible_mask", "admissible_side")}
    found = evaluate(
        model, images, torch.from_numpy(labels), source.image_ids, {"diffmask": maps}, metrics,
        truth=torch.from_numpy(truth),
    ).scores.to_pandas()  # fmt: skip
    mean = found.groupby(["metric", "variant"]).value.mean()
    inside = float(mean["admissible_side", ""])
    values = {v: float(mean["admissible_mask", v]) for v in ("iou", "exact", "auroc")}
    return {**values, "inside": inside, "consistency": max(inside, 1 - inside)}


def run(task: str, rule: str, seeds: int, out: Path) -> None:
    """Train with every seed and keep scores and curves."""
    study = load_study(read_yaml(Path("config/grid.yaml")))
    section = study.models[f"vit_{task}"]
    model = load_classifier(section.model_dump(), Path(str(section.weights)))
    train, source = (open_source(study.datasets[name][0].spec()) for name in (f"{task}_train", task))
    everything = np.arange(len(source.labels))
    assert source.masks is not None
    pixels, truth = source.read(everything), np.stack([np.asarray(mask) for mask in source.masks(everything)])
    images, learned = torch.from_numpy(pixels).float() / 255, train.read(np.arange(len(train.labels)))
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    for seed in range(seeds):
        recipe = DiffMaskRecipe(**{**RULES[rule][1], "seed": seed})
        row: dict[str, Any] = {"rule": rule, "seed": seed, "diverged": False}
        try:
            network, log = train_diffmask(model, learned, pixels, recipe)
        except VitfaithError:  # loss or gradient not finite
            rows.append({**row, "diverged": True})
            continue
        last = log[-1]
        row |= {"kl": last["test_kl"], "kept_share": last["test_kept_share"], "multiplier": last["multiplier"]}
        for kind in ("expected", "official"):
            found = scores_of(network.explain(model, images, kind=kind), source, images, source.labels, truth, model)
            rows.append({**row, "read_out": kind, **found})
        curves.append(pd.DataFrame(log).assign(rule=rule, seed=seed))
        print(rows[-2], flush=True)
        pd.DataFrame(rows).to_parquet(out / f"{task}.{rule}.scores.parquet")
        pd.concat(curves, ignore_index=True).to_parquet(out / f"{task}.{rule}.curves.parquet")


def table(task: str, out: Path) -> str:
    """Markdown: mean over seeds, and the worst seed's IoU."""
    lines = [
        "| rule | read-out | IoU, mean of seeds | worst seed | exact | AUROC | consistency | KL, largest | kept share | λ at the end | IoU ≥ 0.95 | KL ≤ 0.1 |",
        "|---" * 12 + "|",
    ]
    for rule, (title, _) in RULES.items():
        path = out / f"{task}.{rule}.scores.parquet"
        if not path.is_file():
            continue
        frame = pd.read_parquet(path)
        for kind, part in frame.groupby("read_out", sort=True):
            share = f"{part.kept_share.min():.2f} … {part.kept_share.max():.2f}"
            ends = f"{part.multiplier.min():.3g} … {part.multiplier.max():.3g}"
            number = frame.seed.nunique()
            solved = f"{(part.iou >= 0.95).sum()} of {number} | {(part.kl <= 0.1).sum()} of {number}"
            lines.append(
                f"| {title} | {kind} | **{part.iou.mean():.3f}** | {part.iou.min():.3f} | {part.exact.mean():.3f} "
                f"| {part.auroc.mean():.3f} | {part.consistency.mean():.3f} | {part.kl.max():.3g} | {share} | {ends} | {solved} |"
            )
    return "\n".join(lines)


def figure(task: str, out: Path, path: Path) -> None:
    """KL, kept share and multiplier against the images seen, a line a seed, a column a rule."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rules = [r for r in RULES if (out / f"{task}.{r}.curves.parquet").is_file()]
    panels = (("kl", "KL (nats)", "symlog"), ("kept_share", "kept share", "linear"), ("multiplier", "mean λ", "linear"))
    picture, axes = plt.subplots(
        3, len(rules), figsize=(3.1 * len(rules), 6), sharex="col", sharey="row", squeeze=False
    )
    for column, rule in enumerate(rules):
        frame = pd.read_parquet(out / f"{task}.{rule}.curves.parquet")
        for row, (name, label, scale) in enumerate(panels):
            panel = axes[row, column]
            for seed, part in frame.groupby("seed"):
                panel.plot(part.images / 1000, part[name], lw=1.1, label=f"seed {seed}")
            panel.set_yscale(scale, **({"linthresh": 0.01} if scale == "symlog" else {}))
            if name == "kl":
                panel.axhline(0.1, color="black", lw=0.8, ls="--")
                panel.set_ylim(0, 20)
            if column == 0:
                panel.set_ylabel(label)
            panel.grid(alpha=0.3)
        axes[0, column].set_title(RULES[rule][0], fontsize=9)
        axes[2, column].set_xlabel("thousand images")
    axes[1, 0].legend(fontsize=7, loc="upper right")
    picture.tight_layout()
    picture.savefig(path, dpi=130, metadata={"Software": None})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("rules", nargs="*", help=f"any of {', '.join(RULES)}; none: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--task", default="grid_3x3")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    for rule in () if given.table or given.figure else given.rules or RULES:
        run(given.task, rule, given.seeds, given.out)
    if given.figure:
        figure(given.task, given.out, given.figure)
    else:
        print(table(given.task, given.out))


if __name__ == "__main__":
    main()
