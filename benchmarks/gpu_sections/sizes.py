"""Batch sizes: the fastest that are found, and where halving ends when memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from benchmarks.gpu_sections.setup import Case, Row, Setup
from torch import nn

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.auto_batch import measured
from vitfaith.models.classifier import Classifier
from vitfaith.smoothings.dds import DdsParameters, dds

SCARCE = 4.0
"""GiB that are left for tensors where memory is made short."""
ASKED = 1024
"""Images that a ViT is given at once where memory is short."""
ADM_ASKED = 256
"""The batch of a denoising job that was not told one."""


def cases(setup: Setup) -> Iterator[Case]:
    """First what the job's own search finds, then every computation with far too large a batch and little memory."""
    for name in setup.vits:
        for backward in (False, True):
            passes = "forward and backward" if backward else "forward"
            yield f"{name}, {passes}: fastest batch", partial(_search, setup, name, backward)
    computations = {"attribute": _attribute, "attack": _attack, "score": _score, "predict": _predict}
    for stage, run in computations.items():
        for name in ["ViT-Ti"] if setup.small else ["ViT-B"]:
            yield f"{stage}, {name}, {SCARCE:g} GiB", partial(_halved_vit, setup, name, run)
    yield f"denoise, ADM, {2 * SCARCE:g} GiB", partial(_halved_adm, setup, 2 * SCARCE)
    yield "denoise, ADM, all memory", partial(_halved_adm, setup, None)


def _search(setup: Setup, name: str, backward: bool) -> Row:
    classifier = setup.vit(name)
    if not setup.on_gpu:
        return {"result": "skipped: measured on GPUs alone"}
    return {
        "result": "ok",
        "batch": measured(classifier, classifier.input_shape, backward=backward),
        "GiB": setup.peak(),
    }


class Largest:
    """Notes the largest batch that went through a network, and the last one."""

    def __init__(self, network: nn.Module) -> None:
        self.sizes: list[int] = []
        self._handle = network.register_forward_hook(lambda _m, given, _o: self.sizes.append(len(given[0])))

    def row(self, setup: Setup, asked: int) -> Row:
        """Columns of the table."""
        self._handle.remove()
        found = {"result": "ok", "asked": asked, "batch": max(self.sizes), "GiB": setup.peak()}
        return found | ({"GiB reserved": round(torch.cuda.max_memory_reserved() / 2**30, 2)} if setup.on_gpu else {})


@contextmanager
def _memory(setup: Setup, gib: float | None) -> Iterator[None]:
    """Tensors get ``gib`` more than they hold now; the allocator's own limit, so that other processes are left alone."""
    if not setup.on_gpu or gib is None:
        yield
        return
    setup.free()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (gib * 2**30 + torch.cuda.memory_reserved()) / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _halved_vit(setup: Setup, name: str, run: Callable[[Setup, Classifier, int], object]) -> Row:
    classifier = setup.vit(name)
    asked = 8 if setup.small else ASKED
    with _memory(setup, SCARCE):
        largest = Largest(classifier.backbone)
        run(setup, classifier, asked)
    return largest.row(setup, asked)


def _given(setup: Setup, classifier: Classifier, count: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    images = setup.images(count, classifier.input_shape).cpu()
    return images, torch.zeros(count, dtype=torch.int64), [str(i) for i in range(count)]


def _attribute(setup: Setup, classifier: Classifier, asked: int) -> None:
    names = ("attention_rollout", "transformer_mm", "saliency", "token_gradcam")
    methods = {name: EXPLAINERS.item(name) for name in names}
    explain(classifier, *_given(setup, classifier, asked), methods, seed=0, batch_size=asked)


def _attack(setup: Setup, classifier: Classifier, asked: int) -> None:
    attack_images(classifier, *_given(setup, classifier, asked), ATTACKS.item("pgd", steps=1), seed=0, batch_size=asked)


def _score(setup: Setup, classifier: Classifier, asked: int) -> None:
    count = max(2, asked // 10)
    given = _given(setup, classifier, count)
    maps = {"m": torch.rand(count, *classifier.grid)}
    evaluate(classifier, *given, maps, {"saco": METRICS.item("saco")}, batch_size=asked)


def _predict(setup: Setup, classifier: Classifier, asked: int) -> None:
    from vitfaith.models.forward import forward_in_batches

    forward_in_batches(classifier, _given(setup, classifier, asked)[0], asked)


def _halved_adm(setup: Setup, gib: float | None) -> Row:
    denoiser = setup.made.setdefault("adm", None) or setup.adm()
    setup.made["adm"] = denoiser
    asked = 8 if setup.small else ADM_ASKED
    count = asked if gib is None else min(asked, 24)
    with _memory(setup, gib):
        largest = Largest(denoiser.network)
        denoise(setup, denoiser, count, 1, asked)
    return largest.row(setup, asked) | {"parameters": sum(p.numel() for p in denoiser.network.parameters())}


def denoise(setup: Setup, denoiser: Denoiser, images: int, samples: int, batch_size: int) -> None:
    """Denoised samples of random images at the size of the network."""
    size = denoiser.size or (32, 32)
    pixels = setup.images(images, (denoiser.channels, *size)).cpu()
    parameters = DdsParameters.model_validate({"sigma": 0.25, "denoiser": "random"})
    dds(denoiser, pixels, [str(i) for i in range(images)], parameters, range(samples), seed=0, batch_size=batch_size)
