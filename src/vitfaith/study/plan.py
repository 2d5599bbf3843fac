"""Contents of a study and paths of its files: methods by family, shards, weights, denoisers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.attacks.registry import changes_nothing, smoothing_seen
from vitfaith.datasets.opening import open_dataset
from vitfaith.datasets.subset import shard_count, shard_name
from vitfaith.denoisers.layout import folder_files, is_hub_id
from vitfaith.errors import ConfigError
from vitfaith.explained import CLEAN_PREDICTION, PREDICTION, RUNNER_UP
from vitfaith.metrics.fills.registry import settings_of_fill
from vitfaith.smoothings.registry import certified_sigma
from vitfaith.study.conditions import asked_in, conditions, experiment_conditions, of_maps
from vitfaith.study.study import Study

MOST_SHARDS = 100_000
"""Shards that a dataset may have: planning takes seconds for ten thousand."""

FOLDER_FILES = ("config.json", "model.safetensors", "pytorch_model.bin", "preprocessor_config.json")
"""Files read from a model folder of the Hugging Face hub."""


class Plan:
    """Answers what a study needs. Built once when the workflow is read; imports neither torch nor timm."""

    def __init__(self, study: Study, results: str = "results") -> None:
        self.study = study
        self.results = results
        self.conditions = conditions(study)

    @cache  # noqa: B019  (one plan lives as long as the process)
    def images(self, dataset: str) -> int:
        """Number of images that a study takes of a dataset."""
        reader, section = self.study.datasets[dataset]
        if section.images is not None:
            return section.images
        return len(open_dataset(reader).labels)

    @cache  # noqa: B019
    def shards(self, dataset: str) -> list[str]:
        """Shard names of a dataset."""
        count = shard_count(self.images(dataset), self.study.datasets[dataset][1].shard_size)
        if count > MOST_SHARDS:
            raise ConfigError(
                f"datasets.{dataset}.shard_size: {count:,} shards, and each is a file and a job of every stage; at most "
                f"{MOST_SHARDS:,} are planned: raise shard_size or take fewer images"
            )
        return [shard_name(i) for i in range(count)]

    @cache  # noqa: B019
    def methods(self, condition: Condition) -> dict[str, list[str]]:
        """Family → ids of the explainers that some experiment asks for in this condition."""
        families: dict[str, list[str]] = {}
        for id_ in sorted(asked_in(self.study, condition, "explainers")):
            families.setdefault(self.study.explainers[id_].traits["family"], []).append(id_)
        return families

    @cache  # noqa: B019
    def metrics(self, condition: Condition) -> list[str]:
        """Ids of the metrics that some experiment asks for in this condition."""
        return sorted(asked_in(self.study, condition, "metrics"))

    @cache  # noqa: B019
    def measures(self, condition: Condition) -> list[str]:
        """Ids of the stability measures that some experiment asks for in this condition."""
        return sorted(asked_in(self.study, condition, "stability"))

    @cache  # noqa: B019
    def checks(self, condition: Condition) -> list[str]:
        """Ids of the sanity checks that some experiment asks for in this condition; none behind a smoothing."""
        if self.smooths(condition.smoothing) or not self.explains_itself(condition):
            return []
        return sorted(asked_in(self.study, condition, "sanity"))

    @cache  # noqa: B019
    def certificates(self, condition: Condition) -> list[str]:
        """Ids of the certificates that some experiment asks for in this condition; none without a smoothing."""
        if self.sigma(condition.smoothing) is None or not self.explains_itself(condition):
            return []
        return sorted(asked_in(self.study, condition, "certificates"))

    def of_maps(self, condition: Condition) -> Condition:
        """The condition in whose folder the images, predictions and maps of ``condition`` lie: of the explained model."""
        return of_maps(self.study, condition)

    def explains_itself(self, condition: Condition) -> bool:
        """Whether the model of a condition scores its own maps, not the maps of the model named under ``maps_of``."""
        return self.of_maps(condition) == condition

    def sigma(self, smoothing: str) -> float | None:
        """Noise for which a smoothing's maps and predictions can be certified, None where they cannot."""
        return certified_sigma(self.study.smoothings[smoothing].parameters)

    def files(self, stage: str, condition: Condition, family: str | None = None) -> list[str]:
        """Paths of a stage's shards in one condition (and family)."""
        return [artifact(self.results, stage, condition, family, s) for s in self.shards(condition.dataset)]

    def experiment_files(self, name: str) -> list[str]:
        """Every result file that the tables of an experiment read."""
        files: dict[str, None] = {}
        for dataset in self.study.experiments[name].datasets:
            files.update(dict.fromkeys(self.files("shard", Condition(dataset, "", "", ""))))
        for condition in experiment_conditions(self.study.experiments[name]):
            maps = self.of_maps(condition)
            own = replace(maps, explained="")
            clean = [Condition(maps.dataset, maps.model, "clean", "none")]
            for images in [own, *(clean if condition.explained == RUNNER_UP else [])]:
                files.update(dict.fromkeys(self.files("predictions", images)))
                files.update(dict.fromkeys(self.files("attack", replace(images, smoothing=""))))
            stages = ["attribute", "scores", "curves"] + (["stability"] if self.references(condition) else [])
            stages += ["sanity"] if self.checks(condition) else []
            if self.certificates(condition):
                files.update(dict.fromkeys(self.files("certificates", condition)))
            for family, stage in product(self.methods(condition), stages):
                where = maps if stage == "attribute" else condition
                files.update(dict.fromkeys(self.files(stage, where, family)))
        return list(files)

    def references(self, condition: Condition) -> dict[str, Condition]:
        """The conditions that stability compares with: the clean map behind the same smoothing, and the undefended clean map."""
        if not self.explains_itself(condition):
            return {}
        clean = replace(condition, attack="clean")
        found = {"clean": clean, "undefended": replace(clean, smoothing="none")}
        return {k: v for k, v in found.items() if v != condition and v in self.conditions}

    def explains(self, condition: Condition) -> str:
        """Value of ``explained`` that decides the classes: of a clean, unsmoothed image the prediction is the clean prediction."""
        clean = (condition.attack, condition.smoothing, condition.explained) == ("clean", "none", PREDICTION)
        return CLEAN_PREDICTION if clean else condition.explained

    def deciding(self, condition: Condition, shard: str) -> str | None:
        """The file of predictions that the explained classes are read from, None where the images' own file has them."""
        explained, condition = self.explains(condition), self.of_maps(condition)
        if explained == RUNNER_UP:
            condition = Condition(condition.dataset, condition.model, "clean", "none")
        elif explained != PREDICTION:
            return None
        return artifact(self.results, "predictions", condition, None, shard)

    def reference_files(self, condition: Condition, family: str, shard: str) -> list[str]:
        """Map files of the conditions that stability compares with, in the order of :meth:`references`."""
        found = self.references(condition).values()
        return [artifact(self.results, "attribute", c, family, shard) for c in found]

    def changes(self, attack: str) -> bool:
        """Whether an attack changes images; the files of one that does not (``clean``) refer to the shards."""
        return not changes_nothing(self.study.attacks[attack])

    def smooths(self, smoothing: str) -> bool:
        """Whether a smoothing reads denoised samples (``none`` does not)."""
        return self.study.smoothings[smoothing].name != "none"

    @property
    def smoothings(self) -> list[str]:
        """Ids of the smoothings that read denoised samples."""
        return [s for s in self.study.smoothings if self.smooths(s)]

    def denoised(self, dataset: str, model: str, attack: str, smoothing: str, shard: str) -> str:
        """Path of the denoised samples of a shard."""
        return artifact(self.results, "denoise", Condition(dataset, model, attack, smoothing), None, shard)

    def weights(self, model: str) -> list[str]:
        """The files of a model that count as input: weights, or what a folder of the hub holds; none of timm's hub."""
        path = self.weights_path(model)
        if path is None:
            return []
        files = [Path(path, name) for name in FOLDER_FILES if Path(path, name).is_file()]
        return [str(file) for file in files] or [path]

    def weights_path(self, model: str) -> str | None:
        """The weights of a model: the given file or folder, the trained file, or None when timm's hub provides them."""
        weights = self.study.models[model].weights
        if weights == "pretrained":
            return None
        return f"{self.results}/train/classifier/{model}.safetensors" if weights == "trained" else str(weights)

    def start_weights(self, model: str) -> list[str]:
        """The weights that a model's training starts from, nothing when it starts from scratch."""
        recipe = self.study.models[model].training
        return [] if recipe is None or recipe.start_from is None else [str(recipe.start_from)]

    def teacher(self, model: str) -> str | None:
        """Id of the model whose answers a model's training imitates, None where it imitates none."""
        recipe = self.study.models[model].training
        return None if recipe is None else recipe.teacher

    def denoiser_id(self, section: str, id_: str | None) -> str | None:
        """Id of the denoiser that a smoothing, an attack or the fill of a metric uses, None where it uses none."""
        if id_ is None:
            return None
        parameters = getattr(self.study, section)[id_].parameters
        if section == "attacks" and (through := smoothing_seen(parameters)) is not None:
            return self.denoiser_id("smoothings", through)
        name: str | None = getattr(settings_of_fill(parameters) or parameters, "denoiser", None)
        return name

    def denoiser(self, section: str, id_: str | None) -> str | None:
        """The denoiser folder, checkpoint or hub id of that denoiser, None where none is used."""
        name = self.denoiser_id(section, id_)
        if name is None:
            return None
        path = self.study.denoisers[name].path
        return f"{self.results}/train/denoiser/{name}" if path == "trained" else str(path)

    def denoiser_files(self, section: str, id_: str | None) -> list[str]:
        """The files of that denoiser that count as input; none of a model of the hub."""
        name, path = self.denoiser_id(section, id_), self.denoiser(section, id_)
        if name is None or path is None:
            return []
        if self.study.denoisers[name].format == "adm":
            return [path]
        return [] if is_hub_id(path) else [str(file) for file in folder_files(Path(path))]

    def figure_needs(self, figure: str) -> frozenset[str]:
        """Which tables a figure reads."""
        return frozenset(self.study.figures[figure].traits["needs"])
