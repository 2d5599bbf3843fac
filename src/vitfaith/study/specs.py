"""Specifications: the settings that a job of each stage depends on, beside its input files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from vitfaith.artifacts.paths import Condition
from vitfaith.attacks.registry import smoothing_seen
from vitfaith.certificates.norms import norms_of
from vitfaith.errors import ConfigError
from vitfaith.explained import CLEAN_PREDICTION
from vitfaith.explainers.registry import FULL_PRECISION
from vitfaith.metrics.fills.registry import fill_of
from vitfaith.models.precision import PassStage
from vitfaith.noise import certified_noise
from vitfaith.study.conditions import experiment_conditions
from vitfaith.study.learned import TRAINING, explainer_spec, surrogate_of, trainings
from vitfaith.study.metric_inputs import bank_masks, infilled, infilled_bank
from vitfaith.study.plan import Plan


def _instances(plan: Plan, section: str, ids: Iterable[str]) -> dict[str, Any]:
    return {id_: getattr(plan.study, section)[id_].spec() for id_ in ids}


def _model_spec(plan: Plan, model: str) -> dict[str, Any]:
    return plan.study.models[model].spec()


def _precision_spec(plan: Plan, model: str, stage: PassStage) -> dict[str, Any]:
    """The precision of a stage's passes; nothing for float32, the default."""
    precision = plan.study.models[model].passes(stage)
    return {} if precision == "float32" else {"precision": precision}


def _attribute_precision(plan: Plan, model: str, family: str) -> dict[str, Any]:
    return {} if family in FULL_PRECISION else _precision_spec(plan, model, "attribute")


def _denoiser_spec(plan: Plan, section: str, id_: str) -> dict[str, Any]:
    name = plan.denoiser_id(section, id_)
    return {} if name is None else {"denoiser": plan.study.denoisers[name].spec()}


def _seen_spec(plan: Plan, attack: str) -> dict[str, Any]:
    """The smoothing that an attack sees through; its samples are the attack's draws where that has its own number."""
    parameters = plan.study.attacks[attack].parameters
    through = smoothing_seen(parameters)
    if through is None:
        return {}
    spec = plan.study.smoothings[through].spec()
    draws = getattr(parameters, "eot", None)
    return {"smoothing": spec | ({"samples": draws} if draws and "samples" in spec else {})}


def _infill_spec(plan: Plan, user: str | None) -> dict[str, Any]:
    return {} if user is None else _denoiser_spec(plan, "metrics", user)


def _explainers_spec(plan: Plan, condition: Condition, family: str) -> dict[str, Any]:
    """Method id → name of its explainer, where a metric goes by it."""
    chosen = (plan.study.metrics[id_].parameters for id_ in plan.metrics(condition))
    if not any(getattr(parameters, "upsampling", "") == "official" for parameters in chosen):
        return {}
    return {"explainers": {id_: plan.study.explainers[id_].name for id_ in plan.methods(condition)[family]}}


def _traits(plan: Plan, metric: str) -> Mapping[str, Any]:
    return plan.study.metrics[metric].traits


def shard_spec(plan: Plan, dataset: str, shard: str) -> dict[str, Any]:
    """Choice of a shard's images, and how they are read."""
    reader, section = plan.study.datasets[dataset]
    return {"seed": plan.study.seed, "reader": reader.spec(), **section.model_dump(mode="json"), "shard": shard}


def _training_spec(plan: Plan, recipe: BaseModel | None, lacking: str) -> dict[str, Any]:
    """A recipe and the sets it trains and tests on; raises :class:`ConfigError` with ``lacking`` where there is none."""
    if recipe is None:
        raise ConfigError(lacking)
    sections = {part: plan.study.datasets[getattr(recipe, part)] for part in ("train_on", "test_on")}
    sources = {part: reader.spec() for part, (reader, _) in sections.items()}
    counts = {part: section.images for part, (_, section) in sections.items() if section.images is not None}
    subset = {part: {"images": count, "seed": plan.study.seed} for part, count in counts.items()}
    return {"recipe": recipe.model_dump(mode="json"), **sources} | ({"subset": subset} if subset else {})


