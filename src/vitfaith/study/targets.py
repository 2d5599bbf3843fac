"""The explained classes that an experiment asks for, as values of the column ``explained``."""

from __future__ import annotations

from vitfaith.datasets.opening import open_dataset
from vitfaith.errors import ArtifactError, ConfigError, did_you_mean
from vitfaith.explained import WORDS, as_value, class_in, of_class
from vitfaith.study.sections import Experiment
from vitfaith.study.study import Study


def with_values(study: Study) -> dict[str, Experiment]:
    """The experiments of a study with ``targets`` as values of the column, each once; names of classes become their index.

    Raises:
        ConfigError: a target is no word, no index, and no class of all datasets of its experiment under one index; or it
            is the name of one class and, as a word or an index, also stands for another.
    """
    found = {}
    for name, experiment in study.experiments.items():
        where = f"experiments.{name}.targets"
        values = dict.fromkeys(_value(study, experiment, target, where) for target in experiment.targets)
        found[name] = experiment.model_copy(update={"targets": list(values)})
    return found


def _value(study: Study, experiment: Experiment, target: str | int, where: str) -> str:
    value = as_value(str(target))
    if value in WORDS or class_in(value) is not None:
        if isinstance(target, str) and "targets" in experiment.model_fields_set:
            _check_that_no_class_is_called(study, experiment, target, value, where)
        return value
    choices = f"choose {', '.join(WORDS)}, the index of a class from 0"
    if isinstance(target, int):
        raise ConfigError(f"{where}: {target} is below 0; {choices}")
    return of_class(_index_of(study, experiment, target, f"{where}: '{target}'", choices))


def _check_that_no_class_is_called(study: Study, experiment: Experiment, name: str, value: str, where: str) -> None:
    """Raise where a word or an index is also the name of a class that it does not stand for."""
    for dataset in experiment.datasets:
        try:
            classes = list(open_dataset(study.datasets[dataset][0]).classes)
        except (KeyError, ImportError, ArtifactError, ConfigError):  # planning alone may lack a reader's libraries
            continue  # the fault is reported where its images are read
        if name not in classes or value == of_class(classes.index(name)):
            continue
        own = classes.index(name)
        what = f"{where}: '{name}' is also the name of class {own} of dataset '{dataset}'"
        index = class_in(value)
        other = (
            "rename that class to explain by the word" if index is None else f"{index} (without quotes) for the index"
        )
        raise ConfigError(f"{what}; write {own} (without quotes) for that class, or {other}")


def _index_of(study: Study, experiment: Experiment, name: str, what: str, choices: str) -> int:
    """Index of the class ``name``, which the datasets of the experiment must agree on; only they know names."""
    indices: dict[str, int] = {}
    for dataset in experiment.datasets:
        if dataset not in study.datasets:
            continue  # reported with the other unknown names
        try:
            classes = list(open_dataset(study.datasets[dataset][0]).classes)
        except (ArtifactError, ConfigError) as error:
            raise ConfigError(f"{what}: classes of dataset '{dataset}' cannot be read: {error}") from error
        if name not in classes:
            there = f", or a class of dataset '{dataset}': {', '.join(classes)}" if classes else ""
            known = "" if classes else f" (dataset '{dataset}' has no names)"
            raise ConfigError(f"{what} is unknown{known}{did_you_mean(name, [*WORDS, *classes])}; {choices}{there}")
        indices[dataset] = classes.index(name)
    if len(set(indices.values())) > 1:
        told = ", ".join(f"{index} in {dataset}" for dataset, index in indices.items())
        raise ConfigError(f"{what} is class {told}; put each dataset into a separate experiment")
    return next(iter(indices.values()), 0)
