"""Network passes of a job in closed form: from steps, samples and masks that its settings name, without running anything.

:mod:`vitfaith.check.counting` counts them exactly, but needs torch and seconds; here a thousand jobs take a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vitfaith.attacks.registry import smoothing_seen
from vitfaith.registry import Item
from vitfaith.study.plan import Plan
from vitfaith.study.sizes import (
    MASKS,
    PATCH,
    cells_of,
    condition_of,
    methods_of,
    network_of,
    pixels_of,
    samples_of,
)

WITHOUT_NETWORK = ("shard", "stability", "certify", "tables", "figures", "page")

BASE_CELLS = (224 // PATCH) ** 2

DENOISER = 60.0
"""Passes of a ViT-B that one call of ADM's 256 × 256 U-Net costs."""

BACKWARD = 3.0
"""A forward and a backward pass, in forward passes."""

PARTS = 17
"""Parts of a ViT of twelve blocks that a randomisation test makes random one after the other."""

_COUNTS = ("steps", "samples", "masks", "count", "segments", "regions", "restarts", "groups", "draws")
_OF_FAMILY = {"one_pass": BACKWARD, "relevance": 3 * BACKWARD, "external": 0.0}
"""Forward passes of a whole family, or of one of its explainers."""


def passes(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> float:
    """Forward passes of a ViT-B on 224 × 224 pixels that one image of a job costs; a backward pass counts as two."""
    if stage in WITHOUT_NETWORK:
        return 0.0
    if stage == "denoise":
        return samples_of(plan, wildcards["smoothing"]) * _denoising(plan, wildcards, wildcards["smoothing"])
    return _of_classifier(plan, stage, wildcards) * forward(plan, wildcards["dataset"], wildcards["model"]) + (
        _seen(plan, wildcards) if stage == "attack" else 0.0
    )


def forward(plan: Plan, dataset: str, model: str) -> float:
    """Cost of a forward pass of ``model``, in passes of a ViT-B on 224 × 224 pixels."""
    return network_of(plan, model).work * cells_of(plan, dataset, model) / BASE_CELLS


def cost_of_pass(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> float:
    """Cost of a forward pass of a stage's network, in passes of a ViT-B on 224 × 224 pixels."""
    if stage == "denoise":
        return DENOISER * pixels_of(plan, wildcards["dataset"]) / (3 * 256 * 256)
    return forward(plan, wildcards["dataset"], wildcards["model"])


def _of_classifier(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> float:
    condition = condition_of(wildcards)
    samples = max(1, samples_of(plan, condition.smoothing)) if condition.smoothing else 1
    if stage == "attack":
        return 2 + BACKWARD * _attacking(plan.study.attacks[condition.attack])
    if stage == "predict":
        return samples
    if stage == "bank":
        return MASKS
    methods = methods_of(plan, wildcards)
    explaining = sum(_explaining(plan, wildcards, id_) for id_ in methods)
    if stage == "attribute":
        return samples * (explaining + (BACKWARD if wildcards["family"] == "one_pass" else 0))
    if stage == "sanity":
        return _checking(plan, plan.checks(condition)) * (explaining + BACKWARD)
    return 1 + len(methods) * sum(
        2 * largest(plan.study.metrics[id_].parameters, 10) for id_ in plan.metrics(condition)
    )


def _explaining(plan: Plan, wildcards: Mapping[str, str], id_: str) -> float:
    item = plan.study.explainers[id_]
    if "forwards" in item.traits:
        return float(item.traits["forwards"])
    family = item.traits["family"]
    if family in _OF_FAMILY:
        return 0.5 if family == "one_pass" else _OF_FAMILY[family]
    if family == "perturbation":
        return largest(item.parameters, cells_of(plan, wildcards["dataset"], wildcards["model"]))
    return BACKWARD * largest(item.parameters, 32)


def _checking(plan: Plan, checks: Iterable[str]) -> float:
    """Explanations of an image that ``checks`` cost together; twelve where they are fewer."""
    asked = [plan.study.sanity[id_].parameters for id_ in checks]
    return max(12.0, sum(largest(p, 1) * (PARTS / getattr(p, "stride", PARTS)) for p in asked))


def _attacking(item: Item) -> float:
    return 0.0 if item.name == "clean" else largest(item.parameters, 10) * (getattr(item.parameters, "eot", None) or 1)


def _seen(plan: Plan, wildcards: Mapping[str, str]) -> float:
    item = plan.study.attacks[wildcards["attack"]]
    through = smoothing_seen(item.parameters)
    return 0.0 if through is None else BACKWARD * _attacking(item) * _denoising(plan, wildcards, through)


def _denoising(plan: Plan, wildcards: Mapping[str, str], smoothing: str) -> float:
    parameters = plan.study.smoothings[smoothing].parameters
    calls = (getattr(parameters, "steps", None) or 100) if getattr(parameters, "mode", "") == "multistep" else 1
    return calls * DENOISER * pixels_of(plan, wildcards["dataset"]) / (3 * 256 * 256)


def largest(parameters: Any, otherwise: float) -> float:
    """The largest of the settings that say how often a network is asked; ``otherwise`` where there is none."""
    values = (getattr(parameters, name, None) for name in _COUNTS)
    flat = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    return float(max((v for v in flat if isinstance(v, int)), default=otherwise))
