"""The conditions of a study, and what its experiments ask for in each."""

from __future__ import annotations

from collections.abc import Iterator
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
    """Conditions of all experiments, each once."""
    return list(dict.fromkeys(c for e in study.experiments.values() for c in experiment_conditions(e)))


def asked_in(study: Study, condition: Condition, axis: str) -> list[str]:
    """Ids on ``axis`` that some experiment with this condition asks for, each once."""
    asked: dict[str, None] = {}
    for experiment in study.experiments.values():
        if condition in set(experiment_conditions(experiment)):
            asked.update(dict.fromkeys(getattr(experiment, axis)))
    return list(asked)
