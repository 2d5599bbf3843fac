"""DiffMask on the coloured grids over several seeds: dual ascent against the released rule, scored with the right masks.

Run:  python tools/grid_diffmask.py OUT [rule …] [--seeds 5] [--task grid_3x3] [--steps N] [--figure FILE]
Trains with every rule and seed, keeps OUT/{task}.{rule}.{seed}.scores.parquet and ….curves.parquet (seeds that are there are not trained
again), and prints the table of docs/grid-task.md. --figure draws the curves; --steps replaces the number of steps of all rules.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffmask_curves import draw
from provenance import core_seconds, images_text, keep_seconds, line

from vitfaith.datasets.opening import open_source
from vitfaith.errors import VitfaithError
from vitfaith.explainers.diffmask.recipe import OFFICIAL, DiffMaskRecipe
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml
from vitfaith.tables.text import markdown_table

STUDY = Path(__file__).resolve().parents[1] / "config" / "grid.yaml"
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


def kept(out: Path, task: str, rule: str, seed: int, kind: str) -> Path:
    """The file with the ``kind`` of values, scores or curves, of one training."""
    return out / f"{task}.{rule}.{seed}.{kind}.parquet"


def run(task: str, rule: str, seeds: int, out: Path, steps: int | None = None) -> None:
    """Train with every seed that has no scores yet, and keep scores and curves.

    Args:
        task: of the study, ``grid_3x3`` or ``grid_5x5``.
        rule: of :data:`RULES`.
        seeds: 0 … seeds − 1.
        out: folder of the files.
        steps: replaces the rule's number of steps.
    """
    study = load_study(read_yaml(STUDY))
    section = study.models[f"vit_{task}"]
    model = load_classifier(section.model_dump(), Path(str(section.weights)))
    train, source = (open_source(study.datasets[name][0].spec()) for name in (f"{task}_train", task))
    everything = np.arange(len(source.labels))
    assert source.masks is not None
    pixels, truth = source.read(everything), np.stack([np.asarray(mask) for mask in source.masks(everything)])
    images, learned = torch.from_numpy(pixels).float() / 255, train.read(np.arange(len(train.labels)))
    out.mkdir(parents=True, exist_ok=True)
    shorter = {} if steps is None else {"steps": steps}
    for seed in range(seeds):
        scores = kept(out, task, rule, seed, "scores")
        if scores.is_file():
            continue
        row: dict[str, Any] = {"rule": rule, "seed": seed}
        start = time.process_time()
        try:
            network, log = train_diffmask(
                model, learned, pixels, DiffMaskRecipe(**{**RULES[rule][1], **shorter, "seed": seed})
            )
        except VitfaithError as error:  # loss or gradient not finite
            print(f"{rule}, seed {seed}: {error}", file=sys.stderr)
            keep_seconds(out, f"{task}.{rule}.{seed}", time.process_time() - start)
            pd.DataFrame([row]).to_parquet(scores)
            continue
        last = log[-1]
        row |= {"kl": last["test_kl"], "kept_share": last["test_kept_share"], "multiplier": last["multiplier"]}
        rows = [
            {**row, "read_out": read_out}
            | scores_of(network.explain(model, images, kind=read_out), source, images, source.labels, truth, model)
            for read_out in ("expected", "official")
        ]
        print(rows[0], file=sys.stderr, flush=True)
        keep_seconds(out, f"{task}.{rule}.{seed}", time.process_time() - start)
        pd.DataFrame(log).assign(rule=rule, seed=seed).to_parquet(kept(out, task, rule, seed, "curves"))
        pd.DataFrame(rows).to_parquet(scores)


def table(task: str, rules: Sequence[str], seeds: int, out: Path) -> str:
    """Markdown: mean over the seeds whose training stayed finite, the worst seed's IoU, and on how many of all seeds a mask is right."""
    head = ["rule", "read-out", "IoU, mean of seeds", "worst seed", "exact", "AUROC", "consistency", "KL, largest", "kept share",
            "λ at the end", "IoU ≥ 0.95", "KL ≤ 0.1"]  # fmt: skip
    lines = []
    for rule in rules:
        frame = pd.concat([pd.read_parquet(kept(out, task, rule, seed, "scores")) for seed in range(seeds)])
        if "read_out" not in frame:
            lines.append([RULES[rule][0], "not finite with any seed", *[""] * 10])
            continue
        for read_out, part in frame.groupby("read_out", sort=True):
            share = f"{part.kept_share.min():.2f} … {part.kept_share.max():.2f}"
            ends = f"{part.multiplier.min():.3g} … {part.multiplier.max():.3g}"
            means = [f"{part[name].mean():.3f}" for name in ("exact", "auroc", "consistency")]
            held = [f"{count} of {seeds}" for count in ((part.iou >= 0.95).sum(), (part.kl <= 0.1).sum())]
            iou = [f"**{part.iou.mean():.3f}**", f"{part.iou.min():.3f}"]
            lines.append([RULES[rule][0], str(read_out), *iou, *means, f"{part.kl.max():.3g}", share, ends, *held])
    return markdown_table(head, lines)


def figure(task: str, rules: Sequence[str], seeds: int, out: Path, path: Path) -> None:
    """The curves of the trainings that stayed finite, against the images seen."""
    curves = {
        RULES[rule][0]: {
            seed: log.assign(thousands=log["images"] / 1000)
            for seed in range(seeds)
            if (file := kept(out, task, rule, seed, "curves")).is_file()
            for log in [pd.read_parquet(file)]
        }
        for rule in rules
    }
    draw(curves, "thousands", "thousand images", DiffMaskRecipe().margin, path, logarithmic=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("rules", nargs="*", help=f"any of {', '.join(RULES)}; none: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--task", default="grid_3x3")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    rules = list(given.rules or RULES)
    if unknown := set(rules) - set(RULES):
        parser.error(f"no rule {', '.join(sorted(unknown))}; there are {', '.join(RULES)}")
    for rule in rules:
        run(given.task, rule, given.seeds, given.out, given.steps)
    if given.figure:
        figure(given.task, rules, given.seeds, given.out, given.figure)
    grids = open_source(load_study(read_yaml(STUDY)).datasets[given.task][0].spec())
    facts = [
        f"seeds 0 to {given.seeds - 1} of the training",
        images_text([len(grids.labels)]),
        "means and ranges over the seeds",
    ]
    print(line("grid-diffmask", facts, core_seconds(given.out)) + "\n")
    print(table(given.task, rules, given.seeds, given.out))


if __name__ == "__main__":
    main()
