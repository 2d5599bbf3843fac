"""The attack stage: adversarial versions of a shard's images, with what the model predicts for what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from vitfaith.artifacts.images import decode_images, encode_images, image_digests
from vitfaith.artifacts.predictions import prediction_table
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import IMAGES, PREDICTIONS, SHARDS
from vitfaith.artifacts.store import read_provenance, read_table, write_table
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.attacks.registry import ATTACKS, changes_nothing
from vitfaith.attacks.run import attack_images
from vitfaith.attacks.smoothed import Defence
from vitfaith.denoisers.denoiser import job_denoiser
from vitfaith.errors import InputError
from vitfaith.models.facts import facts_of_passes
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.load import job_classifier
from vitfaith.models.passes import PassCounter
from vitfaith.models.precision import passes_in
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.transfer import upload


def _defence(spec: Mapping[str, Any], denoiser: Path | str | None, device: str) -> Defence | None:
    if "smoothing" not in spec:
        return None
    network = None if denoiser is None else job_denoiser(denoiser, spec.get("denoiser"), device)
    return Defence(SMOOTHINGS.from_spec(spec["smoothing"]), network)


def run_attack(
    spec: Mapping[str, Any],
    code: str,
    images: Path,
    weights: Path | None,
    out: Path,
    predictions: Path,
    *,
    denoiser: Path | str | None = None,
    device: str,
    batch_size: int,
) -> None:
    """Attack one shard.

    ``out`` gets the attacked images (schema IMAGES), without pixels where the attack changes nothing; ``predictions`` gets
    the class probabilities of the stored images. Their provenance names the classes when the dataset or the model does.

    Raises:
        InputError: the shard's labels or image size do not fit the model.
    """
    shard = read_table(images, SHARDS)
    pixels = decode_images(shard, np.uint8, str(images))
    labels = shard.column("label").to_numpy().astype(np.int64)
    ids = shard.column("image_id").to_pylist()
    classifier = job_classifier(spec["model"], weights, device)
    if labels.max() >= classifier.num_classes:
        raise InputError(
            f"'{images}' has label {labels.max()}, the model only {classifier.num_classes} classes; give a model trained on this dataset"
        )
    clean = unit_pixels(upload(torch.from_numpy(pixels.copy()), device))
    classifier.check_images(clean)
    attack = ATTACKS.from_spec(spec["attack"])
    precision, stored_in = (spec.get(key, "float32") for key in ("precision", "predict_precision"))
    with PassCounter(classifier) as passes, passes_in(classifier, stored_in):
        targets = forward_in_batches(classifier, clean, batch_size).argmax(1)
        result = attack_images(
            classifier,
            clean,
            targets,
            ids,
            attack,
            defence=_defence(spec, denoiser, device),
            seed=spec["seed"],
            batch_size=batch_size,
            precision=precision,
        )
        stored = unit_pixels(upload(torch.from_numpy(result.images), device))
        probabilities = forward_in_batches(classifier, stored, batch_size).softmax(1)[:, None].cpu()
    names = list(read_provenance(images).get("classes") or classifier.class_names)
    classes = {"classes": names} if names else {}
    facts = provenance(
        "attack",
        spec,
        code,
        **facts_of_passes(classifier, device, precision, forwards=passes.forwards, backwards=passes.backwards),
        **({} if stored_in == precision else {"predicted_in": stored_in}),
        **classes,
    )
    target = targets.cpu().numpy()
    columns = {
        "image_id": pa.array(ids),
        "label": pa.array(labels),
        "target": pa.array(target),
        "prediction": pa.array(np.asarray(result.prediction)),
        "success": pa.array(np.asarray(result.success)),
        "linf": pa.array(np.asarray(result.linf)),
        "l2": pa.array(np.asarray(result.l2)),
        **encode_images(result.images),
        "digest": pa.array(image_digests(result.images), pa.string()),
    }
    if changes_nothing(attack):
        columns["pixels"] = pa.nulls(len(ids), pa.binary())
    write_table(prediction_table(ids, labels, target, probabilities), predictions, PREDICTIONS, facts)
    write_table(pa.table(columns), out, IMAGES, facts)
