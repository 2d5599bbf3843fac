"""A few steps of every training on the device against the CPU: the trained numbers, from the same start and the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from benchmarks.gpu_sections.compare import compared
from benchmarks.gpu_sections.setup import Case, Row, Setup
from benchmarks.gpu_sections.shipped import Given, Shipped, both
from torch import nn

from vitfaith.denoisers.recipe import DenoiserRecipe
from vitfaith.denoisers.training import train_denoiser
from vitfaith.explainers.diffmask.recipe import OFFICIAL, DiffMaskRecipe
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.models.precision import forward_precision
from vitfaith.models.training.classifier import train_classifier
from vitfaith.models.training.recipe import ClassifierRecipe

STEPS = 3
"""Optimiser steps: enough for every part of a step to act on the next one, too few for rounding to grow."""


def cases(setup: Setup) -> Iterator[Case]:
    """DiffMask by both rules, of the prediction and of a class; classifier; denoiser."""
    on_cpu, on_device = both(setup)
    trainings: dict[str, Callable[[Shipped], nn.Module]] = {
        "DiffMask": _diffmask,
        "DiffMask of a class": partial(_diffmask, class_specific=True),
        "DiffMask, official rule": partial(_diffmask, settings=OFFICIAL | {"warmup": 1}),
        "classifier": _classifier,
        "denoiser": _denoiser,
    }
    for name, train in trainings.items():
        yield f"training {name}, {STEPS} steps", partial(_compare, on_cpu, on_device, train)


def _compare(on_cpu: Shipped, on_device: Shipped, train: Callable[[Shipped], nn.Module]) -> Row:
    with forward_precision("float32", on_device.device):
        found, expected = (_numbers(train(where)) for where in (on_device, on_cpu))
    return compared(found, expected, 1e-2, within=0.99)  # Adam divides by gradients that may be near zero


def _numbers(network: nn.Module) -> np.ndarray:
    state = network.state_dict().values()
    return np.concatenate([value.detach().cpu().double().numpy().ravel() for value in state])


def _diffmask(where: Shipped, class_specific: bool = False, settings: dict[str, Any] | None = None) -> nn.Module:
    pixels = where.given.pixels
    recipe = DiffMaskRecipe(
        **{"steps": STEPS, "epochs": STEPS, "batch_size": len(pixels), "warmup": 1} | (settings or {})
    )
    return train_diffmask(where.classifier, pixels, pixels, recipe, class_specific=class_specific)[0]


def _classifier(where: Shipped) -> nn.Module:
    given: Given = where.given
    images = given.pixels, given.labels
    recipe = ClassifierRecipe(epochs=STEPS, batch_size=len(given.ids))
    model: Any = given.spec
    return train_classifier(
        model["timm"], model["arguments"], images, images, recipe, seed=0, device=where.device
    )[0]  # fmt: skip


def _denoiser(where: Shipped) -> nn.Module:
    pixels = where.given.pixels
    recipe = DenoiserRecipe(channels=(8, 16), epochs=STEPS, batch_size=len(pixels), crop=8)
    return train_denoiser(pixels, pixels, recipe, seed=0, device=where.device)[0]
