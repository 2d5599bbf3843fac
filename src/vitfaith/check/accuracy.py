"""Number of labelled images that a model classifies correctly, to see whether classes, weights and normalisation fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.check.datasets import DatasetFacts
from vitfaith.check.report import Report
from vitfaith.datasets.subset import stratified_subset
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.load import load_classifier
from vitfaith.statistics.chance import accuracy_warning

if TYPE_CHECKING:
    from vitfaith.study.plan import Plan

_BATCH = 16


def check_accuracy(plan: Plan, datasets: dict[str, DatasetFacts], sample: int, report: Report) -> None:
    """Classify ``sample`` images of each dataset of every model, and note the accuracy and whether it is near chance.

    A model whose training is part of the run, and a dataset without labels, are passed over.
    """
    for dataset, model in sorted({(c.dataset, c.model) for c in plan.conditions}):
        path = plan.weights_path(model)
        if dataset not in datasets or datasets[dataset].labels < 0 or not (path is None or Path(path).exists()):
            continue
        with report.about(f"datasets.{dataset}, models.{model}"):
            report.notes.append(
                f"datasets.{dataset}, models.{model}: {_measured(plan, datasets[dataset], model, sample)}"
            )


def _measured(plan: Plan, facts: DatasetFacts, model: str, sample: int) -> str:
    source, path = facts.source, plan.weights_path(model)
    labelled = facts.chosen[source.labels[facts.chosen] >= 0]
    some = labelled[stratified_subset(source.labels[labelled], min(sample, len(labelled)), plan.study.seed)]
    spec = plan.study.models[model].spec()
    classifier = load_classifier(spec, None if path is None else Path(path))
    images = unit_pixels(torch.from_numpy(source.read(some).copy()))
    classifier.check_images(images)
    predicted = forward_in_batches(classifier, images, _BATCH).argmax(1).numpy()
    correct = int((predicted == source.labels[some]).sum())
    warning = accuracy_warning(correct, len(some), classifier.num_classes)
    return warning or f"{correct} of {len(some)} clean images are classified as labelled"
