"""The shared pass against the bare forward and backward it cannot avoid, and against packages one method at a time.

    python -m benchmarks.attribute

Random ViTs at 224 pixels, on the GPU if there is one. On a CPU the clock is the process's own time on one thread,
which other load does not change much. Lines take turns after a warm-up and the best of five counts. The last column
is the time divided by that of the bare forward and backward.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from benchmarks.shared import one_pass
from torch import Tensor

from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.fast.memory import keep_freed_memory
from vitfaith.models.passes import PassCounter
from vitfaith.models.precision import Precision, passes_in

MODELS = {"vit_tiny_patch16_224": 8, "vit_small_patch16_224": 4}
"""timm name → images in the batch."""

REPEATS = 5
COMMON = ["saliency", "input_x_gradient", "attention_rollout", "token_gradcam", "token_hirescam", "token_layercam",
          "token_xgradcam", "token_eigencam"]  # fmt: skip
"""What the packages offer too."""

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BARE, ALL = "bare forward + backward", "shared pass, all one-pass methods"
OURS, PACKAGES = "shared pass, methods that packages offer", "packages, the same methods one by one"
HALF = ", bfloat16"


class Work:
    """A model and a batch of images."""

    def __init__(self, name: str, images: int) -> None:
        """Random weights: the time of a pass does not depend on them."""
        generator = torch.Generator().manual_seed(0)
        self.classifier = freeze(Classifier(build_backbone(name, {}), [0.5] * 3, [0.5] * 3)).to(DEVICE)
        self.unfused = copy.deepcopy(self.classifier)
        blocks: Any = self.unfused.backbone.blocks
        for block in blocks:
            block.attn.fused_attn = False
        self.images = torch.rand(images, 3, 224, 224, generator=generator).to(DEVICE)
        self.targets = torch.arange(images, device=DEVICE)

    def bare(self, precision: Precision = "float32") -> None:
        """What no gradient method can avoid."""
        images = self.images.clone().requires_grad_()
        with passes_in(self.classifier, precision):
            torch.autograd.grad(self.classifier(images).float().gather(1, self.targets[:, None]).sum(), images)

    def ours(self, names: list[str], precision: Precision = "float32") -> None:
        """All ``names`` from one shared pass."""
        methods = {name: EXPLAINERS.item(name) for name in names}
        ids = [str(i) for i in range(len(self.images))]
        explain(
            self.classifier, self.images, self.targets, ids, methods, seed=0, batch_size=len(ids), precision=precision
        )

    def packages(self) -> None:
        """The common methods by captum, grad-cam and fast-vit-rollout, one after the other."""
        import pytorch_grad_cam
        from captum.attr import InputXGradient, Saliency
        from fast_vit_rollout import ViTAttentionRollout
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        images = self.images.clone().requires_grad_()
        Saliency(self.classifier).attribute(images, target=self.targets)
        InputXGradient(self.classifier).attribute(images, target=self.targets)
        rollout = ViTAttentionRollout(self.unfused)
        with torch.no_grad():
            self.unfused(self.images)
        rollout._compute_rollout()
        for module in self.unfused.modules():  # the package leaves its hooks, which would slow the next round
            module._forward_hooks.clear()
        wanted = [ClassifierOutputTarget(int(target)) for target in self.targets]
        blocks: Any = self.classifier.backbone.blocks
        layer = blocks[-1].norm1
        for name in ("GradCAM", "HiResCAM", "LayerCAM", "XGradCAM", "EigenCAM"):
            method = getattr(pytorch_grad_cam, name)
            with method(self.classifier, [layer], reshape_transform=_to_channels) as cam:
                cam(images, wanted)

    def lines(self) -> Mapping[str, Callable[[], None]]:
        """What is timed, in the order of the table."""
        every = [entry.name for entry in one_pass()]
        without = [name for name in every if name not in ("legrad", "tokentm")]
        return {
            BARE: self.bare,
            BARE + HALF: lambda: self.bare("bfloat16"),
            OURS: lambda: self.ours(COMMON),
            PACKAGES: self.packages,
            f"shared pass, {len(without)} methods (no legrad, tokentm)": lambda: self.ours(without),
            ALL: lambda: self.ours(every),
            ALL + HALF: lambda: self.ours(every, "bfloat16"),
        }


def _to_channels(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)


def seconds(action: Callable[[], None]) -> float:
    """Time of one call: of this process on a CPU, by the wall on a GPU."""
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    start = clock()
    action()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(work: Work, repeats: int = REPEATS) -> list[tuple[str, int, int, float]]:
    """(line, forwards, backwards, best seconds) of each line; passes are counted in batches."""
    lines = work.lines()
    counts: dict[str, Any] = {}
    for name, action in lines.items():
        with PassCounter(work.classifier) as fused, PassCounter(work.unfused) as unfused:
            action()
        size = len(work.images)
        counts[name] = ((fused.forwards + unfused.forwards) // size, (fused.backwards + unfused.backwards) // size)
    times: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(repeats):
        for name, action in lines.items():
            times[name].append(seconds(action))
    return [(name, *counts[name], min(times[name])) for name in lines]


def main() -> None:
    """Print one table a model."""
    torch.set_num_threads(1)
    keep_freed_memory()
    for name, images in MODELS.items():
        rows = measure(Work(name, images))
        best = {line: seconds for line, _, _, seconds in rows}
        print(f"\n{name}, {images} images, {DEVICE}, torch {torch.__version__}\n")
        print("| what | forwards | backwards | seconds | / bare |\n|---|---:|---:|---:|---:|")
        for line, forwards, backwards, seconds in rows:
            print(f"| {line} | {forwards} | {backwards} | {seconds:.3f} | {seconds / best[BARE]:.2f} |")
        print(f"\nall one-pass methods / bare: {best[ALL] / best[BARE]:.2f} (bar: at most 1.5; aim 1.3)")
        print(f"packages / shared pass, same methods: {best[PACKAGES] / best[OURS]:.1f} (bar: at least 4)")


if __name__ == "__main__":
    main()
