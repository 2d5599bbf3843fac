"""The score stage: every metric on every map of a shard, from one set of model responses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitfaith.artifacts.attacked import read_images
from vitfaith.artifacts.maps import read_maps, read_raw_maps
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import CURVES, SCORES
from vitfaith.artifacts.store import write_table
from vitfaith.artifacts.targets import explained_targets
from vitfaith.artifacts.tensors import image_tensor, integer_tensor
from vitfaith.artifacts.truth import read_truth
from vitfaith.errors import ArtifactError
from vitfaith.explainers.diffmask.files import load_diffmask
from vitfaith.metrics.arguments import grid_fault
from vitfaith.metrics.bank.store import read_bank
from vitfaith.metrics.engine.enlarge import EXPLAINERS_EXTRA
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.diffusion import infill_extras
from vitfaith.metrics.fills.placeholder import PLACEHOLDER_EXTRA
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.facts import facts_of_passes
from vitfaith.models.load import job_classifier
from vitfaith.models.passes import PassCounter


def run_score(
    spec: Mapping[str, Any],
    code: str,
    images: Path,
    maps: Path,
    weights: Path | None,
    scores: Path,
    curves: Path,
    *,
    pixels: Path | None = None,
    predictions: Path | None = None,
    bank: Path | None = None,
    truth: Path | None = None,
    placeholder: Path | None = None,
    denoiser: str | None = None,
    device: str,
    batch_size: int,
) -> None:
    """Score the maps of one family on one shard.

    Args:
        pixels: the shard of these images; needed where ``images`` refers to it (:func:`~vitfaith.artifacts.attacked.read_images`).
        predictions: what decides the explained classes, as in the attribute stage.
        bank: answers to the masks that the metrics share; without it the masks are evaluated here.
        truth: shard with segmentations, for metrics that need them. Images without one get flagged rows.
        placeholder: DiffMask whose placeholder a fill takes.
        denoiser: folder, checkpoint or hub id of the denoiser that a fill draws from.

    Raises:
        ArtifactError: the maps are of other images than the shard, or on another grid than the model's; the bank or the
            segmentations are of other images.
    """
    table = read_images(images, pixels)
    ids = table.column("image_id").to_pylist()
    classifier = job_classifier(spec["model"], weights, device)
    stacked = _checked(read_maps(maps), maps, ids, classifier)
    means = read_raw_maps(maps)
    raw = None if means is None else _checked(means, maps, ids, classifier)
    inputs = image_tensor(table, str(images), device)
    targets, labels = explained_targets(spec, table, predictions, device), integer_tensor(table, "label", device)
    masks = None if truth is None else torch.from_numpy(read_truth(truth, ids))
    extras: dict[str, Any] = {} if bank is None else {"bank": read_bank(bank, ids, classifier.grid, spec["seed"])}
    if placeholder is not None:
        extras[PLACEHOLDER_EXTRA] = load_diffmask(placeholder, classifier).placeholder
    if "explainers" in spec:
        extras[EXPLAINERS_EXTRA] = spec["explainers"]
    infill = infill_extras(spec, denoiser, device)
    with PassCounter(classifier.backbone, *(d.network for d in infill.values())) as passes:
        result = evaluate(
            classifier,
            inputs,
            targets,
            ids,
            stacked,
            METRICS.from_specs(spec["metrics"]),
            labels=labels if bool((labels >= 0).all()) else None,  # -1: the dataset has no classes
            seed=spec["seed"],
            batch_size=batch_size,
            truth=masks,
            extras=extras | infill,
            precision=spec["precision"],
            raw_maps=raw,
        )
    facts = provenance(
        "score", spec, code, **facts_of_passes(classifier, device, spec["precision"], forwards=passes.forwards)
    )
    write_table(result.curves, curves, CURVES, facts)
    write_table(result.scores, scores, SCORES, facts)


def _checked(
    found: Mapping[str, tuple[list[str], NDArray[np.float32]]], path: Path, ids: list[str], classifier: Classifier
) -> dict[str, torch.Tensor]:
    """Method → maps of the images ``ids``, as a tensor."""
    stacked = {}
    for method, (map_ids, values) in found.items():
        if map_ids != ids:
            missing = sorted(set(ids) - set(map_ids))
            raise ArtifactError(
                f"'{path}': maps of '{method}' are of other images than the shard (missing: {missing[:3]}); delete the file and run again"
            )
        if fault := grid_fault(method, values.shape[1:], classifier):
            raise ArtifactError(f"'{path}': {fault}; delete the file and run again")
        stacked[method] = torch.from_numpy(values.copy())
    return stacked
