"""Shapes that a study names, and from them the bytes of its files: closed forms, without opening a data set or a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from typing import Any

from vitfaith.artifacts.paths import Condition
from vitfaith.errors import ConfigError
from vitfaith.study.conditions import experiment_conditions
from vitfaith.study.plan import Plan

Shape = tuple[int, int, int]
"""Channels, height, width."""

SIDE, PATCH, CLASSES = 224, 16, 1000
"""Taken where a study does not say: most of timm's ViTs."""

ROW, VALUE, POINT, CERTIFICATE = 40, 9, 13, 60
"""Bytes as they are stored: ids, labels and flags of a row; a row of scores or stability; a row of curves; a certificate."""

LAYERS = 20
"""Values of a sanity check, at most one per part of a network that it makes random."""

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
        work: its width × depth per cell relative to a ViT-B; 1 if unknown.
    """

    shape: Shape
    patch: int
    classes: int
    work: float


@cache
def network_of(plan: Plan, model: str) -> Network:
    """Sizes of the study's ``model``.

    Raises:
        ConfigError: a size among its arguments is no positive whole number.
    """
    section = plan.study.models[model]
    arguments, name = section.arguments, section.timm or ""
    found, patch = _IN_NAME.search(name), _PATCH_IN_NAME.search(name)
    where = f"models.{model}.arguments"
    height, width = _pair(arguments.get("img_size", int(found[1]) if found else SIDE), f"{where}.img_size")
    side = _pair(
        section.patch or arguments.get("patch_size", int(patch[1]) if patch else PATCH), f"{where}.patch_size"
    )[0]
    named = next((size for word, size in _WIDTH_AND_DEPTH.items() if f"_{word}" in name), (768, 12))
    wide, deep = (arguments.get(key, size) for key, size in zip(("embed_dim", "depth"), named, strict=True))
    work = wide * deep / (768 * 12) if isinstance(wide, int) and isinstance(deep, int) else 1.0
    # Merges its patches of 4 pixels: most blocks, and the width in its name, are over patches of 16 pixels and more.
    if "swin" in name:
        work *= (side / PATCH) ** 2
    channels = _whole(arguments.get("in_chans", 3), f"{where}.in_chans")
    classes = _whole(arguments.get("num_classes", CLASSES), f"{where}.num_classes")
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
    answers = answers_of(plan, model)
    if stage == "attack":
        return (pixels if plan.changes(wildcards["attack"]) else 0) + ROW + answers
    if stage == "predict":
        return answers + 4 * samples
    condition = condition_of(wildcards)
    maps, cells = len(methods_of(plan, wildcards)), cells_of(plan, dataset, model)
    if stage == "attribute":
        return maps * (4 * cells * arrays_of(plan, condition) + ROW)
    if stage == "bank":
        return MASKS * ANSWER
    return maps * _RESULTS[stage](plan, condition)


MASKS, ANSWER = 1000, 50
"""Masks per image in a response bank, a typical number, and the bytes of an answer to one."""


def answers_of(plan: Plan, model: str) -> int:
    """Bytes of a prediction: the probability and the votes of each class, of which most are 0."""
    return 5 * network_of(plan, model).classes + ROW


def arrays_of(plan: Plan, condition: Condition) -> int:
    """Arrays of the size of a map that are stored of a map: behind a smoothing also spread, raw mean, and samples to certify."""
    samples = samples_of(plan, condition.smoothing)
    return 1 if not samples else 3 + samples * bool(plan.certificates(condition))


@cache
def points_of(plan: Plan, condition: Condition) -> int:
    """Points per map of its curves, which metrics of the same settings share."""
    points: dict[str, int] = {}
    for parameters in (plan.study.metrics[id_].parameters for id_ in plan.metrics(condition)):
        settings = [str(getattr(parameters, name, "")) for name in ("level", "upsampling", "fill")]
        for count in getattr(parameters, "groups", ()):
            points[f"{settings} groups {count}"] = count
        if isinstance(steps := getattr(parameters, "steps", None), int):
            points[f"{settings} steps {steps}"] = 2 * (steps + 1)  # most and least relevant first
    return sum(points.values())


@cache
def scored(plan: Plan, condition: Condition) -> int:
    """Bytes per map of scores and of curves."""
    return _values(plan, condition) + POINT * points_of(plan, condition)


@cache
def compared(plan: Plan, condition: Condition) -> int:
    """Bytes per map of its comparisons with maps of clean images."""
    measures = [plan.study.stability[id_].parameters for id_ in plan.measures(condition)]
    return VALUE * len(plan.references(condition)) * sum(map(_variants, measures))


def tables_of(plan: Plan, experiment: str) -> int:
    """Bytes of an experiment's tables: predictions, scores and stability of every image; the other tables are small."""
    found = 0
    for condition in experiment_conditions(plan.study.experiments[experiment]):
        maps = sum(map(len, plan.methods(condition).values()))
        each = maps * (_values(plan, condition) + compared(plan, condition))
        found += plan.images(condition.dataset) * (answers_of(plan, condition.model) + each)
    return found


def _values(plan: Plan, condition: Condition) -> int:
    return VALUE * sum(_variants(plan.study.metrics[id_].parameters) for id_ in plan.metrics(condition))


def _checked(plan: Plan, condition: Condition) -> int:
    return VALUE * LAYERS * len(plan.checks(condition))


def _certified(plan: Plan, condition: Condition) -> int:
    return CERTIFICATE * sum(_variants(plan.study.certificates[id_].parameters) for id_ in plan.certificates(condition))


_RESULTS: dict[str, Callable[[Plan, Condition], int]] = {
    "score": scored,
    "stability": compared,
    "sanity": _checked,
    "certify": _certified,
}
"""Stage → bytes per map."""


def _variants(parameters: Any) -> int:
    """Values of a metric or certificate: one per combination of its settings that are lists."""
    return prod(len(value) for _, value in parameters if isinstance(value, tuple) and value)


def _pair(value: Any, key: str) -> tuple[int, int]:
    """Height and width from one number or two; ``key`` names the setting in errors."""
    both = value if isinstance(value, list | tuple) and value else [value]
    return _whole(both[0], key), _whole(both[-1], key)


def _whole(value: Any, key: str) -> int:
    if isinstance(value, bool) or not (isinstance(value, int) or str(value).isdecimal()) or int(value) < 1:
        raise ConfigError(
            f"{key}: {value!r} is no positive whole number; write one, or leave the key out for the default"
        )
    return int(value)
