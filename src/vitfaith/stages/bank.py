"""The bank stage: the model's answers to the masks that the metrics of a study share, once for all explainers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitfaith.artifacts.attacked import read_images
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import BANK
from vitfaith.artifacts.store import write_table
from vitfaith.artifacts.targets import explained_targets
from vitfaith.artifacts.tensors import image_tensor
from vitfaith.metrics.bank.build import build_bank
from vitfaith.metrics.bank.masks import BankRequest
from vitfaith.metrics.fills.diffusion import infill_extras
from vitfaith.models.facts import facts_of_passes
from vitfaith.models.load import job_classifier
from vitfaith.models.passes import PassCounter


def run_bank(
    spec: Mapping[str, Any],
    code: str,
    images: Path,
    weights: Path | None,
    out: Path,
    *,
    pixels: Path | None = None,
    predictions: Path | None = None,
    denoiser: str | None = None,
    device: str,
    batch_size: int,
) -> None:
    """Evaluate the masks ``spec["masks"]`` on the images of one shard.

    Args:
        pixels: the shard of these images; needed where ``images`` refers to it (:func:`~vitfaith.artifacts.attacked.read_images`).
        predictions: what decides the explained classes, as in the attribute stage.
        denoiser: folder, checkpoint or hub id of the denoiser that a fill draws from.

    Raises:
        ArtifactError: the images cannot be read.
        InputError: a mask set does not fit the model's patch grid, or the model does not have an explained class.
    """
    table = read_images(images, pixels)
    classifier = job_classifier(spec["model"], weights, device)
    targets = explained_targets(spec, table, predictions, "cpu")
    classifier.check_targets(targets, len(table))
    inputs = image_tensor(table, str(images), device)
    infill = infill_extras(spec, denoiser, device)
    with PassCounter(classifier.backbone, *(d.network for d in infill.values())) as passes:
        bank = build_bank(
            classifier,
            inputs,
            targets,
            table.column("image_id").to_pylist(),
            [BankRequest.from_spec(one) for one in spec["masks"]],
            seed=spec["seed"],
            batch_size=batch_size,
            precision=spec["precision"],
            extras=infill,
        )
    facts = provenance(
        "bank", spec, code, **facts_of_passes(classifier, device, spec["precision"], forwards=passes.forwards)
    )
    write_table(bank.to_table(), out, BANK, facts)
