"""From a checked study to what must exist: conditions, families, shards, paths, and each stage's specification."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from vitfaith.config.load import Study
from vitfaith.config.sections import Experiment
from vitfaith.errors import ConfigError
from vitfaith.fingerprint import fingerprint
from vitfaith.registries import REGISTRIES
from vitfaith.shard.subset import shard_count, shard_name

_USED: dict[str, dict[str, str]] = {
    "shard": {"datasets": "reader"},
    "attack": {"attacks": "attack"},
    "denoise": {"smoothings": "smoothing"},
    "attribute": {"explainers": "methods", "smoothings": "smoothing"},
    "score": {"metrics": "metrics"},
    "stability": {"stability": "measures"},
    "figures": {"figures": "figure"},
}
"""Stage → the registries it draws on and the key of its specification that names the items in use."""

SHARED = "shared"
"""Stands for the model in the path of denoised clean images, which no model had a part in."""


@dataclass(frozen=True, order=True)
class Condition:
    """dataset × model × attack × smoothing."""

    dataset: str
    model: str
    attack: str
    smoothing: str

    @property
    def folder(self) -> str:
        """The condition as Hive partition folders; an empty part is left out."""
        return "/".join(f"{name}={value}" for name, value in asdict(self).items() if value)


def artifact(results: str, stage: str, condition: Condition, family: str | None, shard: str) -> str:
    """Path of one shard of a stage's output."""
    tail = "" if family is None else f"/family={family}"
    return f"{results}/{stage}/{condition.folder}{tail}/{shard}.parquet"


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal settings give equal text, whatever their order in the YAML."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def experiment_conditions(experiment: Experiment) -> Iterator[Condition]:
    """The conditions of one experiment, in the order of its lists."""
    for values in product(experiment.datasets, experiment.models, experiment.attacks, experiment.smoothings):
        yield Condition(*values)


def conditions(study: Study) -> list[Condition]:
    """Conditions of all experiments, each once."""
    return list(dict.fromkeys(c for e in study.experiments.values() for c in experiment_conditions(e)))


def _asked_in(study: Study, condition: Condition, axis: str) -> list[str]:
    asked: dict[str, None] = {}
    for experiment in study.experiments.values():
        if condition in set(experiment_conditions(experiment)):
            asked.update(dict.fromkeys(getattr(experiment, axis)))
    return list(asked)


