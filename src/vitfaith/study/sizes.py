"""Shapes that a study names, and from them the bytes of its files: closed forms, without opening a data set or a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from typing import Any

from vitfaith.artifacts.paths import Condition
from vitfaith.study.plan import Plan

Shape = tuple[int, int, int]
"""Channels, height, width."""

SIDE, PATCH, CLASSES = 224, 16, 1000
"""Taken where a study does not say: most of timm's ViTs."""

TABLES = 4_000
"""Bytes of scores, curves and stability per map, compressed: twice the default study's with all its metrics."""

ROW = 200
"""Bytes of a row's ids, labels and flags."""

_IN_NAME = re.compile(r"_(\d{2,4})(?=\.|$)")
_WIDTH_AND_DEPTH = {
    "tiny": (192, 12),
    "small": (384, 12),
    "large": (1024, 24),
    "huge": (1280, 32),
    "giant": (1408, 40),
    "gigantic": (1664, 48),
}
_PATCH_IN_NAME = re.compile(r"patch(\d+)")


@dataclass(frozen=True)
class Network:
    """Sizes of a model, from its name and arguments.

    Attributes:
        shape: of the images that it takes.
        patch: side of a cell of its maps, in pixels.
        classes: of its head.
        work: its width × depth relative to a ViT-B; 1 if unknown.
    """

    shape: Shape
    patch: int
    classes: int
    work: float


@cache
def network_of(plan: Plan, model: str) -> Network:
    """Sizes of the study's ``model``."""
    section = plan.study.models[model]
    arguments, name = section.arguments, section.timm or ""
    found, patch = _IN_NAME.search(name), _PATCH_IN_NAME.search(name)
    height, width = _pair(arguments.get("img_size", int(found[1]) if found else SIDE))
    side = _pair(section.patch or arguments.get("patch_size", int(patch[1]) if patch else PATCH))[0]
    named = next((size for word, size in _WIDTH_AND_DEPTH.items() if f"_{word}" in name), (768, 12))
    wide, deep = (arguments.get(key, size) for key, size in zip(("embed_dim", "depth"), named, strict=True))
    work = wide * deep / (768 * 12) if isinstance(wide, int) and isinstance(deep, int) else 1.0
    channels, classes = int(arguments.get("in_chans", 3)), int(arguments.get("num_classes", CLASSES))
    return Network((channels, height, width), side, classes, work)


@cache
def shape_of(plan: Plan, dataset: str) -> Shape:
    """Shape of the images of ``dataset``: as its settings say, else as the study's first model of it takes them."""
    parameters = plan.study.datasets[dataset][0].parameters
    models = [c.model for c in plan.conditions if c.dataset == dataset]
    channels, height, width = network_of(plan, models[0]).shape if models else (3, SIDE, SIDE)
    size = getattr(parameters, "size", None)
    if isinstance(size, int):
        grey = getattr(parameters, "channels", "rgb") == "grey"
        return (1 if grey else 3, size, size)
    return (channels, height, width)


def pixels_of(plan: Plan, dataset: str) -> int:
    """Numbers in an image of ``dataset``."""
    return prod(shape_of(plan, dataset))


def cells_of(plan: Plan, dataset: str, model: str) -> int:
    """Cells in a map of ``model`` on images of ``dataset``."""
    side = network_of(plan, model).patch
    _, height, width = shape_of(plan, dataset)
    return ceil(height / side) * ceil(width / side)


def samples_of(plan: Plan, smoothing: str) -> int:
    """Noise samples that a smoothing stores of each image; 0 without smoothing."""
    return int(getattr(plan.study.smoothings[smoothing].parameters, "samples", 1)) if plan.smooths(smoothing) else 0


def methods_of(plan: Plan, wildcards: Mapping[str, str]) -> list[str]:
    """Ids of the explainers of a job's family, of all families where it names none."""
    families = plan.methods(condition_of(wildcards))
    return families[wildcards["family"]] if "family" in wildcards else [m for ids in families.values() for m in ids]


def condition_of(wildcards: Mapping[str, str]) -> Condition:
    """The condition of a job; an empty name where its files are for all of them."""
    return Condition(*(wildcards.get(name, "") for name in ("dataset", "model", "attack", "smoothing", "explained")))


def stored(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> int:
    """Bytes that a job of ``stage`` over a shard writes per image, estimated from above: pixels hardly compress."""
    dataset, model = wildcards["dataset"], wildcards.get("model", "")
    pixels = pixels_of(plan, dataset)
    if stage == "shard":
        return pixels + ROW
    samples = samples_of(plan, wildcards["smoothing"]) if "smoothing" in wildcards else 0
    if stage == "denoise":
        return samples * (2 * pixels + ROW)
    answers = 8 * network_of(plan, model).classes + ROW
    if stage == "attack":
        return pixels + ROW + answers
    if stage == "predict":
        return answers + 4 * samples
    maps, cells = len(methods_of(plan, wildcards)), cells_of(plan, dataset, model)
    if stage == "attribute":
        certified = bool(plan.certificates(condition_of(wildcards)))
        arrays = 1 if not samples else 3 + samples * certified  # map, spread, raw mean, samples
        return maps * (4 * cells * arrays + ROW)
    if stage == "bank":
        return MASKS * ROW // 4
    return maps * TABLES


MASKS = 1000
"""Masks per image in a response bank, a typical number."""


def _pair(value: Any) -> tuple[int, int]:
    first, last = (value, value) if isinstance(value, int | str) else (value[0], value[-1])
    return int(first), int(last)
