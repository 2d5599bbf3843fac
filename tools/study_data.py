"""A shipped study and the images that it takes, for tools that measure without a run of the workflow."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.datasets.opening import open_source
from vitfaith.datasets.subset import stratified_subset
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import load_classifier
from vitfaith.shipped import located
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.study import Study

CONFIG = Path(__file__).resolve().parents[1] / "config"


def study_of(name: str) -> Study:
    """A study of the folder ``config``."""
    return load_study(read_yaml(CONFIG / name))


def levels_of(study: Study, dataset: str, count: int | None = None) -> tuple[Tensor, Tensor, list[str]]:
    """Grey levels (N, C, H, W) uint8, labels (N,) and ids of the images that a study takes; of them the first ``count``."""
    reader, section = study.datasets[dataset]
    source = open_source(reader.spec())
    chosen = stratified_subset(source.labels, section.images, study.seed)[:count]
    ids = [source.image_ids[i] for i in chosen]
    return torch.from_numpy(source.read(chosen).copy()), torch.from_numpy(source.labels[chosen]), ids


def images_of(study: Study, dataset: str, count: int | None = None) -> tuple[Tensor, Tensor, list[str]]:
    """:func:`levels_of` with images float32 in [0, 1]."""
    levels, labels, ids = levels_of(study, dataset, count)
    return unit_pixels(levels), labels, ids


def size_of(study: Study, dataset: str) -> int:
    """Number of images of a dataset."""
    reader, section = study.datasets[dataset]
    return section.images or len(open_source(reader.spec()).labels)


def load(study: Study, model: str, device: str = "cpu") -> Classifier:
    """A model of a study with its shipped weights, also where the study trains it."""
    return load_classifier(study.models[model].spec(), Path(located(f"vitfaith:models/{model}.safetensors")), device)
