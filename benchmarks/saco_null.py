"""SaCo of random maps, which should be 0 on average: for both shipped networks and groups of unequal size.

    python -m benchmarks.saco_null [--device cuda] [--images 128] [--draws 20] [--floors] [--models vit_patch4]

Each image gets ``--draws`` maps of independent values, uniform and log-normal. One is a rising function of the other, so
both have the same groups and share all forward passes; they differ in what the pairs weigh. The mean and its standard
error are over the means of images. Maps of 7 × 7, 14 × 14 and 4 × 4 cells are removed by cells (the last are squares of 7
pixels), maps of 28 × 28 by pixels. K divides none of the numbers of features P; where it does, all groups are equal.

``--floors`` adds, for comparison, groups between the ranks ⌊iP/K⌋, which give each group the same size in every image; it
takes twice the time. Exit status 1 where a mean is 3 standard errors or more from 0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.precision import ROOT, images_of
from numpy.typing import NDArray
from torch import Tensor

from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.requests import Clean, Features, Groups, Level
from vitfaith.metrics.engine.salience import map_salience
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.saco import saco
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import load_classifier
from vitfaith.rng import normal
from vitfaith.study.load import load_study, read_yaml

CASES: tuple[tuple[int, int, Level], ...] = (
    (7, 10, "patch"),
    (14, 10, "patch"),
    (14, 20, "patch"),
    (4, 10, "patch"),
    (28, 10, "pixel"),
)
"""Side of the map, number of groups, level."""

MAPS = {"uniform": torch.special.ndtr, "log-normal": torch.exp}
"""What is done to standard normal values."""

IMAGES_AT_ONCE = 16


@dataclass(frozen=True)
class FloorGroups(Groups):
    """Groups between the ranks ⌊iP/K⌋, whatever the image."""

    def edges(self, totals: Sequence[int], image_ids: Sequence[str], seed: int) -> NDArray[np.int64]:
        """See the class."""
        return np.array([[i * total // self.count for i in range(self.count + 1)] for total in totals])


def scores(
    classifier: Classifier, images: Tensor, ids: Sequence[str], requests: Sequence[Groups], side: int, draws: int
) -> tuple[dict[tuple[str, int], Tensor], int]:
    """(Name of the maps, index of the request) → SaCo (images, draws); and the number of forwards."""
    values = normal(0, ids, f"saco null {side}", (draws, side, side)).to(images.device)
    with torch.inference_mode():
        targets = classifier(images).argmax(1)
    usable = torch.ones(len(images), draws, dtype=torch.bool, device=images.device)
    names = tuple(map(str, range(draws)))
    context = ScoreContext(classifier, images, targets, tuple(ids), names, values, usable)
    engine = Engine(context, 256)
    answers = engine.answer([Clean(), *requests])
    found = {}
    for index, request in enumerate(requests):
        drops = answers[Clean()].probability[:, None, None] - answers[request].probability
        for name, change in MAPS.items():  # a context of its own: saliences are kept by number of groups
            changed = replace(context, maps=change(values.double()).float())
            found[name, index] = saco(map_salience(changed, request), drops)
    return found, engine.forwards


def main() -> int:
    """Print one Markdown row per network, case and kind of maps; see the module for the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--floors", action="store_true")
    parser.add_argument("--models", nargs="+", default=["vit_patch4", "vit_patch2"])
    options = parser.parse_args()
    study = load_study(read_yaml(ROOT / "config" / "config.yaml"))
    images, ids = images_of(study, options.images)
    fill = FILLS.item("image_mean")
    print(f"{len(ids)} images × {options.draws} maps, {options.device}; mean ± standard error, in standard errors")
    head = ["model", "P", "K", "maps", "SaCo", "", "below 3", *(["⌊iP/K⌋", ""] if options.floors else [])]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    good, forwards, start = True, 0, time.perf_counter()
    for model in options.models:
        spec = study.models[model].model_dump(mode="json")
        classifier = load_classifier(spec, Path(spec["weights"]), options.device)
        for side, count, level in CASES:
            kinds = [Groups, FloorGroups] if options.floors else [Groups]
            requests = [kind(count, Features(level), fill) for kind in kinds]
            parts = []
            for first in range(0, len(ids), IMAGES_AT_ONCE):
                some = slice(first, first + IMAGES_AT_ONCE)
                part, passes = scores(
                    classifier, images[some].to(options.device), ids[some], requests, side, options.draws
                )
                parts.append(part)
                forwards += passes
            for name in MAPS:
                cells = [model, str(side * side), str(count), name]
                for index in range(len(requests)):
                    per_image = torch.cat([part[name, index] for part in parts]).mean(1).cpu().numpy()
                    mean, error = per_image.mean(), per_image.std(ddof=1) / len(per_image) ** 0.5
                    cells += [f"{mean:+.4f} ± {error:.4f}", f"{mean / error:+.1f}"]
                    if index == 0:
                        passed = abs(mean) < 3 * error
                        good &= bool(passed)
                        cells.append("yes" if passed else "NO")
                print("| " + " | ".join(cells) + " |", flush=True)
    print(f"{forwards} forward passes, {time.perf_counter() - start:.0f} s")
    if not good:
        print("the mean of random maps is 3 standard errors or more from 0", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
