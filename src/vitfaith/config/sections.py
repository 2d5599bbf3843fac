"""The fixed sections of a configuration as typed models; registered items bring their own parameter models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vitfaith.figures.style import Style
from vitfaith.train.recipes import ClassifierRecipe, DenoiserRecipe


class Section(BaseModel):
    """Base of every section: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSection(Section):
    """Settings that every dataset has beside those of its reader."""

    images: int | None = Field(None, ge=1, description="size of the stratified seeded subset; without it all images")
    shard_size: int = Field(256, ge=1, description="images a job works on; also what a lost job loses")


class ModelSection(Section):
    """The classifier that is explained."""

    timm: str = Field(description="name of a timm architecture")
    arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of timm.create_model")
    weights: Path | Literal["trained", "pretrained"] = Field(
        description="safetensors file; 'trained' trains by the recipe below; 'pretrained' asks timm's hub"
    )
    mean: tuple[float, ...] | None = Field(
        None, description="channel means in [0, 1] pixel units; without it those stored with the weights"
    )
    std: tuple[float, ...] | None = Field(None, description="channel standard deviations; without it as for mean")
    training: ClassifierRecipe | None = Field(None, description="how `snakemake train` trains it")


class DenoiserSection(Section):
    """A diffusion denoiser in the diffusers layout."""

    path: Path | Literal["trained"] = Field(
        description="folder with unet/ and scheduler/; 'trained' trains by the recipe below"
    )
    training: DenoiserRecipe | None = Field(None, description="how `snakemake train` trains it")


class StatisticsSection(Section):
    """Confidence intervals and tests."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the bootstrap intervals over images")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples")


class ComputeSection(Section):
    """How to compute, never what: no value here changes a result beyond rounding, none triggers a recomputation."""

    batch_size: int = Field(256, ge=1, description="most images in one pass; halved when memory runs out")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU when a job is given one")


class FiguresSection(Section):
    """Looks of the figures."""

    style: Style = Field(Style(), description="shared by all figures")


class Experiment(Section):
    """A named crossing of conditions with explainers and metrics."""

    datasets: list[str] = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    smoothings: list[str] = Field(min_length=1)
    explainers: list[str] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    stability: list[str] = Field(default_factory=list)
    figures: list[str] = Field(default_factory=list)
