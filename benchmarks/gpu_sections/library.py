"""What ``import vitfaith`` offers, with a network of one's own on the device and images on the CPU, against the CPU alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.gpu_sections.compare import compared
from benchmarks.gpu_sections.setup import Case, Row, Setup
from benchmarks.gpu_sections.shipped import Shipped, both
from torch import nn

import vitfaith as vf
from vitfaith.models.precision import forward_precision

BATCH = 64
METHODS = ["attention_rollout", "input_x_gradient", "random"]


def cases(setup: Setup) -> Iterator[Case]:
    """Explain and score, attack, smooth and certify, and a network without patches."""
    on_cpu, on_device = both(setup)
    functions: dict[str, Callable[[Shipped], list[Any]]] = {
        "explain and score": _score, "attack": _attack, "smooth": _smooth, "plain network": _plain,
    }  # fmt: skip
    for name, function in functions.items():
        yield f"library, {name}", partial(_compare, on_cpu, on_device, function)


def _compare(on_cpu: Shipped, on_device: Shipped, function: Callable[[Shipped], list[Any]]) -> Row:
    with forward_precision("float32", on_device.device):
        found, expected = (_numbers(function(where)) for where in (on_device, on_cpu))
    return compared(found, expected, 1e-3, within=0.95)


def _numbers(parts: list[Any]) -> np.ndarray:
    frames = [part.select_dtypes("number") if isinstance(part, pd.DataFrame) else part for part in parts]
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in frames])


def _wrapped(where: Shipped) -> Any:
    mean, std = (values.flatten().tolist() for values in (where.classifier.mean, where.classifier.std))
    return vf.wrap(copy.deepcopy(where.classifier.backbone), mean=mean, std=std)


def _score(where: Shipped) -> list[Any]:
    """Images on the CPU and on the device."""
    model, images, labels = _wrapped(where), where.given.pixels, where.labels
    here = where.images.cpu()
    maps = vf.explain(model, here, METHODS, target="runner_up", batch_size=BATCH)
    other = vf.explain(model, where.images, METHODS, target="label", labels=labels, batch_size=BATCH)
    scores = vf.score(
        model, here, maps, ["saco", "insertion_auc", "localisation_auroc"], truth=where.truth.cpu(), batch_size=BATCH
    )
    again = vf.evaluate(model, where.images, other, "deletion_auc", labels=labels, batch_size=BATCH).curves
    return [*maps.values(), *other.values(), scores, again, images]


def _attack(where: Shipped) -> list[Any]:
    found = vf.attack(_wrapped(where), where.images.cpu(), "pgd", eps="8/255", steps=3, batch_size=BATCH)
    moved = vf.wrap(_wrapped(where), device=where.device)
    return [found.images, found.target, vf.attack(moved, where.images, "clean", batch_size=BATCH).images]


def _smooth(where: Shipped) -> list[Any]:
    smoothed = vf.smooth(
        _wrapped(where),
        where.images.cpu(),
        "dds",
        denoiser=where.denoiser,
        sigma=0.25,
        samples=16,
        image_ids=where.ids,
        batch_size=BATCH,
    )
    maps = smoothed.explain(["input_x_gradient"])
    return [smoothed.samples, *maps.values(), smoothed.predict(), vf.certify(smoothed, ("cohen", {"selection": 4}))]


def _plain(where: Shipped) -> list[Any]:
    """A network without patches, with the batch size that is found."""
    channels, height, width = where.classifier.input_shape
    network = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 5))
    nn.init.constant_(network[1].weight, 0.01)  # type: ignore[arg-type]
    nn.init.zeros_(network[1].bias)  # type: ignore[arg-type]
    statistics: dict[str, Any] = {"mean": [0.5] * channels, "std": [0.25] * channels}
    model = vf.wrap(network, input_size=(height, width), patch_size=4, device=where.device, **statistics)
    return list(vf.explain(model, where.images.cpu(), ["saliency", ("rise", {"masks": 8})]).values())
