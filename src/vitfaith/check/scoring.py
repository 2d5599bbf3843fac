"""Whether a model that scores the maps of another one takes the same images and has the same classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vitfaith.check.report import Report
from vitfaith.models.classifier import Classifier
from vitfaith.study.plan import Plan


def check_scoring(plan: Plan, models: Mapping[str, Classifier], report: Report) -> None:
    """Report models with ``maps_of`` whose classes, input size, patches or normalisation are not the explained model's.

    The normalisation of a model that is trained first is not known yet.
    """
    for id_, section in plan.study.models.items():
        explained = section.maps_of
        if explained is None or id_ not in models or explained not in models:
            continue
        with report.about(f"models.{id_}.maps_of"):
            _compare(plan, id_, explained, models, report)


def _compare(plan: Plan, id_: str, explained: str, models: Mapping[str, Classifier], report: Report) -> None:
    facts = {name: _facts(models[name]) for name in (id_, explained)}
    if not all(_is_there(plan, name) for name in facts):
        for found in facts.values():
            del found["normalisation (mean, std)"]
    for what, value in facts[id_].items():
        if value != facts[explained][what]:
            report.problem(
                f"models.{id_}.maps_of",
                f"{what} of '{id_}' is {value}, of '{explained}' {facts[explained][what]}; both must be equal, as '{id_}' "
                f"answers for the images and classes of '{explained}'",
            )


def _facts(classifier: Classifier) -> dict[str, object]:
    given = classifier.normalisation
    rounded = tuple(tuple(round(value, 5) for value in given[name]) for name in ("mean", "std"))
    return {
        "number of classes": classifier.num_classes,
        "input shape": classifier.input_shape,
        "patch grid": classifier.grid,
        "normalisation (mean, std)": rounded,
    }


def _is_there(plan: Plan, model: str) -> bool:
    path = plan.weights_path(model)
    return path is None or Path(path).exists()
