"""The fixed sections of a configuration as typed models; registered items bring their own parameter models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from vitfaith.denoisers.adm_settings import PRESETS
from vitfaith.denoisers.recipe import DenoiserRecipe
from vitfaith.explained import CLEAN_PREDICTION
from vitfaith.figures.drawing.style import Style
from vitfaith.metrics.fills.removal import Removal
from vitfaith.models.precision import PassStage, Precision
from vitfaith.models.training.recipe import ClassifierRecipe
from vitfaith.settings import Settings


class Section(Settings):
    """Base of every section: unknown keys are errors."""


class DatasetSection(Section):
    """Settings of every dataset beside its reader's settings."""

    images: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="number of images in a stratified random subset (by seed), also for a training set; default: all images",
    )
    shard_size: int = Field(256, ge=1, description="images per job; a lost job loses at most these")


class ClassifierTraining(ClassifierRecipe):
    """How a classifier is trained, and on which patches."""

    removal: Removal | None = Field(
        None,
        description="patches removed at random from each training image, so that perturbed images are in the network's domain; "
        "see below; without it none",
    )


class PassPrecisions(Section):
    """Precision of a model's passes, stage by stage."""

    attack: Precision = Field(
        "float32",
        description="precision of the forward and backward passes that craft attacked images; U-Nets keep float32",
    )
    predict: Precision = Field(
        "float32",
        description="precision of the passes whose answers are stored: predictions of clean, attacked and denoised images, and with them "
        "explained classes, success of attacks, and votes",
    )
    attribute: Precision = Field(
        "float32",
        description="precision of the forward and backward passes of explainers, also in sanity checks; the family relevance keeps float32 or float64",
    )
    score: Precision = Field("float32", description="precision of the forward passes that metrics ask for")


class ModelSection(Section):
    """The classifier that is explained."""

    timm: str | None = Field(
        None,
        description="name of a timm architecture, with or without .tag; without it, weights is a folder that names the architecture",
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of timm.create_model")
    weights: Path | Literal["trained", "pretrained"] = Field(
        description="safetensors file, or torch file (read without running code from it); or a folder of the Hugging Face hub with "
        "config.json: a ViT, DeiT, DINOv2, BEiT, CLIP, SigLIP or Swin classifier of transformers, or a timm model; 'trained' trains "
        "by the recipe below; 'pretrained' asks timm's hub"
    )
    mean: tuple[float, ...] | None = Field(
        None, description="channel means in [0, 1] pixel units; without it those stored with the weights"
    )
    std: tuple[float, ...] | None = Field(
        None, description="channel standard deviations; without it those stored with the weights"
    )
    patch: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="only for models without patches: side of the cells of maps in pixels, or height and width",
    )
    precision: Precision | PassPrecisions = Field(
        "float32",
        description="precision of the forward passes that metrics ask for, while all else keeps float32; or one for each stage, see below. "
        "Changes results a little: docs/metrics.md",
    )
    maps_of: str | None = Field(
        None,
        description="id of another model, whose maps this one scores: images, explained classes and maps are that model's, and this "
        "network answers the metrics, as in in-domain evaluation; without it the model's own maps",
    )
    training: ClassifierTraining | None = Field(None, description="how `snakemake train` trains it")

    def passes(self, stage: PassStage) -> Precision:
        """The precision of a stage's passes."""
        if isinstance(self.precision, PassPrecisions):
            chosen: Precision = getattr(self.precision, stage)
            return chosen
        return self.precision if stage == "score" else "float32"

    def spec(self) -> dict[str, Any]:
        """Settings that determine the classifier, beside its weights."""
        cells = {} if self.patch is None else {"patch": self.patch}
        return self.model_dump(mode="json", include={"timm", "arguments", "mean", "std"}) | cells


