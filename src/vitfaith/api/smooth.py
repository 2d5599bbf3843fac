"""Images behind a smoothing: noisy denoised copies, their predictions and their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from vitfaith.api.explain import maps_of
from vitfaith.api.given import check_device
from vitfaith.api.inputs import (
    Target,
    batch_size_of,
    classes_of,
    ids_of,
    images_of,
    ready,
    seed_of,
    targets_of,
)
from vitfaith.api.items import Choices, item_of, items_of
from vitfaith.api.maps import Maps
from vitfaith.artifacts.predictions import prediction_table
from vitfaith.artifacts.samples import STORED
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.forward import forward_in_batches
from vitfaith.registry import Item
from vitfaith.shipped import located
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.smoothings.registry import map_aggregation
from vitfaith.study.references import check_denoiser_section
from vitfaith.study.sections import DenoiserSection
from vitfaith.study.values import validate

if TYPE_CHECKING:
    from pandas import DataFrame


def load_denoiser(
    source: str | Path,
    *,
    format: str = "diffusers",
    device: str | torch.device | None = None,
    **arguments: Any,
) -> Denoiser:
    """A diffusion denoiser for :func:`vitfaith.smooth`, for attacks through it, and for the fill ``diffusion``.

    Args:
        source: folder in the diffusers layout (``unet/`` and ``scheduler/``), id of the Hugging Face hub, or with
            ``format="adm"`` a checkpoint of OpenAI's networks; ``vitfaith:denoisers/fashion_mnist`` is shipped.
        format: "diffusers" or "adm".
        device: where the denoiser runs and smoothing computes; default: the CPU.
        arguments: ``class_label``, and for "adm" ``preset`` and ``arguments``, as in the configuration.

    Raises:
        ArtifactError: a file is missing or broken, or the weights do not fit.
        ConfigError: wrong settings, or a network or scheduler of another kind.
        InputError: there is no such device.

    Example:
        >>> import vitfaith as vf
        >>> denoiser = vf.load_denoiser("vitfaith:denoisers/fashion_mnist")
        >>> denoiser.channels
        1
    """
    if not isinstance(source, str | Path):
        raise InputError(f"source is a {type(source).__name__}; give the folder of a denoiser, or an id of the hub")
    check_device(device)
    for name in ("path", "training"):
        if name in arguments:
            raise ConfigError(f"denoiser.{name}: no setting of load_denoiser; remove it")
    section = validate(DenoiserSection, {"path": str(source), "format": format, **arguments}, "denoiser")
    check_denoiser_section("denoiser", section)
    return Denoiser.load(located(source), section.spec(), device="cpu" if device is None else str(device))


@dataclass(frozen=True)
class Smoothed:
    """The result of :func:`smooth`.

    Attributes:
        samples: (B, S, C, H, W) float32 in [0, 1] on the CPU, in the precision in which a study stores them (float16).
        image_ids: B names of the images.
        smoothing: the smoothing with its settings.
        seed: seed of the noise.
        model: the model that classifies and explains the samples.
        batch_size: largest number of samples per pass; None: measured.
    """

    samples: Tensor
    image_ids: list[str]
    smoothing: Item
    seed: int
    model: nn.Module = field(repr=False)
    batch_size: int | None = None

    def predict(self, *, target: Target = "prediction", labels: Tensor | Sequence[int] | None = None) -> DataFrame:
        """The model's predictions for the samples, one row per image.

        Args:
            target, labels: see :meth:`explain`.

        Returns:
            image_id, label (−1 without labels), target, prediction (arg-max of the mean probability),
            target_probability, probabilities and votes (K,), samples, and sample_predictions (S,).

        Raises:
            InputError: labels or target do not fit.
        """
        with ready(self.model) as classifier:
            probabilities = self._probabilities(classifier)
            targets = self._targets(target, labels, classifier, probabilities)
        count = len(self.image_ids)
        given = torch.full((count,), -1) if labels is None else classes_of("labels", labels, count)
        table = prediction_table(self.image_ids, given.numpy(), targets.numpy(), probabilities)
        each = pa.array(list(probabilities.argmax(-1).int().numpy()), pa.list_(pa.int32()))
        return table.append_column("sample_predictions", each).to_pandas()

    def explain(
        self,
        explainers: Choices,
        *,
        target: Target = "prediction",
        labels: Tensor | Sequence[int] | None = None,
    ) -> Maps:
        """The maps behind the smoothing: each sample's map is scaled onto [0, 1], then they are averaged or aggregated otherwise.

        Args:
            explainers: see :func:`vitfaith.explain`.
            target: ``"prediction"`` is the arg-max of the mean probability over the samples, ``"runner_up"`` the second
                largest; else as in :func:`vitfaith.explain`.
            labels: (B,) classes for ``target="label"``.

        Returns:
            Maps whose ``sample_maps`` hold the raw maps (B, S, rows, columns), for certificates and scale-dependent metrics.

        Raises:
            ConfigError, InputError: as :func:`vitfaith.explain`.
        """
        methods = items_of("explainers", explainers)
        with ready(self.model) as classifier:
            size = batch_size_of(classifier, self.batch_size, backward=True)
            needs_logits = isinstance(target, str) and target != "label"
            probabilities = self._probabilities(classifier) if needs_logits else None
            targets = self._targets(target, labels, classifier, probabilities)
            each = [
                maps_of(
                    classifier,
                    self.samples[:, sample],
                    targets,
                    self.image_ids,
                    methods,
                    seed=self.seed,
                    batch_size=size,
                    sample=sample,
                )
                for sample in range(self.samples.shape[1])
            ]
        stacked = {id_: torch.stack([maps[id_] for maps in each]) for id_ in methods}
        how = map_aggregation(self.smoothing.parameters)
        return Maps(
            {id_: aggregate_maps(maps, how)[0] for id_, maps in stacked.items()},
            target=targets,
            image_ids=self.image_ids,
            seed=self.seed,
            explainers={id_: method.name for id_, method in methods.items()},
            sample_maps={id_: maps.transpose(0, 1).contiguous() for id_, maps in stacked.items()},
        )

    def _probabilities(self, classifier: Any) -> Tensor:
        """(B, S, K) float32 on the CPU."""
        size = batch_size_of(classifier, self.batch_size, backward=False)
        logits = forward_in_batches(classifier, self.samples.flatten(0, 1), size)
        return logits.softmax(1).unflatten(0, self.samples.shape[:2]).cpu()

    def _targets(self, target: Target, labels: Any, classifier: Any, probabilities: Tensor | None) -> Tensor:
        mean = None if probabilities is None else probabilities.double().mean(1)
        return targets_of(target, classifier, self.samples[:, 0], labels, 1, mean)


def check_denoiser(smoothing: Item, denoiser: Any) -> None:
    """Raise :class:`InputError` where a smoothing needs a denoiser, or ``denoiser`` is something else."""
    needed = "denoiser" in type(smoothing.parameters).model_fields
    if needed and denoiser is None:
        raise InputError(f"smoothing '{smoothing.name}' needs denoiser=; load one with vitfaith.load_denoiser")
    if denoiser is not None and not isinstance(denoiser, Denoiser):
        raise InputError(f"denoiser is a {type(denoiser).__name__}; load it with vitfaith.load_denoiser")


def smooth(
    model: nn.Module,
    images: Tensor,
    smoothing: str,
    *,
    denoiser: Denoiser | None = None,
    image_ids: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    **settings: Any,
) -> Smoothed:
    """Noisy, denoised copies of ``images``, ready to be classified and explained by ``model``.

    Args:
        model, images, image_ids, seed, batch_size: see :func:`vitfaith.explain`.
        smoothing: name of a registered smoothing (``vf.available("smoothings")``).
        denoiser: network of the smoothing, from :func:`vitfaith.load_denoiser`; it stays on its device.
        settings: settings of the smoothing, as in the configuration: ``sigma=0.25, samples=10``.

    Raises:
        ConfigError: unknown smoothing or wrong settings, or noise beyond the denoiser's schedule.
        InputError: arguments do not fit each other, the model or the denoiser, or a needed denoiser is missing.

    Source: dds: Hu et al. 2024, arXiv 2311.17983; Carlini et al. 2023, arXiv 2206.10550.

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=28, patch_size=4, in_chans=1, depth=2, num_classes=10)
        >>> model = vf.wrap(network, mean=[0.5], std=[0.5])
        >>> denoiser = vf.load_denoiser("vitfaith:denoisers/fashion_mnist")
        >>> smoothed = vf.smooth(model, torch.rand(2, 1, 28, 28), "dds", denoiser=denoiser, sigma=0.25, samples=3)
        >>> smoothed.samples.shape, len(smoothed.predict())
        (torch.Size([2, 3, 1, 28, 28]), 2)
    """
    seed, item = seed_of(seed), item_of("smoothings", smoothing, settings, denoiser="denoiser")
    check_denoiser(item, denoiser)
    pixels = images_of(images)
    ids = ids_of(pixels, image_ids)
    with ready(model, pixels) as classifier:
        size = batch_size_of(classifier, batch_size, backward=False)
    count = int(getattr(item.parameters, "samples", 1))
    samples: Tensor = item.implementation(
        denoiser, pixels, ids, item.parameters, range(count), seed=seed, batch_size=size
    )
    if samples.shape != (len(ids), count, *pixels.shape[1:]):
        raise InputError(
            f"smoothing '{smoothing}' returned shape {tuple(samples.shape)} for {count} samples of {len(ids)} images"
        )
    kept = torch.from_numpy(samples.cpu().numpy().astype(STORED).astype(np.float32))
    return Smoothed(kept, ids, item, seed, model, batch_size)
