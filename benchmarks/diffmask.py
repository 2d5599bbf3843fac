"""What training a DiffMask costs beside the bare passes of its model: 2 forwards and 1 backward a batch.

Run: python benchmarks/diffmask.py [--device cuda] [--model vit_patch4 …]. Prints a table; bar: at least 0.85 of the bare throughput.
Bare is: a forward without gradients, a forward with, and its backward to the patch embedding, of the frozen model and nothing else.
Both run in turns, so that a busy machine slows both alike; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.diffmask.steps import OfficialStep, SharedStep
from vitfaith.models.classifier import Classifier, build_backbone, freeze, frozen
from vitfaith.models.load import load_classifier
from vitfaith.models.passes import PassCounter
from vitfaith.study.load import load_study, read_yaml

BAR = 0.85


def model(name: str, device: str) -> Classifier:
    """A shipped network of the default study, or any timm architecture with random weights."""
    study = load_study(read_yaml(Path("config/config.yaml")))
    if name in study.models:
        section = study.models[name]
        return load_classifier(section.model_dump(mode="json"), Path(str(section.weights)), device)
    return freeze(Classifier(build_backbone(name, {}), [0.5] * 3, [0.5] * 3)).to(device)


def bare(classifier: Classifier, images: Tensor) -> None:
    """Two forwards and one backward."""
    with torch.no_grad():
        classifier(images)
    embedded: list[Tensor] = []

    def differentiable(_module: object, _args: object, output: Tensor) -> Tensor:
        embedded.append(output.requires_grad_())
        return output

    handle = classifier.backbone.patch_embed.register_forward_hook(differentiable)  # type: ignore[union-attr]
    classifier(images).float().log_softmax(1).sum().backward()
    handle.remove()


def seconds(work: Callable[[], object], device: str) -> float:
    """Time of one call: of this process on a CPU, by the wall on a GPU."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(name: str, device: str, batch: int, repeats: int) -> float:
    """Print a line and return the ratio."""
    classifier = model(name, device)
    images = torch.rand(batch, *classifier.input_shape, device=device)
    recipe = DiffMaskRecipe()
    with frozen(classifier):
        step = SharedStep(classifier, new_diffmask(classifier, distribution=HardConcrete(), beta=5.0), recipe, 10_000)
        released = OfficialStep(classifier, new_diffmask(classifier, distribution=HardConcrete(), beta=5.0), recipe)
        works: list[Callable[[], object]] = [
            lambda: bare(classifier, images), lambda: step(images, 0), lambda: released(images, 0),
        ]  # fmt: skip
        with PassCounter(classifier.backbone) as passes:
            works[1]()
        times: list[list[float]] = [[], [], []]
        for _ in range(repeats + 1):
            for kept, work in zip(times, works, strict=True):
                kept.append(seconds(work, device))
    plain, ours, theirs = (statistics.median(kept[1:]) for kept in times)
    counted = f"{passes.forwards // batch} F + {passes.backwards // batch} B"
    print(
        f"| {name} | {batch} | {counted} | {batch / plain:.0f} | {batch / ours:.0f} | **{plain / ours:.2f}** | {plain / theirs:.2f} |",
        flush=True,
    )
    return plain / ours


def main() -> int:
    """Measure all models; 1 where one is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", nargs="+", default=["vit_patch4", "vit_patch2"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    print("| model | batch | passes of a step | bare, images/s | training, images/s | ratio | released rule, ratio |")
    print("|---" * 7 + "|")
    ratios = [measure(name, given.device, given.batch, given.repeats) for name in given.model]
    print(f"\nbar: {BAR}; {'met' if min(ratios) >= BAR else 'MISSED'}")
    return 0 if min(ratios) >= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
