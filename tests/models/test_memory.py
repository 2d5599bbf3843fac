"""Batches are halved when memory runs out, in every computation alike, and no result changes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.denoisers.conftest import tiny_unet
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.bank.build import build_bank
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.memory import BatchSize, in_batches, spare_memory
from vitfaith.smoothings.dds import DdsParameters, dds

LIMIT = 2
IDS = [f"image-{i}" for i in range(5)]
TARGETS = torch.tensor([0, 3, 1, 4, 3])


class Scarce(nn.Module):
    """A network on a device that holds :data:`LIMIT` images; notes how many it was given."""

    def __init__(self, inner: nn.Module, error: Callable[[], RuntimeError]) -> None:
        super().__init__()
        self.inner, self.error, self.sizes = inner, error, list[int]()

    def forward(self, images: Tensor, *more: Tensor) -> Any:
        self.sizes.append(len(images))
        if len(images) > LIMIT:
            raise self.error()
        return self.inner(images, *more)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)


class Parts:
    """What computations need, on plenty of memory, or on little where there is an ``error``."""

    def __init__(self, error: Callable[[], RuntimeError] | None = None) -> None:
        inner, unet = tiny_vit(), tiny_unet()
        self.networks = [Scarce(network, error) for network in (inner.backbone, unet)] if error else []
        backbone, network = self.networks or (inner.backbone, unet)
        self.classifier = Classifier(backbone, [0.5] * 3, [0.25] * 3).eval()
        self.denoiser = Denoiser(network, Schedule.from_config({}))
        self.images = torch.randint(0, 256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(1)) / 255


def attribute(parts: Parts) -> Tensor:
    methods = {name: EXPLAINERS.item(name) for name in ("saliency", "attention_rollout", "random")}
    maps = explain(parts.classifier, parts.images, TARGETS, IDS, methods, seed=0, batch_size=8)
    return torch.stack(list(maps.values()))


def attribute_with_copies(parts: Parts) -> Tensor:
    """One image, of which the explainer makes copies."""
    methods = {"smoothgrad": EXPLAINERS.item("smoothgrad", samples=5)}
    return explain(parts.classifier, parts.images[:1], TARGETS[:1], IDS[:1], methods, seed=0, batch_size=8)[
        "smoothgrad"
    ]


def attack(parts: Parts) -> Tensor:
    item = ATTACKS.item("pgd", steps=2)
    found = attack_images(parts.classifier, parts.images, TARGETS, IDS, item, seed=0, batch_size=8)
    return torch.from_numpy(found.images)


def score(parts: Parts) -> Tensor:
    maps = {"m": torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(2))}
    found = evaluate(parts.classifier, parts.images, TARGETS, IDS, maps, {"saco": METRICS.item("saco")}, batch_size=8)
    return torch.tensor(found.scores.column("value").to_pylist())


def bank(parts: Parts) -> Tensor:
    metric = METRICS.item("faithfulness_correlation")
    requests = metric.implementation(metric.parameters).banked()
    found = build_bank(parts.classifier, parts.images, TARGETS, IDS, requests, batch_size=8)
    return next(iter(found.responses.values())).probability


def denoise(parts: Parts) -> Tensor:
    parameters = DdsParameters(sigma=0.25, denoiser="tiny")
    return dds(parts.denoiser, parts.images, IDS, parameters, range(3), seed=0, batch_size=8)


def predict(parts: Parts) -> Tensor:
    return forward_in_batches(parts.classifier, parts.images, 8)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, lambda: RuntimeError("CUDA error: out of memory")])
@pytest.mark.parametrize("run", [attribute, attribute_with_copies, attack, score, bank, denoise, predict])
def test_running_out_of_memory_halves_the_batch_and_changes_nothing(
    run: Callable[[Parts], Tensor], error: Callable[[], RuntimeError]
) -> None:
    scarce = Parts(error)
    assert torch.allclose(run(scarce).double(), run(Parts()).double(), rtol=1e-5, atol=1e-6)
    sizes = [size for network in scarce.networks for size in network.sizes]
    assert max(sizes) > LIMIT
    failed = [size for size in sizes if size > LIMIT]
    assert len(failed) <= 2, "what did not fit once is not tried again"


@pytest.mark.parametrize("run", [attribute, attribute_with_copies, attack, score, bank, denoise, predict])
def test_other_errors_are_raised_at_once(run: Callable[[Parts], Tensor]) -> None:
    scarce = Parts(lambda: RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(scarce)
    assert len([size for network in scarce.networks for size in network.sizes if size > LIMIT]) == 1


def test_the_smallest_batch_that_does_not_fit_is_an_error() -> None:
    device = SimpleNamespace(tried=list[int]())

    def work(start: int, stop: int) -> None:
        device.tried.append(stop - start)
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(5, BatchSize(64), work))
    assert device.tried == [5, 2, 1]
    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(1, BatchSize(4), work, copies=True))
    assert device.tried[3:] == [1, 1, 1]


def test_rows_come_once_and_in_order() -> None:
    limit = BatchSize(7)

    def work(start: int, stop: int) -> list[int]:
        if stop - start > 3:
            raise torch.OutOfMemoryError
        return list(range(start, stop))

    found = list(in_batches(11, limit, work))
    assert [row for _, rows in found for row in rows] == list(range(11))
    assert [(part.start, part.stop) for part, _ in found] == [(0, 3), (3, 6), (6, 9), (9, 11)]
    assert limit.size == 3


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        BatchSize(0)


@pytest.mark.parametrize(
    "text",
    [
        "Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true, but got false.",
        "upsample_nearest2d_out_frame only supports output tensors with less than INT_MAX elements",
    ],
)
def test_a_batch_that_cuda_cannot_count_is_halved(text: str) -> None:
    def work(start: int, stop: int) -> int:
        if stop - start > LIMIT:
            raise RuntimeError(text)
        return stop - start

    assert [found for _, found in in_batches(5, BatchSize(4), work)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("free", "taken", "held", "share", "spare"),
    [
        (60, 10, 10, 1.0, 60),  # others have taken 30 of 100
        (60, 10, 25, 1.0, 75),  # what the allocator holds without need may be taken, too
        (60, 10, 10, 0.5, 40),  # the process may take 50, and has 10
        (60, 60, 60, 0.5, 0),
    ],
)
def test_spare_memory_is_within_the_process_s_own_limit(
    free: int, taken: int, held: int, share: float, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        "mem_get_info": (free, 100), "memory_allocated": taken, "memory_reserved": held,
        "get_per_process_memory_fraction": share,
    }  # fmt: skip
    for name, value in found.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value, raising=False)
    assert spare_memory(torch.device("cuda")) == spare
