"""Whether what a configuration names exists, and whether the entries of a section are whole in themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from vitfaith.artifacts.paths import SHARED
from vitfaith.attacks.registry import smoothing_seen
from vitfaith.denoisers.adm_settings import PRESETS, AdmSettings
from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.metrics.fills.placeholder import placeholder_of
from vitfaith.nested import items_inside
from vitfaith.registry import Parameters, named_ids
from vitfaith.smoothings.registry import smoothings_with_gradient
from vitfaith.study.axes import recipes
from vitfaith.study.combinations import check_certificates, check_scales
from vitfaith.study.sections import OF_SECTIONS, DenoiserSection, ModelSection
from vitfaith.study.study import Study
from vitfaith.study.values import validate
from vitfaith.study.variants import check_variants

_SECTIONS = ("attacks", "smoothings", "explainers", "metrics", "stability", "sanity", "certificates")


def check_references(study: Study) -> None:
    """Raise :class:`ConfigError` for the first name that stands for nothing, or entry that is not whole."""

    def known(names: Iterable[str], section: str, where: str) -> None:
        for name in names:
            ids = getattr(study, section)
            if name not in ids:
                raise ConfigError(f"{where}: '{name}' is not in section {section}{did_you_mean(name, ids)}")

    for id_, experiment in study.experiments.items():
        for section in OF_SECTIONS:
            known(getattr(experiment, section), section, f"experiments.{id_}.{section}")
    _check_through(study)
    _check_named(study)
    check_certificates(study)
    check_scales(study)
    _check_learned(study)
    _check_figures(study)
    check_variants(study)
    _check_trained(study)
    _check_teachers(study)
    for where, recipe in recipes(study):
        known([recipe.train_on, recipe.test_on], "datasets", where)
    for id_, denoiser in study.denoisers.items():
        check_denoiser_section(f"denoisers.{id_}", denoiser)
    for id_, model in study.models.items():
        _check_model(f"models.{id_}", model)
        _check_maps_of(study, f"models.{id_}.maps_of", id_, model.maps_of)
    if SHARED in study.models:
        raise ConfigError(
            f"models.{SHARED}: the id is reserved for all models together, whose clean images are denoised once; choose another"
        )
    if not study.experiments:
        raise ConfigError(
            "experiments: missing; add one, such as 'all: {}', which crosses everything that the other sections name"
        )
    if "clean" not in study.attacks:
        raise ConfigError("attacks: add 'clean: {}'; the explained class is predicted on the clean image")


def _check_named(study: Study) -> None:
    """Raise :class:`ConfigError` for a name in a parameter marked by :class:`~vitfaith.registry.Ids` that is in no section."""
    for section in _SECTIONS:
        for id_, item in getattr(study, section).items():
            _check_ids(item.parameters, study, f"{section}.{id_}", "section ")
            for place, inner in items_inside(item.parameters):
                _check_ids(inner.parameters, study, f"{section}.{id_}.{place}", "section ")


def _check_through(study: Study) -> None:
    """Raise :class:`ConfigError` for an attack through a smoothing that is missing, smooths nothing or has no gradient."""
    known = smoothings_with_gradient()
    usable = [id_ for id_, item in study.smoothings.items() if item.name in known]
    for id_, attack in study.attacks.items():
        through = smoothing_seen(attack.parameters)
        if through is None or through in usable:
            continue
        if through not in study.smoothings:
            why = f"is not in section smoothings{did_you_mean(through, usable)}"
        elif study.smoothings[through].name == "none":
            why = "smooths nothing; leave 'through' out, or name another"
        else:
            why = f"(smoothing {study.smoothings[through].name}) has no gradient in the image"
        raise ConfigError(
            f"attacks.{id_}.through: '{through}' {why}; known: {', '.join(usable) or 'none yet, add one'}"
        )


def _check_figures(study: Study) -> None:
    """Raise :class:`ConfigError` for a figure that refers (explicitly or by default) to an item its experiment does not include.

    It would only fail when it is drawn, at the end.
    """
    for name, experiment in study.experiments.items():
        for id_ in experiment.figures:
            _check_ids(study.figures[id_].parameters, experiment, f"figures.{id_}", f"experiments.{name}.")


def _check_ids(parameters: Parameters, there: object, where: str, place: str) -> None:
    for key, ids, sections in named_ids(parameters):
        found: Collection[str] = [id_ for section in sections for id_ in getattr(there, section)]
        for id_ in ids:
            if id_ not in found:
                hint = did_you_mean(id_, found) or f"; known: {', '.join(found) or 'none yet, add one'}"
                raise ConfigError(f"{where}.{key}: '{id_}' is not in {place}{', '.join(sections)}{hint}")


def _check_learned(study: Study) -> None:
    """Raise :class:`ConfigError` for a recipe that is missing, or a placeholder of an explainer without weights."""
    for id_, item in study.explainers.items():
        recipe: Any = getattr(item.parameters, "training", None)
        if getattr(item.parameters, "weights", None) == "trained" and recipe is None:
            raise ConfigError(
                f"explainers.{id_}: weights are 'trained' but there is no key 'training' with a recipe; add it, or name a folder"
            )
        for model, surrogate in getattr(recipe, "surrogates", {}).items():
            _check_surrogate(study, f"explainers.{id_}.training", model, surrogate, recipe.fill)
    for id_, item in study.metrics.items():
        explainer = placeholder_of(item.parameters)
        if explainer is None:
            continue
        where = f"metrics.{id_}.fill.explainer"
        chosen = study.explainers[explainer]
        files = chosen.traits.get("model_files", ())
        if not any(getattr(chosen.parameters, name) is not None for name in files):
            raise ConfigError(
                f"{where}: '{explainer}' has no trained DiffMask; name an explainer diffmask with weights"
            )


def _check_surrogate(study: Study, where: str, model: str, surrogate: str, fill: str) -> None:
    for name in (model, surrogate):
        if name not in study.models:
            raise ConfigError(
                f"{where}.surrogates: '{name}' is not in section models{did_you_mean(name, study.models)}"
            )
    if study.models[surrogate].timm is None:
        raise ConfigError(f"{where}.surrogates: '{surrogate}' is a folder; name a model with the key timm")
    training = study.models[surrogate].training
    taught = None if training is None or training.removal is None else training.removal.fill.name
    if taught not in (None, fill):
        raise ConfigError(
            f"{where}.fill: '{fill}' hides patches, and the surrogate '{surrogate}' was trained with '{taught}'; take one fill"
        )


def _check_trained(study: Study) -> None:
    for section in ("models", "denoisers"):
        for id_, item in getattr(study, section).items():
            source = getattr(item, "weights", None) or getattr(item, "path", None)
            if source == "trained" and item.training is None:
                raise ConfigError(
                    f"{section}.{id_}: weights are 'trained' but there is no key 'training' with a recipe"
                )


def _check_teachers(study: Study) -> None:
    """Raise :class:`ConfigError` for a teacher outside the study's models, or one that learns from its own pupil."""
    teachers = {id_: model.training.teacher for id_, model in study.models.items() if model.training is not None}
    for id_, teacher in teachers.items():
        where = f"models.{id_}.training.teacher"
        if teacher is not None and teacher not in study.models:
            raise ConfigError(f"{where}: '{teacher}' is not in section models{did_you_mean(teacher, study.models)}")
        above = [id_]
        while teacher is not None and study.models[teacher].weights == "trained":
            if teacher in above:
                raise ConfigError(
                    f"{where}: {' learns from '.join([*above, teacher])}; no order of trainings does that"
                )
            above.append(teacher)
            teacher = teachers.get(teacher)


