"""Whether explainers can explain a model: a rehearsal on one image with a narrow twin of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from vitfaith.check.report import Report
from vitfaith.check.room import amount, memory_here
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.huggingface.folder import read_folder
from vitfaith.models.patches import find_patches
from vitfaith.registry import Item, Parameters

if TYPE_CHECKING:
    from vitfaith.study.sections import ModelSection

REHEARSED = ("one_pass", "path", "relevance")
"""Families that read the inside of a model; the others ask it for answers alone, or need what is not there yet."""

_HEAD_WIDTH = 8
_FEWER = ("steps", "samples")


def rehearse(model: str, twin: Classifier, explainers: dict[str, Item], report: Report) -> None:
    """Run each explainer once on the model's twin and report what it refuses."""
    chosen = {
        id_: replace(item, parameters=_short(item.parameters))
        for id_, item in explainers.items()
        if item.traits["family"] in REHEARSED and "model_files" not in item.traits  # see vitfaith.check.learned
    }
    image = torch.rand(1, *twin.input_shape, generator=torch.Generator().manual_seed(0))
    for id_, item in chosen.items():
        with report.about(f"explainers.{id_}, models.{model}"):
            explain(twin, image, torch.tensor([0]), ["rehearsal"], {id_: item}, seed=0, batch_size=8)


def _short(parameters: Parameters) -> Parameters:
    """The same settings with two passes where there are many."""
    fewer = {k: 2 for k in _FEWER if isinstance(getattr(parameters, k, None), int) and getattr(parameters, k) > 2}
    return parameters.model_copy(update=fewer)


def twin_of(section: ModelSection, classifier: Classifier) -> Classifier:
    """A model with the blocks, tokens, heads and pooling of ``classifier``, random weights, and narrow heads.

    It takes a fraction of a second where the model takes many. An architecture with a width of its own is not narrowed.

    Raises:
        InputError: one image needs more memory than this machine has.
    """
    _check_size(classifier)
    mean, std = ([0.5] * int(classifier.mean.shape[1]) for _ in range(2))
    found = (getattr(module, "num_heads", None) for module in classifier.backbone.modules())
    heads = next(
        (count for count in found if isinstance(count, int)), None
    )  # of the first block; later ones may double it
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        if heads is not None:
            try:
                return freeze(Classifier(_build(section, {"embed_dim": _HEAD_WIDTH * heads}), mean, std))
            except Exception:  # an architecture with a width of its own: rehearse with all of it
                pass
        return freeze(Classifier(_build(section, {}), mean, std))
    finally:
        torch.random.set_rng_state(state)


def _check_size(classifier: Classifier) -> None:
    """Raise :class:`InputError` where one image alone needs more memory than this machine has."""
    tokens = classifier.grid[0] * classifier.grid[1] + classifier.prefix_tokens if _has_patches(classifier) else 0
    heads = max((int(getattr(m, "num_heads", 0)) for m in classifier.backbone.modules()), default=0)
    pixels = int(np.prod(classifier.input_shape))
    weights = sum(p.numel() for p in classifier.backbone.parameters())
    needed = 4.0 * (weights + pixels + heads * tokens**2)
    if needed > memory_here():
        raise InputError(
            f"one image needs {amount(needed)} of memory (weights {amount(4.0 * weights)}, {tokens} tokens), this machine has "
            f"{amount(memory_here())}; choose a smaller architecture or img_size"
        )


def _has_patches(classifier: Classifier) -> bool:
    return find_patches(classifier.backbone, classifier.input_shape[1:]) is not None


def _build(section: ModelSection, narrow: dict[str, Any]) -> nn.Module:
    arguments = {**section.arguments, **narrow}
    if section.timm is None:
        return read_folder(Path(str(section.weights)), arguments).build()
    return build_backbone(section.timm, arguments)
