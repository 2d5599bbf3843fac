"""SaCo of random maps, which should be 0 on average: for both shipped networks and groups of unequal size.

    python tools/saco_null.py [--device cuda] [--images 128] [--draws 20] [--models vit_patch4]

Each image gets ``--draws`` maps of independent values, uniform and log-normal. One is a rising function of the other, so
both have the same groups and share all forward passes; they differ in what the pairs weigh. The mean and its standard
error are over the means of images. Maps of 7 × 7, 14 × 14 and 4 × 4 cells are removed by cells (the last are squares of 7
pixels), maps of 28 × 28 by pixels. K divides none of the numbers of features P; where it does, all groups are equal.

Beside the groups of the metric are, for comparison, groups between the ranks ⌊iP/K⌋, which give each group the same size
in every image. Prints the table of docs/metrics.md. Exit status 1 where a mean of the metric's groups is 3 standard errors or more from 0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from provenance import line
from study_data import images_of, load, study_of
from torch import Tensor

from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.requests import Clean, Features, Groups, Level
from vitfaith.metrics.engine.salience import map_salience
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.saco import saco
from vitfaith.models.classifier import Classifier
from vitfaith.rng import normal
from vitfaith.tables.text import markdown_table

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
FAR = 3
"""Standard errors."""


@dataclass(frozen=True)
class FloorGroups(Groups):
    """Groups between the ranks ⌊iP/K⌋, whatever the image."""

    def edges(self, totals: Sequence[int], image_ids: Sequence[str], seed: int) -> NDArray[np.int64]:
        """See the class."""
        return np.array([[i * total // self.count for i in range(self.count + 1)] for total in totals])


KINDS: dict[str, type[Groups]] = {"": Groups, ", ⌊iP/K⌋": FloorGroups}
"""What a column's head says of the groups → the groups."""


def scores(
    classifier: Classifier,
    images: Tensor,
    ids: Sequence[str],
    requests: Sequence[Groups],
    side: int,
    draws: int,
    seed: int,
) -> dict[tuple[str, int], Tensor]:
    """(Name of the maps, index of the request) → SaCo (images, draws)."""
    values = normal(seed, ids, f"saco null {side}", (draws, side, side)).to(images.device)
    with torch.inference_mode():
        targets = classifier(images).argmax(1)
    usable = torch.ones(len(images), draws, dtype=torch.bool, device=images.device)
    names = tuple(map(str, range(draws)))
    context = ScoreContext(classifier, images, targets, tuple(ids), names, values, usable, seed=seed)
    answers = Engine(context, 256).answer([Clean(), *requests])
    found = {}
    for index, request in enumerate(requests):
        drops = answers[Clean()].probability[:, None, None] - answers[request].probability
        for name, change in MAPS.items():  # a context of its own: saliences are kept by number of groups
            changed = replace(context, maps=change(values.double()).float())
            found[name, index] = saco(map_salience(changed, request), drops)
    return found


def means(
    classifier: Classifier, images: Tensor, ids: Sequence[str], case: tuple[int, int, Level], draws: int, seed: int
) -> dict[tuple[str, int], tuple[float, float]]:
    """(Name of the maps, index in ``KINDS``) → mean over images and its standard error."""
    side, count, level = case
    fill = FILLS.item("image_mean")
    requests = [kind(count, Features(level), fill) for kind in KINDS.values()]
    parts = []
    for first in range(0, len(ids), IMAGES_AT_ONCE):
        some = slice(first, first + IMAGES_AT_ONCE)
        parts.append(scores(classifier, images[some], ids[some], requests, side, draws, seed))
    found = {}
    for key in parts[0]:
        values = torch.cat([part[key] for part in parts]).mean(1).cpu().numpy()
        found[key] = float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    return found


def cell(mean: float, error: float) -> str:
    """The mean and its standard error, with three decimals."""
    return f"{round(mean, 3) + 0.0:.3f} ± {error:.3f}"  # + 0.0: no "-0.000"


def main() -> int:
    """Print the table; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=["vit_patch4", "vit_patch2"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = study_of("config.yaml")
    pixels, _, ids = images_of(study, "fashion_mnist", given.images)
    images, networks = pixels.to(given.device), {name: load(study, name, given.device) for name in given.models}
    rows, good = [], True
    for case in CASES:
        found = {m: means(network, images, ids, case, given.draws, study.seed) for m, network in networks.items()}
        features = f"{case[0] ** 2}{' pixels' if case[2] == 'pixel' else ''}"
        for maps in MAPS:
            values = [found[model][maps, index] for model in networks for index in range(len(KINDS))]
            rows.append([features, case[1], maps, *(cell(*value) for value in values)])
            for model in networks:
                mean, error = found[model][maps, 0]
                if abs(mean) >= FAR * error:
                    good = False
                    print(f"{model}, {rows[-1][:3]}: {mean / error:.1f} standard errors from 0", file=sys.stderr)
    facts = [f"study seed {study.seed}", f"n = {len(ids)} images × {given.draws} maps", "± standard errors over images"]
    print(line("saco-null", facts, time.process_time()) + "\n")
    print(markdown_table(["P", "K", "maps", *(f"`{m}`{kind}" for m in networks for kind in KINDS)], rows))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
