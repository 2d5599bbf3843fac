"""Throughput of each computation against the bare passes that it cannot avoid, in several precisions, and against packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from benchmarks.diffmask import bare as bare_diffmask
from benchmarks.gpu_sections import peers
from benchmarks.gpu_sections.setup import Case, Row, Setup
from benchmarks.gpu_sections.sizes import denoise
from torch import Tensor, nn

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.diffmask.steps import SharedStep
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier, frozen
from vitfaith.models.passes import PassCounter
from vitfaith.models.precision import Precision, forward_precision

METHODS = 10
"""Maps per image that are scored."""


def cases(setup: Setup) -> Iterator[Case]:
    """Stage by stage; within a stage precision by precision."""
    precisions: list[Precision] = ["float32", "tf32", "bfloat16"] if setup.on_gpu else ["float32", "bfloat16"]
    models = ["ViT-Ti"] if setup.small else ["ViT-Ti", "ViT-B"]
    for name in models:
        classifier = setup.vit(name)
        for stage, run in {"score": _score, "attribute": _attribute, "attack": _attack, "diffmask": _diffmask}.items():
            for precision in precisions:
                yield f"{LABELS[stage]}, {name}, {precision}", partial(run, setup, classifier, precision)
        if name == "ViT-Ti":
            yield from peers.cases(setup, classifier)
        del classifier
    for channels_last in (False, True):
        for precision in precisions:
            layout = "channels last" if channels_last else "contiguous"
            yield f"denoise, ADM, {precision}, {layout}", partial(_denoise, setup, precision, channels_last)
    yield "denoise, ADM, bfloat16 weights, channels last", partial(_denoise, setup, "float32", True, torch.bfloat16)


LABELS = {
    "score": f"SaCo, {METHODS} methods",
    "attribute": "all one-pass explainers",
    "attack": "PGD, 5 steps",
    "diffmask": "DiffMask training step",
}


class Bare:
    """A number of passes of a classifier in full batches, of images that are on the device already."""

    def __init__(self, classifier: Classifier, images: Tensor, precision: Precision) -> None:
        self.classifier, self.images, self.precision = classifier, images, precision

    def __call__(self, forwards: int, backwards: int) -> None:
        """``backwards`` images forward and backward to the pixels, and the other ``forwards`` forward alone."""
        with forward_precision(self.precision, self.images.device.type):
            with torch.inference_mode():
                for size in self._batches(forwards - backwards):
                    self.classifier(self.images[:size])
            for size in self._batches(backwards):
                batch = self.images[:size].clone().requires_grad_()
                torch.autograd.grad(self.classifier(batch)[:, 0].sum(), batch)

    def _batches(self, count: int) -> Iterator[int]:
        for start in range(0, count, len(self.images)):
            yield min(len(self.images), count - start)


def _against_bare(
    setup: Setup, classifier: Classifier, batch: Tensor, precision: Precision, action: Callable[[], object], count: int
) -> Row:
    """``action`` beside the bare passes of the number that it makes."""
    with PassCounter(classifier) as passes:
        action()
    bare = Bare(classifier, batch, precision)
    setup.free()
    ours, floor = setup.seconds(action, lambda: bare(passes.forwards, passes.backwards))
    return {
        "result": "ok",
        "passes": f"{passes.forwards} F + {passes.backwards} B",
        "batch": len(batch),
        "per s": count / ours,
        "bare, s": floor,
        "ours, s": ours,
        "/ bare": floor / ours,
        "GiB": setup.peak(),
    }


def _given(setup: Setup, classifier: Classifier, count: int) -> tuple[Tensor, Tensor, list[str]]:
    images = setup.images(count, classifier.input_shape)
    return images, torch.zeros(count, dtype=torch.int64, device=setup.device), [str(i) for i in range(count)]


def _score(setup: Setup, classifier: Classifier, precision: Precision) -> Row:
    count, size = (2, 32) if setup.small else (16, 256)
    images, targets, ids = _given(setup, classifier, count)
    source = torch.Generator().manual_seed(1)
    maps = {f"m{i}": torch.rand(count, *classifier.grid, generator=source) for i in range(METHODS)}
    batch = setup.images(size, classifier.input_shape)

    def action() -> Any:
        return evaluate(
            classifier, images, targets, ids, maps, {"saco": METRICS.item("saco")}, batch_size=size, precision=precision
        )

    return _against_bare(setup, classifier, batch, precision, action, count * METHODS)


def one_pass() -> dict[str, Any]:
    """Explainers that share one pass and need no trained file."""
    found = [e for e in EXPLAINERS if e.traits["family"] == "one_pass" and not e.traits.get("model_files")]
    return {entry.name: EXPLAINERS.item(entry.name) for entry in found}


def _attribute(setup: Setup, classifier: Classifier, precision: Precision) -> Row:
    count = 2 if setup.small else 64
    images, targets, ids = _given(setup, classifier, count)
    methods = one_pass()

    def action() -> None:
        with forward_precision(precision, setup.device):
            explain(classifier, images, targets, ids, methods, seed=0, batch_size=count)

    return _against_bare(setup, classifier, images, precision, action, count) | {"methods": len(methods)}


def _attack(setup: Setup, classifier: Classifier, precision: Precision) -> Row:
    count = 2 if setup.small else 64
    images, targets, ids = _given(setup, classifier, count)
    item = ATTACKS.item("pgd", steps=5)

    def action() -> None:
        with forward_precision(precision, setup.device):
            attack_images(classifier, images, targets, ids, item, seed=0, batch_size=count)

    return _against_bare(setup, classifier, images, precision, action, count)


def _diffmask(setup: Setup, classifier: Classifier, precision: Precision) -> Row:
    count = 4 if setup.small else 64
    images = setup.images(count, classifier.input_shape)
    with frozen(classifier):
        network = new_diffmask(classifier, distribution=HardConcrete(), beta=5.0)
        step = SharedStep(classifier, network, DiffMaskRecipe(), 10_000)

        def within(action: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                with forward_precision(precision, setup.device):
                    action()

            return run

        ours, floor = setup.seconds(within(lambda: step(images, 0)), within(lambda: bare_diffmask(classifier, images)))
    row = {"result": "ok", "passes": "2 F + 1 B", "batch": count, "per s": count / ours}
    return row | {"bare, s": floor, "ours, s": ours, "/ bare": floor / ours, "GiB": setup.peak()}


def _denoise(setup: Setup, precision: Precision, channels_last: bool, dtype: torch.dtype = torch.float32) -> Row:
    denoiser: Denoiser = setup.made.get("adm") or setup.adm()
    setup.made["adm"] = denoiser
    network: nn.Module = denoiser.network
    nn.Module.to(network, dtype=dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(memory_format=layout)
    images, samples, size = (2, 2, 2) if setup.small else (8, 2, 8)
    shape = (denoiser.channels, *(denoiser.size or (32, 32)))

    def action() -> None:
        with forward_precision(precision, setup.device):
            denoise(setup, denoiser, images, samples, size)

    def bare() -> None:
        batch = torch.zeros(size, *shape, device=setup.device, dtype=dtype)
        steps = torch.zeros(size, dtype=torch.long, device=setup.device)
        with forward_precision(precision, setup.device), torch.inference_mode():
            for _ in range(images * samples // size):
                network(batch, steps)

    ours, floor = setup.seconds(action, bare)
    return {
        "result": "ok",
        "passes": f"{images * samples} F",
        "batch": size,
        "per s": images * samples / ours,
        "bare, s": floor,
        "ours, s": ours,
        "/ bare": floor / ours,
        "GiB": setup.peak(),
    }