class Plan:
    """Answers what a study needs. Built once when the workflow is read; imports neither torch nor timm."""

    def __init__(self, study: Study, results: str = "results") -> None:
        self.study = study
        self.results = results
        self.conditions = conditions(study)

    @cache  # noqa: B019  (one plan lives as long as the process)
    def shards(self, dataset: str) -> list[str]:
        """Shard names of a dataset."""
        reader, section = self.study.datasets[dataset]
        images = section.images
        if images is None:
            source = REGISTRIES["datasets"][reader.name].implementation(reader.parameters)
            images = len(source.labels)
        return [shard_name(i) for i in range(shard_count(images, section.shard_size))]

    @cache  # noqa: B019
    def methods(self, condition: Condition) -> dict[str, list[str]]:
        """Family → ids of the explainers that some experiment asks for in this condition."""
        families: dict[str, list[str]] = {}
        for id_ in sorted(_asked_in(self.study, condition, "explainers")):
            entry = REGISTRIES["explainers"][self.study.explainers[id_].name]
            families.setdefault(entry.traits["family"], []).append(id_)
        return families

    @cache  # noqa: B019
    def metrics(self, condition: Condition) -> list[str]:
        """Ids of the metrics that some experiment asks for in this condition."""
        return sorted(_asked_in(self.study, condition, "metrics"))

    @cache  # noqa: B019
    def measures(self, condition: Condition) -> list[str]:
        """Ids of the stability measures that some experiment asks for in this condition."""
        return sorted(_asked_in(self.study, condition, "stability"))

    def files(self, stage: str, condition: Condition, family: str | None = None) -> list[str]:
        """Paths of a stage's shards in one condition (and family)."""
        return [artifact(self.results, stage, condition, family, s) for s in self.shards(condition.dataset)]

    def experiment_files(self, name: str) -> list[str]:
        """Every result file that the tables of an experiment read."""
        files: dict[str, None] = {}
        for condition in experiment_conditions(self.study.experiments[name]):
            files.update(dict.fromkeys(self.files("predictions", condition)))
            attacked = Condition(condition.dataset, condition.model, condition.attack, "")
            files.update(dict.fromkeys(self.files("attack", attacked)))
            stages = ["attribute", "scores", "curves"] + (["stability"] if self.references(condition) else [])
            for family, stage in product(self.methods(condition), stages):
                files.update(dict.fromkeys(self.files(stage, condition, family)))
        return list(files)

    def references(self, condition: Condition) -> dict[str, Condition]:
        """The conditions that stability compares with: the clean map behind the same smoothing, and the undefended clean map."""
        clean = Condition(condition.dataset, condition.model, "clean", condition.smoothing)
        undefended = Condition(condition.dataset, condition.model, "clean", "none")
        found = {"clean": clean, "undefended": undefended}
        return {k: v for k, v in found.items() if v != condition and v in self.conditions}

    def reference_files(self, condition: Condition, family: str, shard: str) -> list[str]:
        """Map files of the conditions that stability compares with, in the order of :meth:`references`."""
        found = self.references(condition).values()
        return [artifact(self.results, "attribute", c, family, shard) for c in found]

    def smooths(self, smoothing: str) -> bool:
        """Whether a smoothing reads denoised samples (``none`` does not)."""
        return self.denoiser("smoothings", smoothing) is not None

    @property
    def smoothings(self) -> list[str]:
        """Ids of the smoothings that read denoised samples."""
        return [s for s in self.study.smoothings if self.smooths(s)]

    def denoised(self, dataset: str, model: str, attack: str, smoothing: str, shard: str) -> str:
        """Path of the denoised samples of a shard."""
        return artifact(self.results, "denoise", Condition(dataset, model, attack, smoothing), None, shard)

    def weights(self, model: str) -> list[str]:
        """The weights file of a model: the given one, the trained one, or none when timm's hub provides it."""
        weights = self.study.models[model].weights
        if weights == "pretrained":
            return []
        return [f"{self.results}/train/classifier/{model}.safetensors"] if weights == "trained" else [str(weights)]

    def denoiser(self, section: str, id_: str) -> str | None:
        """The denoiser folder that a smoothing or attack uses, None where it uses none."""
        name = getattr(getattr(self.study, section)[id_].parameters, "denoiser", None)
        if name is None:
            return None
        path = self.study.denoisers[name].path
        return f"{self.results}/train/denoiser/{name}" if path == "trained" else str(path)

    def denoiser_files(self, section: str, id_: str) -> list[str]:
        """The files of that denoiser that count as input."""
        folder = self.denoiser(section, id_)
        if folder is None:
            return []
        return [
            f"{folder}/unet/config.json",
            f"{folder}/unet/diffusion_pytorch_model.safetensors",
            f"{folder}/scheduler/scheduler_config.json",
        ]

    def spec(self, stage: str, wildcards: Mapping[str, str]) -> str:
        """Everything that a job of ``stage`` depends on beside its input files, as canonical JSON."""
        return canonical(getattr(self, f"_{stage}_spec")(**wildcards))

    def code(self, stage: str, wildcards: Mapping[str, str]) -> str:
        """Fingerprint of the code behind a job: its stage's modules and those of the registered items it uses."""
        if self.study.code_tracking == "off":
            return "off"
        used: list[tuple[str, str]] = []
        spec = json.loads(self.spec(stage, wildcards)) if stage in _USED else {}
        for section, key in _USED.get(stage, {}).items():
            found = spec.get(key, {})
            items = [found] if "use" in found else list(found.values())
            used += [(section, item["use"]) for item in items]
        modules = {REGISTRIES[section][name].module for section, name in used}
        own = {m for m in modules if m.startswith("vitfaith.")}
        files = [p for p in self.study.plugins if f"vitfaith_plugin_{p.stem}" in modules]
        return fingerprint([f"vitfaith.{stage}.stage", *sorted(own)], stop=["vitfaith.registries"], files=files)

    def _instances(self, section: str, ids: Iterable[str]) -> dict[str, Any]:
        return {id_: getattr(self.study, section)[id_].spec() for id_ in ids}

    def _model_spec(self, model: str) -> dict[str, Any]:
        return self.study.models[model].model_dump(mode="json", include={"timm", "arguments", "mean", "std"})

    def _shard_spec(self, dataset: str, shard: str) -> dict[str, Any]:
        reader, section = self.study.datasets[dataset]
        return {"seed": self.study.seed, "reader": reader.spec(), **section.model_dump(mode="json"), "shard": shard}

    def _train_spec(self, kind: str, name: str) -> dict[str, Any]:
        section = self.study.models[name] if kind == "classifier" else self.study.denoisers[name]
        if section.training is None:
            raise ConfigError(f"{kind} '{name}' has no training recipe")
        recipe = section.training
        sources = {part: self.study.datasets[getattr(recipe, part)][0].spec() for part in ("train_on", "test_on")}
        spec = {"recipe": recipe.model_dump(mode="json"), **sources}
        return spec | ({"model": self._model_spec(name)} if kind == "classifier" else {})

    def _attack_spec(self, dataset: str, model: str, attack: str, shard: str) -> dict[str, Any]:
        return {"seed": self.study.seed, "model": self._model_spec(model), "attack": self.study.attacks[attack].spec()}

    def _denoise_spec(self, dataset: str, model: str, attack: str, smoothing: str, shard: str) -> dict[str, Any]:
        return {"seed": self.study.seed, "smoothing": self.study.smoothings[smoothing].spec()}

    def _predict_spec(self, dataset: str, model: str, attack: str, smoothing: str, shard: str) -> dict[str, Any]:
        return {"model": self._model_spec(model)}

    def _attribute_spec(
        self, dataset: str, model: str, attack: str, smoothing: str, family: str, shard: str
    ) -> dict[str, Any]:
        methods = self.methods(Condition(dataset, model, attack, smoothing))[family]
        return {
            "seed": self.study.seed,
            "model": self._model_spec(model),
            "smoothing": self.study.smoothings[smoothing].spec(),
            "methods": self._instances("explainers", methods),
        }

    def _score_spec(
        self, dataset: str, model: str, attack: str, smoothing: str, family: str, shard: str
    ) -> dict[str, Any]:
        metrics = self.metrics(Condition(dataset, model, attack, smoothing))
        return {
            "seed": self.study.seed,
            "model": self._model_spec(model),
            "metrics": self._instances("metrics", metrics),
        }

    def _stability_spec(
        self, dataset: str, model: str, attack: str, smoothing: str, family: str, shard: str
    ) -> dict[str, Any]:
        condition = Condition(dataset, model, attack, smoothing)
        return {
            "measures": self._instances("stability", self.measures(condition)),
            "references": sorted(self.references(condition)),
        }

    def _tables_spec(self, experiment: str) -> dict[str, Any]:
        asked = self.study.experiments[experiment]
        cells = [
            {"condition": asdict(c), "families": sorted(self.methods(c)), "references": sorted(self.references(c))}
            for c in experiment_conditions(asked)
        ]
        return {
            "seed": self.study.seed,
            "cells": cells,
            "shards": {d: self.shards(d) for d in asked.datasets},
            "statistics": self.study.statistics.model_dump(mode="json"),
            "explainers": sorted(asked.explainers),
            "metrics": sorted(asked.metrics),
            "stability": sorted(asked.stability),
            "directions": {
                m: REGISTRIES["metrics"][self.study.metrics[m].name].traits["direction"] for m in sorted(asked.metrics)
            },
        }

    def _figures_spec(self, experiment: str, figure: str) -> dict[str, Any]:
        return {"figure": self.study.figures[figure].spec(), "style": self.study.style.style.model_dump(mode="json")}

    def figure_needs(self, figure: str) -> frozenset[str]:
        """Which tables a figure reads."""
        return frozenset(REGISTRIES["figures"][self.study.figures[figure].name].traits["needs"])

    def path_of(self, *parts: str) -> Path:
        """A path below the results folder."""
        return Path(self.results, *parts)
