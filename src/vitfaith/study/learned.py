"""Where the files of learned explainers are: each belongs to one explainer and one model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitfaith.artifacts.paths import Condition
from vitfaith.errors import ConfigError
from vitfaith.metrics.fills.placeholder import placeholder_of
from vitfaith.study.conditions import explained_model
from vitfaith.study.plan import Plan
from vitfaith.study.sections import Experiment

TRAINING = "training"
"""Parameter of an explainer with the recipe that trains it."""


def kind_of_training(plan: Plan, explainer: str) -> str:
    """Which training makes an explainer's network: ``diffmask`` or ``shapley``."""
    kind: str = plan.study.explainers[explainer].traits.get("trained_by", "diffmask")
    return kind


def trained_file(plan: Plan, explainer: str, model: str) -> str:
    """Where the rules ``train_diffmask`` and ``train_shapley`` write."""
    return f"{plan.results}/train/{kind_of_training(plan, explainer)}/{explainer}/{model}.safetensors"


def surrogate_of(plan: Plan, explainer: str, model: str) -> str:
    """Id of the network that answers for the masked images of ``model`` in a ViT-Shapley training.

    Raises:
        ConfigError: the recipe is missing or names none.
    """
    recipe = getattr(plan.study.explainers[explainer].parameters, TRAINING, None)
    found: str | None = None if recipe is None else recipe.surrogates.get(model)
    if found is None:
        raise ConfigError(
            f"explainers.{explainer}.training.surrogates: nothing for model '{model}'; add '{model}: ID', a model that was trained "
            "on removed patches"
        )
    return found


def model_files(plan: Plan, explainer: str, model: str) -> dict[str, str]:
    """Parameter → file of ``model``, for the explainer's parameters that name such files."""
    item = plan.study.explainers[explainer]
    found = {}
    for name in item.traits.get("model_files", ()):
        value = getattr(item.parameters, name)
        if value == "trained":
            found[name] = trained_file(plan, explainer, model)
        elif value is not None:
            found[name] = str(value) if Path(value).suffix else f"{value}/{model}.safetensors"
    return found


def explainer_spec(plan: Plan, explainer: str, model: str) -> dict[str, Any]:
    """An explainer's settings with the files of ``model`` in place; how it is trained has no part in what it computes."""
    spec = plan.study.explainers[explainer].spec() | model_files(plan, explainer, model)
    return {name: value for name, value in spec.items() if name != TRAINING}


def learned_files(plan: Plan, condition: Condition, family: str) -> list[str]:
    """Files that the explainers of a family read in a condition."""
    ids = plan.methods(condition)[family]
    return sorted({file for id_ in ids for file in model_files(plan, id_, condition.model).values()})


def placeholder_file(plan: Plan, condition: Condition) -> str | None:
    """The DiffMask whose placeholder a metric of this condition removes patches with, None where none does.

    Raises:
        ConfigError: metrics name several.
    """
    asked = {}
    for id_ in plan.metrics(condition):
        explainer = placeholder_of(plan.study.metrics[id_].parameters)
        if explainer is not None:
            asked[id_] = next(iter(model_files(plan, explainer, condition.model).values()))
    return agreed(asked, "are placeholders of several explainers")


def agreed(asked: Mapping[str, str], several: str) -> str | None:
    """The one value of metric → what its fill needs, None where none needs anything; ``several`` says what is wrong otherwise."""
    if len(set(asked.values())) > 1:
        raise ConfigError(f"metrics {', '.join(asked)}: their fills {several}; put each into a separate experiment")
    return next(iter(asked.values()), None)


def trained(plan: Plan) -> list[tuple[str, str]]:
    """(explainer, model) for all that have a recipe, with the models that some experiment explains by them."""
    return [
        (id_, model)
        for id_, item in plan.study.explainers.items()
        if getattr(item.parameters, TRAINING, None) is not None
        for model in sorted(
            {m for e in plan.study.experiments.values() if id_ in e.explainers for m in explained_models(plan, e)}
        )
    ]


def explained_models(plan: Plan, experiment: Experiment) -> set[str]:
    """The explained models of an experiment, without models that score another model's maps."""
    return {explained_model(plan.study, model) for model in experiment.models}


def trainings(plan: Plan, experiment: str) -> list[dict[str, Any]]:
    """Logs of the DiffMask trainings behind an experiment: written by the rule, or beside the weights."""
    asked = plan.study.experiments[experiment]
    found = []
    for id_ in (id_ for id_ in sorted(asked.explainers) if kind_of_training(plan, id_) == "diffmask"):
        for model in sorted(explained_models(plan, asked)):
            file = model_files(plan, id_, model).get("weights")
            if file is None:
                continue
            log = file.removesuffix(".safetensors") + ".log.parquet"
            if file == trained_file(plan, id_, model) or Path(log).is_file():
                recipe = getattr(plan.study.explainers[id_].parameters, TRAINING, None)
                found.append(
                    {"method": id_, "model": model, "log": log, "margin": 0.1 if recipe is None else recipe.margin}
                )
    return found
