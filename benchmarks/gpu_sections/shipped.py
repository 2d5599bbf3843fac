"""Networks and images, on the CPU and on the device alike: those of the repository, unless others are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from benchmarks.gpu_sections.setup import ROOT, Setup
from numpy.typing import NDArray
from torch import Tensor

from vitfaith.artifacts.images import encode_images, encode_truth
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.explainers.diffmask.files import load_diffmask, save_diffmask
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.explainers.shapley.files import save_untrained
from vitfaith.metrics.fills.diffusion import DENOISER_EXTRA
from vitfaith.metrics.fills.placeholder import PLACEHOLDER_EXTRA
from vitfaith.models.load import load_classifier
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Item
from vitfaith.study.load import load_study, read_yaml

CHEAP = {"samples": 16, "steps": 8, "masks": 64, "iterations": 20}
"""Smaller budgets of explainers that have these settings."""
MODEL = "vit_patch4"


@dataclass
class Given:
    """What is computed with: a trained ViT, a denoiser, a DiffMask, and images.

    Attributes:
        spec: the model's specification, as jobs have it.
        weights, denoiser, diffmask: files and folder.
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    spec: dict[str, object]
    weights: Path
    denoiser: Path
    diffmask: Path
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: list[str]


def of_the_repository(count: int) -> Given:
    """The shipped ViT of 7 × 7 patches on ``count`` test images."""
    reader = REGISTRIES["datasets"].item("parquet", path=str(ROOT / "resources/data/fashion_mnist.parquet"))
    source = reader.implementation(reader.parameters)
    chosen = np.arange(count)
    weights = ROOT / "resources" / "models" / f"{MODEL}.safetensors"
    section = load_study(read_yaml(ROOT / "config" / "config.yaml")).models[MODEL]
    return Given(
        section.model_dump(mode="json") | {"weights": str(weights)}, weights,
        ROOT / "resources" / "denoisers" / "fashion_mnist", ROOT / "resources" / "diffmasks" / f"{MODEL}.safetensors",
        source.read(chosen), np.asarray(source.labels)[chosen].astype(np.int64), [source.image_ids[i] for i in chosen],
    )  # fmt: skip


@dataclass
class Shipped:
    """What is given, on one device."""

    device: str
    given: Given
    folder: Path

    def __post_init__(self) -> None:
        given = self.given
        self.ids, self.count = given.ids, len(given.ids)
        self.classifier = load_classifier(given.spec, given.weights, self.device)
        self.denoiser = Denoiser.load(given.denoiser, device=self.device)
        self.labels = torch.from_numpy(given.labels).to(self.device)
        self.images: Tensor = unit_pixels(torch.from_numpy(given.pixels.copy()).to(self.device))
        with torch.inference_mode():
            self.targets = self.classifier(self.images).argmax(1).clone()
        self.truth = (self.images[:, 0] > 0.2).to(torch.int8)

    def explainer(self, name: str) -> Item:
        """A registered explainer with affordable settings."""
        entry = REGISTRIES["explainers"][name]
        fields = entry.parameters.model_fields
        settings: dict[str, object] = {key: value for key, value in CHEAP.items() if key in fields}
        if "weights" in fields:
            by_class = self.learned if entry.traits["class_specific"] else self.given.diffmask
            settings["weights"] = self.shapley if entry.traits.get("trained_by") == "shapley" else by_class
        return REGISTRIES["explainers"].item(name, **settings)

    @cached_property
    def shard(self) -> Path:
        """The images with labels and segmentations, as the stage ``shard`` writes them; one file for both devices."""
        path = self.folder / "shard.parquet"
        if not path.exists():
            columns = {"image_id": pa.array(self.ids), "label": pa.array(self.labels.cpu().numpy())}
            columns |= encode_images(np.asarray(self.given.pixels)) | encode_truth(list(self.truth.cpu().numpy()))
            write_table(pa.table(columns), path, SHARDS, {})
        return path

    @cached_property
    def shapley(self) -> Path:
        """A random ViT-Shapley head, for the same reason."""
        path = self.folder / "shapley.safetensors"
        if not path.exists():
            classifier = load_classifier(self.given.spec, self.given.weights)
            save_untrained(path, classifier, torch.Generator().manual_seed(0))
        return path

    @cached_property
    def learned(self) -> Path:
        """A DiffMask of classes with random gates, since the repository has none; the same for both devices."""
        path = self.folder / "diffmask_class.safetensors"
        if not path.exists():
            source = torch.Generator().manual_seed(0)
            classifier = load_classifier(self.given.spec, self.given.weights)
            network = new_diffmask(
                classifier, distribution=HardConcrete(), beta=1.0, class_specific=True, generator=source
            )
            assert network.gates.classes is not None
            network.gates.classes.data.normal_(generator=source)
            save_diffmask(network, path, classifier, {})
        return path

    @cached_property
    def extras(self) -> dict[str, object]:
        """What fills take, from a caller who leaves it on the CPU."""
        placeholder = load_diffmask(self.given.diffmask, self.classifier).placeholder.detach().cpu()
        return {DENOISER_EXTRA: self.denoiser, PLACEHOLDER_EXTRA: placeholder, "infill": self.images.flip(-1).cpu()}


def both(setup: Setup) -> tuple[Shipped, Shipped]:
    """On the CPU, and on the device."""
    if "shipped" not in setup.made:
        given = setup.made.get("given") or of_the_repository(2 if setup.small else 8)
        setup.made["shipped"] = [Shipped(device, given, setup.folder) for device in ("cpu", setup.device)]
    on_cpu, on_device = setup.made["shipped"]
    return on_cpu, on_device
