"""Whether the files of learned explainers are there and fit their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from vitfaith.check.report import Report
from vitfaith.explainers.diffmask.files import load_diffmask
from vitfaith.explainers.shapley.files import load_shapley
from vitfaith.metrics.fills.placeholder import placeholder_of
from vitfaith.models.classifier import Classifier
from vitfaith.study.learned import explained_models, kind_of_training, model_files, trained_file
from vitfaith.study.plan import Plan


def check_learned_files(plan: Plan, models: Mapping[str, Classifier], report: Report) -> None:
    """Report files that are missing, broken, or of a model with other blocks, width or classes; note what is trained first."""
    for explainer, model in sorted(pair for pair in _read(plan) if pair[1] in models):
        item = plan.study.explainers[explainer]
        for name, file in model_files(plan, explainer, model).items():
            key = f"explainers.{explainer}.{name}"
            if file == trained_file(plan, explainer, model) and not Path(file).is_file():
                report.notes.append(f"{key}: is trained first for models.{model}, '{file}' does not exist yet")
                continue
            classes = item.traits["class_specific"] if name == "weights" else None
            with report.about(f"{key}, models.{model}"):
                if kind_of_training(plan, explainer) == "shapley":
                    load_shapley(Path(file), models[model])
                else:
                    load_diffmask(Path(file), models[model], class_specific=classes)


def _read(plan: Plan) -> set[tuple[str, str]]:
    """(explainer, model) of each file that some job reads: explained models; for placeholders also the scoring models."""
    return {pair for name in plan.study.experiments for pair in _of_experiment(plan, name)}


def _of_experiment(plan: Plan, name: str) -> Iterator[tuple[str, str]]:
    experiment = plan.study.experiments[name]
    yield from product(experiment.explainers, explained_models(plan, experiment))
    placeholders = (placeholder_of(plan.study.metrics[id_].parameters) for id_ in experiment.metrics)
    yield from product(filter(None, placeholders), experiment.models)
