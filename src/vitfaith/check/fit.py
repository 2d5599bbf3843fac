"""Whether the parameters of metrics and stability measures fit the maps of the models, tried without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vitfaith.check.report import Report
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.metrics.engine.cost import forward_cost
from vitfaith.metrics.fills.diffusion import DENOISER_EXTRA
from vitfaith.metrics.fills.placeholder import PLACEHOLDER_EXTRA
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item
from vitfaith.stability.compare import compare_maps
from vitfaith.study.plan import Plan


def check_fit(plan: Plan, models: Mapping[str, Classifier], denoisers: Mapping[str, Denoiser], report: Report) -> None:
    """Report settings that the patch grid of a model does not allow: more groups, steps or leading patches than patches."""
    study, tried = plan.study, set()
    for experiment in study.experiments.values():
        for model in experiment.models:
            if model not in models:
                continue
            for section, names in (("metrics", experiment.metrics), ("stability", experiment.stability)):
                for id_ in names:
                    if (section, id_, model) in tried:
                        continue
                    tried.add((section, id_, model))
                    with report.about(f"{section}.{id_}, models.{model}"):
                        if section == "stability":
                            _compare(study.stability[id_], models[model])
                        else:
                            denoiser = denoisers.get(plan.denoiser_id("metrics", id_) or "")
                            _ask(study.metrics[id_], models[model], denoiser)


def _ask(item: Item, classifier: Classifier, denoiser: Denoiser | None) -> None:
    """Let a metric name the images that it wants to see."""
    extras = {PLACEHOLDER_EXTRA: torch.zeros(1)} | ({} if denoiser is None else {DENOISER_EXTRA: denoiser})
    metric = item.implementation(item.parameters)
    channels, height, width = classifier.input_shape
    forward_cost([metric], classifier.grid, (height, width), channels, extras)


def _compare(item: Item, classifier: Classifier) -> None:
    maps = np.random.default_rng(0).random((2, 1, *classifier.grid), dtype=np.float32)
    compare_maps(maps[0], maps[1], item)