def check_denoiser_section(where: str, section: DenoiserSection) -> None:
    """Raise :class:`ConfigError` where ``preset`` and ``arguments`` do not fit the format, or each other."""
    if section.format == "diffusers":
        if section.preset is not None or section.arguments:
            raise ConfigError(f"{where}: preset and arguments belong to format adm; add it or remove them")
        return
    if section.path == "trained":
        raise ConfigError(f"{where}.format: what is trained here has the diffusers layout; remove format: adm")
    if section.preset is None and not section.arguments:
        raise ConfigError(f"{where}: format adm needs the flags of its training; add a preset ({', '.join(PRESETS)})")
    if section.preset is not None and section.preset not in PRESETS:
        raise ConfigError(
            f"{where}.preset: unknown '{section.preset}'{did_you_mean(section.preset, PRESETS)}; known: {', '.join(PRESETS)}"
        )
    try:
        validate(AdmSettings, {**PRESETS.get(section.preset or "", {}), **section.arguments}, f"{where}.arguments")
    except ConfigError as error:
        text = str(error)
        raise (error if text.startswith(where) else ConfigError(f"{where}.arguments: {text}")) from error


def _check_maps_of(study: Study, where: str, id_: str, explained: str | None) -> None:
    if explained is None:
        return
    others = [name for name, model in study.models.items() if name != id_ and model.maps_of is None]
    if explained not in others:
        raise ConfigError(
            f"{where}: '{explained}' is not another model with its own maps{did_you_mean(explained, others)}; known: "
            f"{', '.join(others) or 'none yet, add one'}"
        )


def _check_model(where: str, model: ModelSection) -> None:
    if model.timm is None and (isinstance(model.weights, str) or model.weights.suffix):
        raise ConfigError(f"{where}.timm: missing; name the timm architecture; only a folder defines it itself")
    if len(model.mean or ()) != len(model.std or ()):
        raise ConfigError(f"{where}: give mean and std together, with one value per channel")
    if any(s <= 0 for s in model.std or ()):
        raise ConfigError(f"{where}.std: values must be above 0")