class DenoiserSection(Section):
    """A diffusion denoiser: in the diffusers layout, or a checkpoint of OpenAI's networks."""

    path: str = Field(
        description="folder with unet/ and scheduler/, or an id of the Hugging Face hub (owner/name); with format adm a "
        "checkpoint file; 'trained' trains by the recipe below"
    )
    format: Literal["diffusers", "adm"] = Field(
        "diffusers", description="adm: guided-diffusion and improved-diffusion checkpoints (.pt or safetensors)"
    )
    preset: str | None = Field(
        None,
        description=f"flags of a published adm checkpoint: {', '.join(PRESETS)}",
        json_schema_extra={"enum": [*PRESETS, None]},
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="flags that an adm checkpoint was trained with, which replace flags of the preset, named as in its training "
        "script: image_size, num_channels, num_res_blocks, noise_schedule …",
    )
    class_label: int | None = Field(
        None,
        ge=0,
        description="class that a class-conditional network gets for every image (its null class where it has one); never "
        "the predicted class, which would carry the classifier's decision into the denoised image",
    )
    training: DenoiserRecipe | None = Field(None, description="how `snakemake train` trains it")

    def spec(self) -> dict[str, Any]:
        """The settings that decide what the network computes, beside its files."""
        return self.model_dump(mode="json", include={"format", "preset", "arguments", "class_label"})


class StatisticsSection(Section):
    """Confidence intervals and tests."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the bootstrap intervals over images")
    resamples: int = Field(2000, ge=100, le=100_000, description="bootstrap resamples")
    coverage: float = Field(
        0.9,
        ge=0,
        le=1,
        description="methods are compared on the images that all of them have a value for; a method with less than this "
        "share of the images is in no comparison and stands below a line",
    )


def _on_or_off(value: Any) -> Any:
    return ("on" if value else "off") if isinstance(value, bool) else value


# YAML reads on and off as truth values.
OnOff = Annotated[
    Literal["on", "off"],
    BeforeValidator(_on_or_off),
    WithJsonSchema({"anyOf": [{"enum": ["on", "off"], "type": "string"}, {"type": "boolean"}]}),
]


class ComputeSection(Section):
    """How to compute, never what: no value here changes a result beyond rounding, none triggers a recomputation."""

    batch_size: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = Field(
        "auto", description="most images in one pass; halved when memory runs out; auto measures the fastest on a GPU"
    )
    part_size: int = Field(
        64, ge=1, description="a job saves its progress every part_size images; a retry continues from there"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto takes a GPU when a job is given one; cuda insists on one; with cpu jobs ask a cluster for none",
    )
    fast: OnOff = Field(
        "on", description="off runs networks by the code of torch and timm alone, more slowly: docs/performance.md"
    )


class FiguresSection(Section):
    """Looks of the figures."""

    style: Style = Field(Style(), description="shared by all figures")


AXES = ("datasets", "models", "attacks", "smoothings", "explainers", "metrics")
"""Keys of an experiment that stand for a whole section where they are left out."""


def _axis(left_out: str) -> Any:
    """A list of ids that is not empty; the loader fills it where it is left out."""
    return Field(default_factory=list, min_length=1, description=f"ids to cross; left out: {left_out}")


class Experiment(Section):
    """A named crossing of conditions with explainers and metrics."""

    datasets: list[str] = _axis("all that no `training` names under `train_on` or `test_on`")
    models: list[str] = _axis("all")
    attacks: list[str] = _axis("all")
    smoothings: list[str] = _axis("all")
    explainers: list[str] = _axis("all")
    metrics: list[str] = _axis("all")
    targets: list[str | int] = Field(
        [CLEAN_PREDICTION],
        min_length=1,
        description="classes to explain, to cross: clean_prediction, prediction (of the image given), label, runner_up (of the "
        "clean image), or a class by its index or name; left out: clean_prediction",
    )
    stability: list[str] = Field(default_factory=list, description="ids of measures; left out: none")
    sanity: list[str] = Field(default_factory=list, description="ids of checks; left out: none")
    certificates: list[str] = Field(default_factory=list, description="ids; left out: none")
    figures: list[str] = Field(default_factory=list, description="ids; left out: none")

    @field_validator("*")
    @classmethod
    def _once(cls, ids: list[str | int]) -> list[str | int]:
        twice = next((id_ for id_ in ids if ids.count(id_) > 1), None)
        if twice is not None:
            raise ValueError(f"'{twice}' is listed twice; name it once")
        return ids


OF_SECTIONS = tuple(name for name in Experiment.model_fields if name != "targets")
"""Keys of an experiment whose values are ids of the section with that name."""