def train_classifier_spec(plan: Plan, name: str) -> dict[str, Any]:
    """A classifier, its recipe, its teacher and the sets it is trained and tested on; the fill again, as its code counts."""
    training = plan.study.models[name].training
    recipe = _training_spec(plan, training, f"classifier '{name}' has no training recipe")
    removal = None if training is None else training.removal
    fill = {} if removal is None else {"fill": removal.fill.spec()}
    teacher = plan.teacher(name)
    taught = {} if teacher is None else {"teacher": _model_spec(plan, teacher)}
    return recipe | {"model": _model_spec(plan, name)} | taught | fill


def train_denoiser_spec(plan: Plan, name: str) -> dict[str, Any]:
    """The recipe of a denoiser and the sets it is trained and tested on."""
    return _training_spec(plan, plan.study.denoisers[name].training, f"denoiser '{name}' has no training recipe")


def train_diffmask_spec(plan: Plan, explainer: str, model: str) -> dict[str, Any]:
    """Settings of a DiffMask's training, beside the model's weights."""
    item = plan.study.explainers[explainer]
    lacking = f"explainers.{explainer}: there is no key 'training' with a recipe"
    recipe = _training_spec(plan, getattr(item.parameters, TRAINING, None), lacking)
    return recipe | {"model": _model_spec(plan, model), "class_specific": item.traits["class_specific"]}


def train_shapley_spec(plan: Plan, explainer: str, model: str) -> dict[str, Any]:
    """Settings of a ViT-Shapley explainer's training, beside the weights of model and surrogate."""
    item = plan.study.explainers[explainer]
    lacking = f"explainers.{explainer}: there is no key 'training' with a recipe"
    recipe = _training_spec(plan, getattr(item.parameters, TRAINING, None), lacking)
    surrogate = _model_spec(plan, surrogate_of(plan, explainer, model))
    return recipe | {"model": _model_spec(plan, model), "surrogate": surrogate}


def attack_spec(plan: Plan, dataset: str, model: str, attack: str, shard: str) -> dict[str, Any]:
    """Model and attack, and the smoothing that it sees through with its denoiser."""
    return {
        "seed": plan.study.seed,
        "model": _model_spec(plan, model),
        "attack": plan.study.attacks[attack].spec(),
        **_seen_spec(plan, attack),
        **_denoiser_spec(plan, "attacks", attack),
        **({} if not plan.changes(attack) else _precision_spec(plan, model, "attack")),
        **{f"predict_{key}": word for key, word in _precision_spec(plan, model, "predict").items()},
    }


def denoise_spec(plan: Plan, dataset: str, model: str, attack: str, smoothing: str, shard: str) -> dict[str, Any]:
    """Smoothing and its denoiser."""
    return {
        "seed": plan.study.seed,
        "smoothing": plan.study.smoothings[smoothing].spec(),
        **_denoiser_spec(plan, "smoothings", smoothing),
    }


def predict_spec(plan: Plan, dataset: str, model: str, attack: str, smoothing: str, shard: str) -> dict[str, Any]:
    """Model, and the precision of its passes."""
    return {"model": _model_spec(plan, model), **_precision_spec(plan, model, "predict")}


def attribute_spec(
    plan: Plan, dataset: str, model: str, attack: str, smoothing: str, explained: str, family: str, shard: str
) -> dict[str, Any]:
    """Model, smoothing, the explained class, the explainers of a family, and whether a certificate reads the samples' maps."""
    condition = Condition(dataset, model, attack, smoothing, explained)
    methods = plan.methods(condition)[family]
    return {
        "seed": plan.study.seed,
        "explained": plan.explains(condition),
        "model": _model_spec(plan, model),
        "smoothing": plan.study.smoothings[smoothing].spec(),
        "methods": {id_: explainer_spec(plan, id_, model) for id_ in methods},
        **_attribute_precision(plan, model, family),
        **({"sample_maps": True} if plan.certificates(condition) else {}),
    }


