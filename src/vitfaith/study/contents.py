"""The files outside the results that a job depends on: data sets, given weights, maps of the user; by their contents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vitfaith.artifacts.contents import contents_digest
from vitfaith.artifacts.paths import Condition
from vitfaith.errors import VitfaithError
from vitfaith.registry import Item, Parameters
from vitfaith.study.learned import TRAINING, model_files, placeholder_file, surrogate_of
from vitfaith.study.metric_inputs import infilled, infilled_bank
from vitfaith.study.plan import Plan

Files = dict[str, list[str]]
"""Purpose → the files and folders."""


def named_paths(parameters: Parameters) -> list[Path]:
    """The files and folders that parameters of type ``Path`` name."""
    return [value for name in type(parameters).model_fields if isinstance(value := getattr(parameters, name), Path)]


def files_of_dataset(reader: Item) -> list[Path]:
    """The files and folders of a dataset, as its reader lists them, or else as its settings name them.

    A dataset that cannot be opened has none; its reader reports the fault.
    """
    listed: Callable[[Parameters], Iterable[Path]] = reader.traits.get("files", named_paths)
    try:
        return list(listed(reader.parameters))
    except (VitfaithError, OSError):
        return []


def contents(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> dict[str, str]:
    """Purpose of a job's outside files → digest of their contents; without files that the study makes."""
    # Shards share their files: thousands of jobs ask for a few sets.
    return _contents(plan, stage, tuple(sorted(item for item in wildcards.items() if item[0] != "shard")))


@cache
def _contents(plan: Plan, stage: str, wildcards: tuple[tuple[str, str], ...]) -> dict[str, str]:
    makers: dict[str, Callable[..., Files]] = {
        "shard": _shard,
        "train_classifier": _classifier,
        "train_denoiser": _denoiser,
        "train_diffmask": _diffmask,
        "train_shapley": _shapley,
    }
    files = makers.get(stage, _of_condition)
    return {
        role: _digest(tuple(outside))
        for role, paths in files(plan, stage, **dict(wildcards)).items()
        if (outside := [path for path in paths if is_outside(plan, path)])
    }


def is_outside(plan: Plan, path: str) -> bool:
    """Whether a file is given to the study, and not made by it."""
    return not Path(path).is_relative_to(plan.results)


@cache
def _digest(paths: tuple[str, ...]) -> str:
    return contents_digest([Path(path) for path in paths])


def _dataset(plan: Plan, name: str) -> list[str]:
    return [str(path) for path in files_of_dataset(plan.study.datasets[name][0])]


def _shard(plan: Plan, stage: str, dataset: str) -> Files:
    return {"dataset": _dataset(plan, dataset)}


def _sets(plan: Plan, recipe: Any) -> Files:
    """The data sets of a training recipe; none where there is no recipe."""
    return {} if recipe is None else {part: _dataset(plan, getattr(recipe, part)) for part in ("train_on", "test_on")}


def _classifier(plan: Plan, stage: str, name: str) -> Files:
    teacher = plan.teacher(name)
    taught = {} if teacher is None else {"teacher": plan.weights(teacher)}
    return _sets(plan, plan.study.models[name].training) | {"start_from": plan.start_weights(name)} | taught


def _denoiser(plan: Plan, stage: str, name: str) -> Files:
    return _sets(plan, plan.study.denoisers[name].training)


def _diffmask(plan: Plan, stage: str, explainer: str, model: str) -> Files:
    recipe = getattr(plan.study.explainers[explainer].parameters, TRAINING, None)
    return _sets(plan, recipe) | {"weights": plan.weights(model)}


def _shapley(plan: Plan, stage: str, explainer: str, model: str) -> Files:
    surrogate = surrogate_of(plan, explainer, model)
    return _diffmask(plan, stage, explainer, model) | {"surrogate": plan.weights(surrogate)}


def _of_condition(
    plan: Plan,
    stage: str,
    dataset: str = "",
    model: str = "",
    attack: str = "",
    smoothing: str = "",
    explained: str = "",
    family: str = "",
    **_: str,
) -> Files:
    """Of a job over a shard of a condition; stages that read results alone (tables, stability …) have none."""
    files: Files = {}
    condition = Condition(dataset, model, attack, smoothing, explained)
    if stage in ("attack", "predict", "attribute", "bank", "score", "sanity"):
        files["weights"] = plan.weights(model)
    if stage == "attack":
        files["denoiser"] = plan.denoiser_files("attacks", attack)
    if stage == "denoise":
        files["denoiser"] = plan.denoiser_files("smoothings", smoothing)
    if stage in ("bank", "score"):
        user = infilled_bank(plan, condition) if stage == "bank" else infilled(plan, condition)
        files["denoiser"] = plan.denoiser_files("metrics", user)
    if stage == "score":
        files["placeholder"] = [file] if (file := placeholder_file(plan, condition)) else []
    if stage in ("attribute", "sanity"):
        for id_ in plan.methods(condition)[family]:
            own = list(model_files(plan, id_, model).values())
            files[id_] = own or [str(path) for path in named_paths(plan.study.explainers[id_].parameters)]
    return files
