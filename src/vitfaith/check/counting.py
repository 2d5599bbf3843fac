"""Network passes of jobs that nothing like has run yet: counted on one image and a small stand-in for the networks.

How often an attack, an explainer or a metric calls its network depends on its settings and the patch grid, not on the
network's size, so the stage's own code is asked, with a ViT of width 8 on the model's grid. What depends on the image
(attacks that stop early, clusters of features) is an estimate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.attacks.registry import ATTACKS
from vitfaith.check.models import model_of
from vitfaith.check.report import Report
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import ConfigError, VitfaithError
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.fills.diffusion import DENOISER_EXTRA, DiffusionParameters
from vitfaith.metrics.fills.placeholder import PLACEHOLDER_EXTRA
from vitfaith.metrics.fills.registry import settings_of_fill
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier, freeze
from vitfaith.models.fast.switch import fast_paths
from vitfaith.models.passes import PassCounter
from vitfaith.registry import Item
from vitfaith.shipped import located
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.study.identity import spec_of
from vitfaith.study.jobs import Job
from vitfaith.study.plan import Plan

Passes = tuple[float, float]
"""Forward and backward passes of one image."""

NONE: Passes = (0.0, 0.0)
FREE = ("shard", "stability", "certify", "tables", "figures", "page")
"""Stages without a network."""


class _Silent(nn.Module):
    """A denoiser's network that answers zeros."""

    def __init__(self, channels: int, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(
            in_channels=channels,
            out_channels=channels,
            sample_size=size,
            block_out_channels=(1,),
            class_embed_type=None,
            num_class_embeds=None,
        )

    def forward(self, images: Tensor, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(sample=torch.zeros_like(images))


@cache
def _stand_in(plan: Plan, model: str) -> Classifier:
    """A small ViT with the grid, channels and classes of a model.

    Raises:
        ConfigError: the model cannot be read.
    """
    report = Report()
    real = model_of(plan, model, report)
    if real is None:
        raise ConfigError("; ".join(report.problems))
    patches = real.patches
    return small_vit(real.input_shape, patches.pixels_a_side, max(real.num_classes, 2), cut=patches.are_cut)


def small_vit(shape: tuple[int, int, int], patch: tuple[int, int], classes: int, *, cut: bool = False) -> Classifier:
    """A ViT of width 8 with two blocks for images of ``shape`` (channels, height, width)."""
    from timm.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = VisionTransformer(
            img_size=shape[1:], patch_size=patch, in_chans=shape[0], num_classes=classes,
            embed_dim=8, depth=2, num_heads=2, dynamic_img_size=cut, dynamic_img_pad=cut,
        )  # fmt: skip
    return freeze(Classifier(small, mean=[0.5] * shape[0], std=[0.5] * shape[0]))


def _image(classifier: Classifier) -> Tensor:
    return torch.randint(0, 256, (1, *classifier.input_shape), generator=torch.Generator().manual_seed(0)) / 255


def _samples(smoothing: Mapping[str, Any]) -> int:
    return int(getattr(SMOOTHINGS.from_spec(smoothing).parameters, "samples", 1))


def _attack(spec: Mapping[str, Any], classifier: Classifier) -> Passes:
    from vitfaith.attacks.run import attack_images
    from vitfaith.attacks.smoothed import Defence

    image = _image(classifier)
    defence = None
    if "smoothing" in spec:
        channels, height, width = classifier.input_shape
        silent = Denoiser(_Silent(channels, (height, width)), Schedule.from_config({}))
        defence = Defence(SMOOTHINGS.from_spec(spec["smoothing"]), silent)
    with PassCounter(classifier) as passes:
        target = classifier(image).argmax(1)
        attack_images(classifier, image, target, ["image"], ATTACKS.from_spec(spec["attack"]), seed=0, defence=defence)
        classifier(image)
    return passes.forwards, passes.backwards


def _denoise(spec: Mapping[str, Any]) -> Passes:
    smoothing = SMOOTHINGS.from_spec(spec["smoothing"])
    denoiser = Denoiser(_Silent(1, (8, 8)), Schedule.from_config({}))
    with PassCounter(denoiser.network) as passes:
        image = torch.full((1, 1, 8, 8), 0.5)
        smoothing.implementation(denoiser, image, ["image"], smoothing.parameters, range(1), seed=0, batch_size=1)
    return float(passes.forwards * _samples(spec["smoothing"])), 0.0


def attribute_passes(spec: Mapping[str, Any], classifier: Classifier) -> Passes:
    """Passes of one image for the explainers ``methods`` behind the ``smoothing`` of a specification."""
    from vitfaith.explainers.explain import explain

    methods = EXPLAINERS.from_specs(spec["methods"])
    # what is trained for one model does not fit the stand-in; it reads the shared pass, or says what it costs
    fitting = {
        i: _without_placeholder(m) for i, m in methods.items() if "weights" not in m.traits.get("model_files", ())
    }
    told = sum(m.traits.get("forwards", 0) for i, m in methods.items() if i not in fitting)
    target = torch.zeros(1, dtype=torch.int64)
    with PassCounter(classifier.backbone) as passes:
        explain(classifier, _image(classifier), target, ["image"], fitting, seed=0, batch_size=64)
    samples = _samples(spec["smoothing"])
    return float((passes.forwards + told) * samples), float(passes.backwards * samples)


def _without_placeholder(method: Item) -> Item:
    """The same passes with a placeholder that fits any model."""
    if "placeholder" not in method.traits.get("model_files", ()):
        return method
    return replace(method, parameters=method.parameters.model_copy(update={"placeholder": None}))


def _score(spec: Mapping[str, Any], classifier: Classifier, maps: int) -> Passes:
    from vitfaith.metrics.engine.cost import forward_cost

    channels, height, width = classifier.input_shape
    silent = Denoiser(_Silent(channels, (height, width)), Schedule.from_config({}))
    extras = {DENOISER_EXTRA: silent, PLACEHOLDER_EXTRA: torch.zeros(1)}

    def forwards(chosen: Iterable[Item]) -> int:
        metrics = [item.implementation(item.parameters) for item in chosen]
        cost = forward_cost(metrics, classifier.grid, (height, width), channels, extras)
        return cost.per_image + maps * cost.per_map

    chosen = list(METRICS.from_specs(spec["metrics"]).values())
    total = forwards(chosen)
    drawn: dict[DiffusionParameters, list[Item]] = {}
    for item in chosen:
        fill = settings_of_fill(item.parameters)
        if isinstance(fill, DiffusionParameters):
            drawn.setdefault(fill, []).append(item)
    for fill, users in drawn.items():  # each perturbed image, all but the clean one, is first drawn by the denoiser
        total += (forwards(users) - 1) * fill.calls
    return float(total), 0.0


def passes_of(plan: Plan, job: Job) -> Passes | None:
    """Forward and backward passes of one image of ``job``; None if they cannot be known without running the job."""
    if job.stage in FREE:
        return NONE
    wildcards = job.wildcards
    try:
        spec = json.loads(spec_of(plan, job.stage, wildcards | {"shard": job.outputs[0].stem}))
        if job.stage == "predict":
            return float(_samples(plan.study.smoothings[wildcards["smoothing"]].spec())), 0.0
        maps = len(spec.get("methods", ()))
        if job.stage == "score":
            attributed = json.loads(spec_of(plan, "attribute", wildcards | {"shard": job.outputs[0].stem}))
            maps = len(attributed["methods"])
        for key in ("seed", "plugins"):
            spec.pop(key, None)
        with fast_paths(on=plan.study.compute.fast == "on"):
            return _counted(plan, wildcards["model"], job.stage, json.dumps(spec, sort_keys=True), maps)
    except (VitfaithError, OSError):
        return None


@cache
def _counted(plan: Plan, model: str, stage: str, spec: str, maps: int) -> Passes | None:
    settings = located(json.loads(spec))
    if stage == "denoise":
        return _denoise(settings)
    if stage == "score":
        return _score(settings, _stand_in(plan, model), maps)
    counters = {"attack": _attack, "attribute": attribute_passes}
    return counters[stage](settings, _stand_in(plan, model)) if stage in counters else None
