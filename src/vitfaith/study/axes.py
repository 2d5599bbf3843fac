"""The axes that an experiment leaves out: each stands for its whole section, and is written out here once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from vitfaith.errors import ConfigError
from vitfaith.study.sections import AXES, Experiment
from vitfaith.study.study import Study


def recipes(study: Study) -> Iterator[tuple[str, Any]]:
    """(Key, recipe) of every training of classifiers, denoisers and learned explainers; each names two datasets."""
    learned = {id_: item.parameters for id_, item in study.explainers.items()}
    sections: dict[str, Mapping[str, Any]] = {
        "models": study.models,
        "denoisers": study.denoisers,
        "explainers": learned,
    }
    for section, named in sections.items():
        for id_, item in named.items():
            recipe = getattr(item, "training", None)
            if recipe is not None:
                yield f"{section}.{id_}.training", recipe


def written_out(study: Study) -> dict[str, Experiment]:
    """The experiments of a study with a list on every axis, in the order of the sections.

    Datasets that trainings read are left out, and models that only answer for the masked images of others.

    Raises:
        ConfigError: an axis is left out and stands for nothing; one line per axis.
    """
    why = {axis: f"which means all {axis}, and section {axis} is empty; add one" for axis in AXES}
    if study.datasets:
        why["datasets"] = (
            "which means all datasets that no training names, and trainings name every one; list some here"
        )
    trained = {name for _, recipe in recipes(study) for name in (recipe.train_on, recipe.test_on)}
    for_trainings = {"datasets": trained, "models": _surrogates(study)}
    everything = {
        axis: [id_ for id_ in getattr(study, axis) if id_ not in for_trainings.get(axis, ())] for axis in AXES
    }
    return {name: _filled(name, experiment, everything, why) for name, experiment in study.experiments.items()}


def _surrogates(study: Study) -> set[str]:
    """Models that recipes name as surrogates and that the study neither explains by these recipes nor scores with."""
    pairs = [pair for _, recipe in recipes(study) for pair in getattr(recipe, "surrogates", {}).items()]
    explained = {model for model, _ in pairs}
    known = {id_ for _, id_ in pairs if id_ in study.models}
    return {id_ for id_ in known - explained if study.models[id_].maps_of is None}


def _filled(
    name: str, experiment: Experiment, everything: Mapping[str, Collection[str]], why: Mapping[str, str]
) -> Experiment:
    left_out = {axis: list(everything[axis]) for axis in AXES if axis not in experiment.model_fields_set}
    lines = [f"experiments.{name}.{axis}: left out, {why[axis]}" for axis, ids in left_out.items() if not ids]
    if lines:
        raise ConfigError("\n".join(lines))
    return Experiment(**{**experiment.model_dump(), **left_out})
