"""Rows of the tests alone: networks of the Hugging Face hub, from small files that the package does not carry."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from benchmarks.gpu_sections.compare import compared
from benchmarks.gpu_sections.setup import Case, Row, Setup
from torch import Tensor, nn

import vitfaith as vf
from tests.api.test_wrap import DATA, stand_in

STATISTICS = {"mean": [0.5] * 3, "std": [0.25] * 3}


def cases(setup: Setup) -> Iterator[Case]:
    """A folder, and a module that becomes a timm model."""
    for given in ("folder", "module"):
        yield f"library, network of the hub by its {given}", partial(_compare, setup.device, given)


def _compare(device: str, given: str) -> Row:
    found, expected = (_logits(where, given) for where in (device, "cpu"))
    return compared(found.numpy(), expected.numpy(), 1e-4)


def _logits(device: str, given: str) -> Tensor:
    network: nn.Module = (
        vf.wrap(DATA / "vit", device=device) if given == "folder" else vf.wrap(stand_in("vit").to(device), **STATISTICS)  # type: ignore[arg-type]
    )
    images = torch.full((2, *network.input_shape), 0.5, device=device)  # type: ignore[misc]
    with torch.inference_mode():
        return network.eval()(images).cpu()