def bank_spec(
    plan: Plan, dataset: str, model: str, attack: str, smoothing: str, explained: str, shard: str
) -> dict[str, Any]:
    """Model, the explained class, and the masks of all metrics that are asked for in the conditions that share the bank."""
    bank = Condition(dataset, model, attack, smoothing, explained)
    return {
        "seed": plan.study.seed,
        "explained": plan.explains(bank),
        "model": _model_spec(plan, model),
        "precision": plan.study.models[model].passes("score"),
        "masks": bank_masks(plan, bank),
        **_infill_spec(plan, infilled_bank(plan, bank)),
    }


def score_spec(
    plan: Plan, dataset: str, model: str, attack: str, smoothing: str, explained: str, family: str, shard: str
) -> dict[str, Any]:
    """Model, the explained class and metrics, and the denoiser that a fill draws from."""
    condition = Condition(dataset, model, attack, smoothing, explained)
    return {
        "seed": plan.study.seed,
        "explained": plan.explains(condition),
        "model": _model_spec(plan, model),
        "precision": plan.study.models[model].passes("score"),
        "metrics": _instances(plan, "metrics", plan.metrics(condition)),
        **_infill_spec(plan, infilled(plan, condition)),
        **_explainers_spec(plan, condition, family),
    }


def stability_spec(
    plan: Plan, dataset: str, model: str, attack: str, smoothing: str, explained: str, family: str, shard: str
) -> dict[str, Any]:
    """Measures, which clean conditions they compare with, and the methods that explain no class."""
    condition = Condition(dataset, model, attack, smoothing, explained)
    methods = plan.methods(condition)[family] if plan.explains(condition) != CLEAN_PREDICTION else []
    agnostic = [id_ for id_ in methods if not plan.study.explainers[id_].traits["class_specific"]]
    return {
        "measures": _instances(plan, "stability", plan.measures(condition)),
        "references": sorted(plan.references(condition)),
    } | ({"class_agnostic": agnostic} if agnostic else {})


def sanity_spec(
    plan: Plan, dataset: str, model: str, attack: str, smoothing: str, explained: str, family: str, shard: str
) -> dict[str, Any]:
    """Model, the explained class, the explainers of a family, and the checks."""
    condition = Condition(dataset, model, attack, smoothing, explained)
    return {
        "seed": plan.study.seed,
        "explained": plan.explains(condition),
        "model": _model_spec(plan, model),
        "methods": {id_: explainer_spec(plan, id_, model) for id_ in plan.methods(condition)[family]},
        "checks": _instances(plan, "sanity", plan.checks(condition)),
        **_attribute_precision(plan, model, family),
    }


def certify_spec(
    plan: Plan, dataset: str, model: str, attack: str, smoothing: str, explained: str, shard: str
) -> dict[str, Any]:
    """Certificates and the noise they stand on."""
    asked = plan.certificates(Condition(dataset, model, attack, smoothing, explained))
    noise = certified_noise(plan.study.smoothings[smoothing].parameters)
    return {
        "seed": plan.study.seed,
        "sigma": plan.sigma(smoothing),
        **({} if noise == "gaussian" else {"noise": noise}),
        "certificates": _instances(plan, "certificates", asked),
    }


