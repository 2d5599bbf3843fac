"""The conditions of a study, and what its experiments ask for in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from vitfaith.artifacts.paths import Condition
from vitfaith.study.sections import Experiment
from vitfaith.study.study import Study


def experiment_conditions(experiment: Experiment) -> Iterator[Condition]:
    """The conditions of one experiment, in the order of its lists."""
    axes = (experiment.datasets, experiment.models, experiment.attacks, experiment.smoothings, experiment.targets)
    for values in product(*axes):
        yield Condition(*map(str, values))


def conditions(study: Study) -> list[Condition]:
    """Conditions of all experiments, each once, then those whose maps other models score."""
    asked = [c for e in study.experiments.values() for c in experiment_conditions(e)]
    return list(dict.fromkeys([*asked, *(of_maps(study, c) for c in asked)]))


def explained_model(study: Study, model: str) -> str:
    """The model whose maps ``model`` scores: itself, unless ``maps_of`` names another one."""
    return study.models[model].maps_of or model


def of_maps(study: Study, condition: Condition) -> Condition:
    """The condition in whose folder the images, predictions and maps of ``condition`` lie."""
    return replace(condition, model=explained_model(study, condition.model))


def asked_in(study: Study, condition: Condition, axis: str) -> list[str]:
    """Ids on ``axis`` that some experiment with this condition asks for, each once.

    Explainers come from all conditions with the same maps.
    """
    asked: dict[str, None] = {}
    wanted = of_maps(study, condition) if axis == "explainers" else condition
    for experiment in study.experiments.values():
        found = experiment_conditions(experiment)
        if wanted in set((of_maps(study, c) for c in found) if axis == "explainers" else found):
            asked.update(dict.fromkeys(getattr(experiment, axis)))
    return list(asked)
