"""What tests of the engine share: a model that notes its batches, default entries, scores as a dictionary."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.metrics.evaluate import Evaluation
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item

OURS = ("saco", "curves", "eraser", "chefer", "diffmask", "region", "road", "irof")
MODULES = {f"vitfaith.metrics.{name}" for name in OURS}
NAMES = [entry.name for entry in METRICS if entry.module in MODULES]


shared_vit = functools.cache(tiny_vit)


class Recorder(Classifier):
    """The tiny ViT, or ``inner``, noting the size of every batch and refusing batches above ``limit``."""

    def __init__(self, limit: int = 10**9, inner: Classifier | None = None) -> None:
        inner = inner or shared_vit()
        super().__init__(inner.backbone, [0.5] * 3, [0.25] * 3)
        self.eval()
        self.sizes: list[int] = []
        self.limit = limit
        self.message = "CUDA out of memory. Tried to allocate 2.00 GiB"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.limit:
            raise RuntimeError(self.message)
        self.sizes.append(len(images))
        return super().forward(images)


def default(name: str) -> Item:
    return METRICS.item(name)


def table(evaluation: Evaluation) -> dict[tuple[str, str, str, str], float]:
    return {(r["image_id"], r["method"], r["metric"], r["variant"]): r["value"] for r in evaluation.scores.to_pylist()}


def close(one: dict, other: dict, tolerance: float = 1e-5) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        if np.isnan(value):
            assert np.isnan(other[key]), key
        else:
            assert other[key] == pytest.approx(value, rel=tolerance, abs=tolerance), key