def tables_spec(plan: Plan, experiment: str) -> dict[str, Any]:
    """Axes of an experiment, and its statistics."""
    asked = plan.study.experiments[experiment]
    cells = [
        {
            "condition": asdict(c),
            "families": sorted(plan.methods(c)),
            "references": sorted(plan.references(c)),
            "checked": bool(set(plan.checks(c)) & set(asked.sanity)),
            "certified": bool(set(plan.certificates(c)) & set(asked.certificates)),
        }
        | ({} if plan.explains_itself(c) else {"maps_of": plan.of_maps(c).model})
        for c in experiment_conditions(asked)
    ]
    norms = {c: dict(norms_of(plan.study.certificates[c].entry)) for c in sorted(asked.certificates)}
    return {
        "seed": plan.study.seed,
        "cells": cells,
        "shards": {d: len(plan.shards(d)) for d in asked.datasets},  # a command line has no room for their names
        "statistics": plan.study.statistics.model_dump(mode="json"),
        "explainers": sorted(asked.explainers),
        "metrics": sorted(asked.metrics),
        "stability": sorted(asked.stability),
        "sanity": sorted(asked.sanity),
        "certificates": sorted(asked.certificates),
        "attacks": {a: plan.study.attacks[a].spec() for a in sorted(asked.attacks)},
        "trainings": trainings(plan, experiment),
        "smoothings": {s: plan.study.smoothings[s].spec() for s in sorted(asked.smoothings)},
        "pooled": {m: how for m in sorted(asked.metrics) if (how := _traits(plan, m).get("pooled"))},
        "directions": {m: _traits(plan, m)["direction"] for m in sorted(asked.metrics)},
        **({"norms": norms} if norms else {}),
    }


def figures_spec(plan: Plan, experiment: str, figure: str) -> dict[str, Any]:
    """A figure, its style, and for its caption the seed and the fill."""
    item = plan.study.figures[figure]
    shown = _shown(plan, experiment, item.parameters)
    spec = item.spec()
    if "directions" in spec:
        spec["directions"] = _directions(plan, shown) | spec["directions"]
    if spec.get("coverage", 0) is None:
        spec["coverage"] = plan.study.statistics.coverage
    metrics = {id_: plan.study.metrics[id_].parameters for id_ in shown if id_ in plan.study.metrics}
    fills = {id_: str(fill) for id_, p in sorted(metrics.items()) if (fill := fill_of(p))}
    style = plan.study.style.style.model_dump(mode="json")
    return {"figure": spec, "style": style, "seed": plan.study.seed, "fills": fills}


def _shown(plan: Plan, experiment: str, figure: Any) -> list[str]:
    """Ids of the metrics and measures that a figure is of; none where its settings name no metric."""
    if hasattr(figure, "metric"):
        return [figure.metric]
    if not hasattr(figure, "metrics"):
        return []
    asked = plan.study.experiments[experiment]
    return list(figure.metrics) or [*asked.metrics, *asked.stability]


def _directions(plan: Plan, shown: Iterable[str]) -> dict[str, str]:
    """Id → what is better, for the ids of metrics and measures that a figure shows."""
    found = {}
    for section in ("metrics", "stability"):
        items = getattr(plan.study, section)
        for id_ in shown:
            if id_ in items:
                found[id_] = items[id_].traits["direction"]
    return found


def page_spec(plan: Plan, experiment: str) -> dict[str, Any]:
    """Content of the page beside the tables."""
    found = tables_spec(plan, experiment)
    kept = {name: found[name] for name in ("seed", "statistics", "directions")}
    images = sum(plan.images(dataset) for dataset in found["shards"])
    return {"experiment": experiment, "images": images, **kept, "style": plan.study.style.style.model_dump(mode="json")}


SPECS: dict[str, Callable[..., dict[str, Any]]] = {
    "shard": shard_spec,
    "train_classifier": train_classifier_spec,
    "train_denoiser": train_denoiser_spec,
    "train_diffmask": train_diffmask_spec,
    "train_shapley": train_shapley_spec,
    "attack": attack_spec,
    "denoise": denoise_spec,
    "predict": predict_spec,
    "attribute": attribute_spec,
    "bank": bank_spec,
    "score": score_spec,
    "stability": stability_spec,
    "sanity": sanity_spec,
    "certify": certify_spec,
    "tables": tables_spec,
    "figures": figures_spec,
    "page": page_spec,
}
"""Stage → function of the plan and the job's wildcards."""
