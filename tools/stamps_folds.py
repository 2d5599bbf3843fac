"""Cross-fitting of config/stamps.yaml: k studies, in each another fold of the cut-outs is held out, so that each cut-out is scored once.

After `bash tools/stamps.sh`:
    python tools/stamps_folds.py OUT [--folds 5] [--per-cutout 3]
It writes OUT/fold_0/study.yaml … and prints the commands that run them and pool their images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def study_of_fold(fold: int, folds: int, per_cutout: int) -> dict[str, Any]:
    """config/stamps.yaml with fold ``fold`` held out: ``per_cutout`` images of each of its cut-outs are scored; paths are absolute.

    The test of the trainings keeps one image per cut-out.
    """
    study: dict[str, Any] = yaml.safe_load((ROOT / "config" / "stamps.yaml").read_text(encoding="utf-8"))
    for name, dataset in study["datasets"].items():
        left = {key: value for key, value in dataset.items() if key not in ("images", "test_share")}
        places = {key: str(ROOT / left[key]) for key in ("folder", "backgrounds")}
        study["datasets"][name] = {**left, **places, "folds": folds, "fold": fold}
    study["datasets"]["stamps"]["per_cutout"] = per_cutout
    for model in study["models"].values():
        model["training"]["start_from"] = str(ROOT / model["training"]["start_from"])
    return study


def main() -> None:
    """Write the studies and print what to do with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--per-cutout", type=int, default=3)
    given = parser.parse_args()
    places = [given.out / f"fold_{fold}" for fold in range(given.folds)]
    for fold, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(study_of_fold(fold, given.folds, given.per_cutout), sort_keys=False, allow_unicode=True)
        (place / "study.yaml").write_text(text, encoding="utf-8")
        print(f"uv run vitfaith run {place}/study.yaml")
    print("uv run vitfaith table " + " ".join(f"{place}/results" for place in places))


if __name__ == "__main__":
    main()
