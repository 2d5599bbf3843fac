"""Cross-fitting of config/stamps.yaml: k studies, in each another fold of the cut-outs is held out, so that each cut-out is scored.

After `bash tools/stamps.sh`:
    python tools/stamps_folds.py OUT [--folds 5] [--per-cutout 3] [--images 105] [--all]
It writes OUT/fold_0/study.yaml … and prints the commands that run them and pool their images. `tools/stamps_crossfit.py` does both and
prints the page. `--all` keeps all explainers, attacks and smoothing: hours.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
EXPLAINERS = (
    "random",
    "raw_attention",
    "rollout",
    "grad_rollout",
    "transformer_mm",
    "attention_gradcam",
    "attcat",
    "legrad",
    "tokentm",
    "token_gradcam",
    "token_hirescam",
    "input_x_gradient",
    "transformer_attribution",
    "attnlrp",
    "libragrad",
    "smoothgrad",
    "occlusion",
)
"""Those of a short run: 1½ hours on two cores. Left out: RISE and Integrated Gradients, the slowest but for Occlusion; ViT-Shapley,
whose two trainings per fold cost as much as seven explainers; and close relatives of others."""


FOLDS = 5


def study_of_fold(
    fold: int, folds: int, per_cutout: int, images: int | None = None, explainers: Sequence[str] | None = None
) -> dict[str, Any]:
    """config/stamps.yaml with fold ``fold`` held out; paths are absolute.

    Args:
        fold, folds: which fold of how many.
        per_cutout: images of each held-out cut-out; the test of the trainings keeps one.
        images: of them, how many are scored, all classes alike; default: all.
        explainers: the only ones, on clean images without smoothing and in one shard; default: the experiments of the study.
    """
    study: dict[str, Any] = yaml.safe_load((ROOT / "config" / "stamps.yaml").read_text(encoding="utf-8"))
    for name, dataset in study["datasets"].items():
        left = {key: value for key, value in dataset.items() if key not in ("images", "test_share")}
        places = {key: str(ROOT / left[key]) for key in ("folder", "backgrounds")}
        study["datasets"][name] = {**left, **places, "folds": folds, "fold": fold}
    scored = study["datasets"]["stamps"]
    scored["per_cutout"] = per_cutout
    if images is not None:
        scored["images"] = images
    for model in study["models"].values():
        model["training"]["start_from"] = str(ROOT / model["training"]["start_from"])
    if explainers is not None:
        scored["shard_size"] = images or 128  # fewer jobs, each of which starts Python
        chosen = {**study["experiments"]["explainers"], "explainers": list(explainers), "figures": []}
        study["experiments"] = {"explainers": chosen}
    return study


def write_studies(
    out: Path,
    folds: int = FOLDS,
    per_cutout: int = 3,
    images: int | None = 105,
    explainers: Sequence[str] | None = EXPLAINERS,
) -> list[Path]:
    """Write OUT/fold_0/study.yaml …; returns their folders. Arguments as in :func:`study_of_fold`."""
    places = [out / f"fold_{fold}" for fold in range(folds)]
    for fold, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        study = study_of_fold(fold, folds, per_cutout, images, explainers)
        (place / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return places


def main() -> None:
    """Write the studies and print what to do with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--per-cutout", type=int, default=3)
    parser.add_argument(
        "--images", type=int, default=105, help="scored images per fold; with --all those of all cut-outs"
    )
    parser.add_argument("--all", action="store_true", help="all explainers, attacks and smoothing")
    given = parser.parse_args()
    short = (None, None) if given.all else (given.images, EXPLAINERS)
    places = write_studies(given.out, given.folds, given.per_cutout, *short)
    for place in places:
        print(f"uv run vitfaith run {place}/study.yaml{'' if given.all else ' scores'}")
    print("uv run vitfaith table " + " ".join(f"{place}/results" for place in places))


if __name__ == "__main__":
    main()
