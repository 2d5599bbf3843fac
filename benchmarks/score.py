"""Scoring against the forwards it cannot avoid, a naive loop, and the packages for the same metrics.

    python benchmarks/score.py [--setting small] [--device cuda] [--images 2] [--methods 10] [--only curves] [--minimum 0.9]

Setting "vit-ti" is a random ViT-Ti/16 on 224-pixel images, where a forward pass is all that costs; "small" is a
28-pixel ViT of the default study's shape, where the packages' own loops show. Images have one channel: quantus 0.6
perturbs the values of a colour pixel one by one, so only one channel gives the same metric. The curves are deletion,
insertion (torchcam) and pixel flipping (quantus), at the same steps, of the same maps; that their numbers agree is
tested in tests/metrics/test_oracles.py. On a CPU the clock is the process's own time on one thread, which other load
does not change much. "Bare forwards" are the model as it is; the engine may be faster, as it shortens the last block of a
ViT that is read at its class token. Lines in bfloat16 are ours with ``precision: bfloat16``, against the same float32 lines. Every line runs after a warm-up, the lines take turns, and the best of ``--repeats`` counts.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from quantus.metrics.faithfulness.pixel_flipping import PixelFlipping
from torchcam.metrics import DeletionInsertionMetric

from vitfaith.metrics.engine.requests import group_edges
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.fast.memory import keep_freed_memory
from vitfaith.models.passes import PassCounter
from vitfaith.models.precision import Precision
from vitfaith.registry import Item

STEPS = 16
BARE_SACO, BARE_CURVES = "SaCo K=10, bare forwards", "three curve metrics, bare forwards"
SACO, CURVES = "SaCo K=10, patches", "three curve metrics"
LOOP, PACKAGES = "SaCo K=10, naive loop", "three curve metrics, torchcam + quantus"
HALF = ", bfloat16"
SETTINGS: dict[str, tuple[dict[str, Any], int, int]] = {
    "vit-ti": ({}, 224, 2),
    "vit-s": ({"embed_dim": 384, "num_heads": 6}, 224, 2),
    "small": ({"img_size": 28, "patch_size": 4, "embed_dim": 64, "depth": 6, "num_heads": 4, "mlp_ratio": 2.0}, 28, 32),
}
"""Name → (arguments of the ViT, side of the images in pixels, number of images)."""


def curve_metrics(side: int) -> dict[str, Item]:
    """Deletion, insertion and pixel flipping in STEPS steps on ``side`` × ``side`` pixels."""
    shared = {"level": "pixel", "fill": "black"}
    return {
        "deletion": METRICS.item("deletion_auc", steps=STEPS, **shared),
        "insertion": METRICS.item("insertion_auc", steps=STEPS, **shared),
        "flipping": METRICS.item("pixel_flipping", features_in_step=side * side // STEPS, **shared),
    }


class Work:
    """A model, images, and maps of several methods."""

    def __init__(self, setting: str, device: str, images: int | None, methods: int, batch_size: int) -> None:
        """Random weights: the time of a forward pass does not depend on them."""
        generator = torch.Generator().manual_seed(0)
        arguments, self.side, count = SETTINGS[setting]
        images = count if images is None else images
        backbone = build_backbone("vit_tiny_patch16_224", {**arguments, "in_chans": 1})
        self.classifier = freeze(Classifier(backbone, [0.5], [0.5])).to(device)
        rows, columns = self.classifier.grid
        self.images = torch.rand(images, 1, self.side, self.side, generator=generator).to(device)
        self.targets = torch.arange(images, device=device)
        self.ids = [str(index) for index in range(images)]
        self.maps = {f"m{i}": torch.rand(images, rows, columns, generator=generator).to(device) for i in range(methods)}
        self.curves = curve_metrics(self.side)
        self.batch_size = batch_size
        self.device = device

    def score(self, metrics: dict[str, Item], precision: Precision = "float32") -> int:
        """Run the engine; returns the number of forwards."""
        result = evaluate(
            self.classifier,
            self.images,
            self.targets,
            self.ids,
            self.maps,
            metrics,
            batch_size=self.batch_size,
            precision=precision,
        )
        return result.forwards

    def bare(self, forwards: int) -> int:
        """The same number of forwards in full batches, of images that already exist."""
        batch = torch.rand(self.batch_size, 1, self.side, self.side, device=self.device)
        with torch.inference_mode():
            for start in range(0, forwards, self.batch_size):
                self.classifier(batch[: min(self.batch_size, forwards - start)])
        return forwards

    def naive_saco(self, groups: int = 10) -> int:
        """As the papers' code is usually written: for every image and method, one forward a group."""
        (rows, columns), patch = self.classifier.grid, self.side // self.classifier.grid[0]
        with PassCounter(self.classifier) as passes, torch.no_grad():
            for maps in self.maps.values():
                for image, target, cells, image_id in zip(self.images, self.targets, maps, self.ids, strict=True):
                    clean = self.classifier(image[None]).softmax(1)[0, target]
                    order = cells.flatten().argsort(descending=True)
                    edges = group_edges(len(order), groups, 0, image_id)
                    drops = []
                    for low, high in itertools.pairwise(edges):
                        chosen = torch.zeros(len(order), dtype=torch.bool, device=self.device)
                        chosen[order[low:high]] = True
                        cells_of = chosen.reshape(rows, columns)
                        pixels = cells_of.repeat_interleave(patch, 0).repeat_interleave(patch, 1)
                        changed = torch.where(pixels, image.mean(), image)
                        drops.append(float(clean - self.classifier(changed[None]).softmax(1)[0, target]))
                    salience = [float(cells.flatten()[order[a:b]].sum()) for a, b in itertools.pairwise(edges)]
                    pairs = [(i, j) for i in range(groups) for j in range(i + 1, groups)]
                    weights = [salience[i] - salience[j] for i, j in pairs]
                    signs = [1 if drops[i] >= drops[j] else -1 for i, j in pairs]
                    sum(w * s for w, s in zip(weights, signs, strict=True)) / sum(map(abs, weights))
        return passes.forwards

    def packages(self) -> int:
        """Torchcam for deletion and insertion, quantus for pixel flipping, method by method."""
        options: dict[str, Any] = {"normalise": False, "abs": False, "disable_warnings": True, "perturb_baseline": 0.0}
        with PassCounter(self.classifier) as passes:
            for maps in self.maps.values():
                extractor: Any = FixedMap(self.classifier, maps)
                metric = DeletionInsertionMetric(
                    extractor,
                    partial(torch.softmax, dim=-1),
                    steps=STEPS,
                    batch_size=self.batch_size,
                )
                metric.update(self.images, class_idx=self.targets.tolist())
                arrays: dict[str, Any] = {
                    "model": self.classifier,
                    "x_batch": self.images.cpu().numpy(),
                    "y_batch": self.targets.cpu().numpy(),
                    "a_batch": self.classifier.patches.upsample(maps)[:, None].cpu().numpy(),
                    "device": self.device,
                    "softmax": True,
                    "batch_size": self.batch_size,
                }
                PixelFlipping(features_in_step=self.side**2 // STEPS, **options)(**arrays)
        return passes.forwards


class FixedMap:
    """What torchcam asks of an extractor."""

    def __init__(self, model: Classifier, maps: torch.Tensor) -> None:
        """``maps`` (B, rows, columns) are returned as they are."""
        self.model, self.maps = model, maps

    def __call__(self, *_arguments: object, **_options: object) -> list[torch.Tensor]:
        """The maps, as a list of one layer."""
        return [self.maps]

    def fuse_cams(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """The only layer."""
        return maps[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def clock(run: Callable[[], int], device: str) -> tuple[float, int]:
    """Seconds and forwards of one run."""
    if device == "cpu":
        start = time.process_time()
        forwards = run()
        return time.process_time() - start, forwards
    torch.cuda.synchronize()
    start = time.perf_counter()
    forwards = run()
    torch.cuda.synchronize()
    return time.perf_counter() - start, forwards


def measure(lines: dict[str, Callable[[], int]], device: str, repeats: int) -> dict[str, tuple[float, int]]:
    """Best time of each line over ``repeats`` rounds in which the lines take turns."""
    best: dict[str, tuple[float, int]] = {}
    for _ in range(repeats):
        for name, run in lines.items():
            seconds, forwards = clock(run, device)
            if name not in best or seconds < best[name][0]:
                best[name] = (seconds, forwards)
    return best


def lines_of(work: Work, only: str = "") -> dict[str, Callable[[], int]]:
    """Name → what is timed; ``only`` saco or curves."""
    patch, pixel = {"saco": METRICS.item("saco")}, {"saco": METRICS.item("saco", level="pixel")}
    found: dict[str, Callable[[], int]] = {}
    if only != "curves":
        saco_forwards = work.score(patch)
        found |= {
            BARE_SACO: lambda: work.bare(saco_forwards),
            SACO: lambda: work.score(patch),
            SACO + HALF: lambda: work.score(patch, "bfloat16"),
            "SaCo K=10, pixels": lambda: work.score(pixel),
            LOOP: work.naive_saco,
        }
    if only != "saco":
        curve_forwards = work.score(work.curves)
        found |= {
            BARE_CURVES: lambda: work.bare(curve_forwards),
            CURVES: lambda: work.score(work.curves),
            CURVES + HALF: lambda: work.score(work.curves, "bfloat16"),
            PACKAGES: work.packages,
        }
    return found


def ratios(best: dict[str, tuple[float, int]]) -> dict[str, float]:
    """What was measured, as ratios."""

    def times(slow: str, fast: str, column: int = 0) -> float:
        return best[slow][column] / best[fast][column]

    found: dict[str, float] = {}
    if SACO in best:
        found |= {"saco / bare": times(BARE_SACO, SACO), "saco, bfloat16 / float32": times(SACO, SACO + HALF)}
        found |= {"loop / saco": times(LOOP, SACO)}
    if CURVES in best:
        found |= {"packages / curves": times(PACKAGES, CURVES), "forwards": times(PACKAGES, CURVES, 1)}
        found |= {"packages / curves, bfloat16": times(PACKAGES, CURVES + HALF)}
        found |= {"curves, bfloat16 / float32": times(CURVES, CURVES + HALF)}
    return found


def prepared(setting: str, device: str, images: int | None, methods: int, batch_size: int) -> Work:
    """A warm model, on one thread of a CPU, with freed memory kept as in a job."""
    if device == "cpu":
        torch.set_num_threads(1)
    keep_freed_memory()
    np.random.seed(0)
    work = Work(setting, device, images, methods, batch_size)
    work.bare(batch_size)
    return work


def main() -> int:
    """Print the table; exit status 1 when SaCo runs below ``--minimum`` of the bare throughput."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, default="vit-ti")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="default: 2 for vit-ti and vit-s, 32 for small")
    parser.add_argument("--methods", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32, help="of every line alike")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", choices=["saco", "curves"], default="")
    parser.add_argument("--minimum", type=float, default=0.0)
    options = parser.parse_args()
    work = prepared(options.setting, options.device, options.images, options.methods, options.batch_size)
    best = measure(lines_of(work, options.only), options.device, options.repeats)
    maps = len(work.images) * options.methods
    print(f"{maps} maps ({len(work.images)} images × {options.methods} methods), {options.setting}, {options.device}")
    print(f"{'':42}{'seconds':>9}{'forwards':>10}{'images/s':>10}{'maps/s':>8}{'× bare time':>13}")
    for name, (seconds, forwards) in best.items():
        bare = best[BARE_SACO if name.startswith("SaCo") else BARE_CURVES][0]
        rates = f"{forwards / seconds:10.1f}{maps / seconds:8.2f}{seconds / bare:13.2f}"
        print(f"{name:42}{seconds:9.2f}{forwards:10d}{rates}")
    found = ratios(best)
    for name, ratio in found.items():
        print(f"{name}: {ratio:.2f}")
    if found.get("saco / bare", options.minimum) < options.minimum:
        print(f"below the minimum of {100 * options.minimum:.0f} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
