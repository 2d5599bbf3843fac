"""Memory and minutes of a job, from images × shape × samples. No input has to exist.

Numbers are upper bounds for one try. A retry gets more (the rules multiply by the attempt), and continues with the images
that are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from vitfaith.study.conditions import experiment_conditions
from vitfaith.study.jobs import Job
from vitfaith.study.plan import Plan
from vitfaith.study.sizes import cells_of, methods_of, network_of, pixels_of, points_of, samples_of, stored
from vitfaith.study.work import WITHOUT_NETWORK, passes

PROGRAM, WITH_NETWORK = 1_500, 5_000
"""MB of a job before it reads anything: Python and its libraries; torch, CUDA and a network of the size of a ViT-L too."""

TRAINING_MB, TRAINING_MINUTES = 16_000, 720
LEAST_MINUTES = 30
"""Of any job: starting, waiting for files, compiling."""

PER_SECOND_GPU, PER_SECOND_CPU = 150.0, 3.0
"""Forward passes of a ViT-B on 224 × 224 pixels per second, on a slow device."""

KEPT_CELLS = 750_000
"""Bytes per cell that a ViT-B keeps for its backward pass."""

TABLE_ROW = 1_000
"""Bytes of an image × method that the tables of one condition hold at once, where its curves have few points."""

TABLE_POINT = 30
"""Bytes of a point of a curve that they hold at once: three numbers, two more of a group of SaCo, copies of one curve."""


def memory_mb(plan: Plan, stage: str, wildcards: Mapping[str, str], on_gpu: bool = True) -> int:
    """MB of main memory that a job needs; on a GPU the passes' own arrays lie in its memory and are not counted."""
    return _memory(plan, stage, _key(wildcards), on_gpu)


def minutes(plan: Plan, stage: str, wildcards: Mapping[str, str], on_gpu: bool = True) -> int:
    """Minutes that a job takes at most on a slow device."""
    return _minutes(plan, stage, _key(wildcards), on_gpu)


def asked(plan: Plan, job: Job, on_gpu: bool = True) -> tuple[int, int]:
    """MB of main memory and minutes that a job asks of a cluster in its first try."""
    wildcards = job.wildcards
    return memory_mb(plan, job.stage, wildcards, on_gpu), minutes(plan, job.stage, wildcards, on_gpu)


def seconds(plan: Plan, stage: str, wildcards: Mapping[str, str], images: int, on_gpu: bool = True) -> float:
    """Seconds of the passes over ``images`` on a slow device."""
    return images * passes(plan, stage, wildcards) / (PER_SECOND_GPU if on_gpu else PER_SECOND_CPU)


def _key(wildcards: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Shards ask alike: tens of thousands of jobs are a few hundred keys."""
    return tuple(item for item in wildcards.items() if item[0] != "shard")


@cache
def _memory(plan: Plan, stage: str, key: tuple[tuple[str, str], ...], on_gpu: bool) -> int:
    if stage.startswith("train_"):
        return TRAINING_MB
    wildcards = dict(key)
    if "experiment" in wildcards:
        curves = TABLE_POINT * _points(plan, wildcards["experiment"]) if stage == "tables" else 0
        return PROGRAM + 2_000 + _rows(plan, wildcards["experiment"]) * max(TABLE_ROW, curves) // 10**6
    program = PROGRAM if stage in WITHOUT_NETWORK else WITH_NETWORK
    return program + _images_at_once(plan, stage, wildcards) * _per_image(plan, stage, wildcards, on_gpu) // 10**6


def _rows(plan: Plan, experiment: str) -> int:
    """Images × methods of the largest condition of an experiment."""
    asked = plan.study.experiments[experiment]
    return max(plan.images(dataset) for dataset in asked.datasets) * len(asked.explainers)


def _points(plan: Plan, experiment: str) -> int:
    """Points of the curves of a map, in the condition of an experiment that has most."""
    return max(points_of(plan, condition) for condition in experiment_conditions(plan.study.experiments[experiment]))


def _images_at_once(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> int:
    size = min(plan.study.datasets[wildcards["dataset"]][1].shard_size, plan.images(wildcards["dataset"]))
    return size if stage in WITHOUT_NETWORK else min(size, plan.study.compute.part_size)


def _per_image(plan: Plan, stage: str, wildcards: Mapping[str, str], on_gpu: bool) -> int:
    """Bytes of an image's arrays: pixels as they are read, copied, in float32 and as they are written."""
    pixels = pixels_of(plan, wildcards["dataset"])
    samples = samples_of(plan, wildcards["smoothing"]) if "smoothing" in wildcards else 0
    written = stored(plan, stage, wildcards)
    if stage in ("stability", "certify"):
        cells = cells_of(plan, wildcards["dataset"], wildcards["model"])
        return 3 * 4 * cells * len(methods_of(plan, wildcards)) * (samples + 2)
    read = {"shard": 4, "attack": 16, "denoise": 12 * samples + 9}.get(stage, 9 + 8 * samples)
    return pixels * read + 3 * written + (0 if on_gpu else _kept(plan, stage, wildcards))


def _kept(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> int:
    """Bytes of an image's forward and backward passes on a CPU; a tenth of that without backward passes."""
    if stage in ("shard", "denoise"):
        return 0
    cells = cells_of(plan, wildcards["dataset"], wildcards["model"])
    kept = KEPT_CELLS * cells * network_of(plan, wildcards["model"]).work
    return round(kept if stage in ("attack", "attribute", "sanity") else kept / 10)


@cache
def _minutes(plan: Plan, stage: str, key: tuple[tuple[str, str], ...], on_gpu: bool) -> int:
    if stage.startswith("train_"):
        return TRAINING_MINUTES
    wildcards = dict(key)
    if "experiment" in wildcards:
        return 2 * LEAST_MINUTES + _rows(plan, wildcards["experiment"]) // 10_000
    images = min(plan.study.datasets[wildcards["dataset"]][1].shard_size, plan.images(wildcards["dataset"]))
    return LEAST_MINUTES + round(seconds(plan, stage, wildcards, images, on_gpu) / 60)
