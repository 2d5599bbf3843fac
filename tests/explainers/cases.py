"""Every registered explainer with affordable settings, and some settings more that take another way through the code."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.zoo import batch, model
from vitfaith.explainers.diffmask.files import save_diffmask
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.explainers.explain import Methods, explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.shapley.files import save_shapley
from vitfaith.explainers.shapley.network import new_head
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Entry, Item

CHEAP = {"samples": 8, "steps": 3, "masks": 10, "iterations": 10}
"""Smaller budgets for explainers that have these parameters; the laws hold for any."""

ENTRIES = [entry for entry in EXPLAINERS if entry.traits["family"] != "external"]
"""The rest needs a file for every image and is tested with it."""

ONE_PASS = [entry for entry in ENTRIES if entry.traits["family"] == "one_pass"]

TOLERANCE = {"token_xgradcam": 1e-3}
"""Relative; 1e-5 unless said otherwise. XGrad-CAM divides by sums that cancel and so amplifies float32 rounding."""


@cache
def learned(class_specific: bool) -> Path:
    """A DiffMask with random gates that fits every tiny model of width 24, depth 3 and 5 classes."""
    path = Path(mkdtemp(prefix="vitfaith-test-")) / "diffmask.safetensors"
    source = torch.Generator().manual_seed(0)
    classifier = model("class_token")
    network = new_diffmask(
        classifier, distribution=HardConcrete(), beta=1.0, class_specific=class_specific, generator=source
    )
    if network.gates.classes is not None:
        network.gates.classes.data.normal_(generator=source)
    save_diffmask(network, path, classifier, {})
    return path


@cache
def shapley(size: tuple[int, int] = (16, 16), patch: int = 4) -> Path:
    """A random ViT-Shapley head with a random surrogate, for every tiny model of width 24 and 5 classes."""
    path = Path(mkdtemp(prefix="vitfaith-test-")) / "shapley.safetensors"
    source, classifier = torch.Generator().manual_seed(0), model("class_token")
    head = new_head(24, 5, generator=source)
    head.read[-1].weight.data.normal_(generator=source)
    arguments = {"img_size": size, "patch_size": patch, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    surrogate = tiny_vit(seed=4, depth=2, mlp_ratio=4.0, img_size=size, patch_size=patch)
    save_shapley(
        head, surrogate, path, classifier, timm="vit_tiny_patch16_224", arguments=arguments, fill="image_mean", facts={}
    )
    return path


@dataclass(frozen=True)
class Case:
    """One explainer with settings beyond the cheap ones."""

    entry: Entry
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def methods(self) -> Methods:
        """For :func:`explain`."""
        cheap: dict[str, Any] = {
            key: value for key, value in CHEAP.items() if key in self.entry.parameters.model_fields
        }
        if "weights" in self.entry.parameters.model_fields:
            by_shapley = self.entry.traits.get("trained_by") == "shapley"
            cheap["weights"] = shapley() if by_shapley else learned(self.entry.traits["class_specific"])
        return {self.entry.name: Item(self.entry, self.entry.parameters(**(cheap | self.settings)))}

    def methods_for(self, classifier: Classifier) -> Methods:
        """The same; a surrogate takes images of the classifier's size."""
        if self.entry.traits.get("trained_by") != "shapley":
            return self.methods
        weights = shapley(classifier.input_shape[1:], int(classifier.patches.side[0]))
        return {self.entry.name: Item(self.entry, self.entry.parameters(weights=weights))}

    @property
    def tolerance(self) -> float:
        """Largest relative error that rounding explains."""
        return TOLERANCE.get(self.entry.name, 1e-5)

    def run(self, classifier: Classifier, order: list[int] | None = None, **options: Any) -> Tensor:
        """Maps of the model's four images, or of those in ``order``."""
        images, targets, ids = batch(classifier)
        order = [0, 1, 2, 3] if order is None else order
        options = {"seed": 0, "batch_size": 4} | options
        picked = (images[order], options.pop("targets", targets)[order], [ids[i] for i in order])
        return explain(classifier, *picked, self.methods_for(classifier), **options)[self.entry.name]

    def __str__(self) -> str:
        return "-".join([self.entry.name, *map(str, self.settings.values())])


CASES = [Case(entry) for entry in ENTRIES]

OTHER_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("smoothgrad", {"samples": 5, "quantity": "input_x_gradient", "statistic": "variance"}),
    ("integrated_gradients", {"baseline": "image_mean"}),
    ("expected_gradients", {"samples": 5, "noise": 0.1}),
    ("token_finercam", {"references": 2, "strength": 0.6, "weighting": "probability"}),
    ("token_shapleycam", {"utility": "logit"}),
    ("beyond_intuition_head", {"start": 1}),
    ("beyond_intuition_token", {"rule": "uniform", "baseline": "value", "value": 0.2}),
    ("occlusion", {"window": 2, "stride": 1, "fill": "image_mean"}),
    ("rise", {"cells": 3, "normalisation": "coverage"}),
    ("kernel_shap", {"fill": "channel_mean", "score": "logit"}),
    ("vit_cx", {"noise": 0.3, "distance": 0.2}),
    ("tis", {"masks": 12, "layers": "last"}),
    ("attention_rollout", {"head_fusion": "max", "discard_ratio": 0.5}),
    ("cp_lrp", {"at": "tokens"}),
    ("cp_lrp", {"gamma": 0.05, "gamma_patches": 0.25}),
    ("attnlrp", {"gamma": 0.05, "gamma_patches": 0.25}),
]
ALL_CASES = CASES + [Case(EXPLAINERS[name], settings) for name, settings in OTHER_SETTINGS]


def methods_of(*entries: Entry, classifier: Classifier | None = None) -> Methods:
    """Several explainers with cheap settings, for a classifier of 16 × 16 pixels or for the one given."""
    cases = [Case(entry) for entry in entries]
    return {
        name: method
        for case in cases
        for name, method in (case.methods if classifier is None else case.methods_for(classifier)).items()
    }


@cache
def _together(index: int) -> Tensor:
    return ALL_CASES[index].run(model("class_token"))


def together(case: Case) -> Tensor:
    """All four images in one batch, on the model with a class token; computed once."""
    return _together(ALL_CASES.index(case))


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Each map, relative to its own largest magnitude."""
    scale = expected.abs().amax((1, 2), keepdim=True).clamp_min(1e-12)
    assert ((found - expected) / scale).abs().max() <= tolerance


def finite(maps: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    return bool(torch.isfinite(maps).all())
