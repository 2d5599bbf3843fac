"""Decorators with which a plugin registers its items; they take the keyword arguments of each registry.

A plugin is a Python file that a configuration names under ``plugins``, or any module that is imported before its items
are named::

    from vitfaith.register import Metric, metric

    @metric("peak", direction="none", citation="mine")
    class Peak(Metric):
        \"\"\"The largest value of the map.\"\"\"

        def read(self, context, responses):
            return {"": context.maps.amax((2, 3))}

- ``explainer``: ``function(context, parameters) -> maps`` (:func:`vitfaith.explainers.registry.explainer`).
- ``metric`` and its base ``Metric`` (:mod:`vitfaith.metrics.registry`); ``fill``: a replacement of removed pixels.
- ``attack``: ``function(classifier, images, targets, parameters) -> images`` (:func:`vitfaith.attacks.registry.attack`).
- ``smoothing``: ``function(denoiser, images, image_ids, parameters, samples, *, seed, batch_size) -> samples``.
- ``dataset``: ``function(parameters) -> Source`` (:class:`vitfaith.datasets.registry.Source`).
- ``measure``: ``function(a, b, parameters) -> {variant: values}``; ``check``: a sanity check.
- ``figure``: ``function(data, parameters, style) -> Figure`` (:func:`vitfaith.figures.registry.figure`).

``Parameters`` is the base of typed settings. All of this imports without torch.
"""

from __future__ import annotations

from vitfaith.attacks.registry import attack
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.explainers.registry import explainer
from vitfaith.figures.registry import figure
from vitfaith.metrics.fills.registry import fill
from vitfaith.metrics.registry import Metric, metric
from vitfaith.registry import Parameters
from vitfaith.sanity.registry import check
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.stability.registry import measure

dataset = DATASETS.register
"""Register ``function(parameters) -> Source`` under a name; ``parameters=``, ``citation=``."""

smoothing = SMOOTHINGS.register
"""Register a smoothing under a name; ``parameters=``, ``citation=``, ``gradient=`` for attacks that see through it."""

__all__ = [
    "Metric",
    "Parameters",
    "Source",
    "attack",
    "check",
    "dataset",
    "explainer",
    "figure",
    "fill",
    "measure",
    "metric",
    "smoothing",
]
