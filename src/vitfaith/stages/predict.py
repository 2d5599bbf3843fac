"""The predict stage: what the classifier says of the denoised samples; mean probabilities and vote counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from vitfaith.artifacts.predictions import prediction_table
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.samples import read_denoised
from vitfaith.artifacts.schemas import SMOOTHED_PREDICTIONS, WITHOUT_PIXELS
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.models.facts import facts_of_passes
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.load import job_classifier
from vitfaith.models.precision import passes_in


def run_predict(
    spec: Mapping[str, Any],
    code: str,
    images: Path,
    denoised: Path,
    weights: Path | None,
    out: Path,
    *,
    device: str,
    batch_size: int,
) -> None:
    """Classify every denoised sample of a shard (schema SMOOTHED_PREDICTIONS)."""
    table = read_table(images, WITHOUT_PIXELS)
    ids = table.column("image_id").to_pylist()
    samples = torch.from_numpy(read_denoised(denoised, ids).copy())  # PyTorch takes no read-only memory
    classifier = job_classifier(spec["model"], weights, device)
    precision = spec.get("precision", "float32")
    with passes_in(classifier, precision):
        logits = forward_in_batches(classifier, samples.flatten(0, 1), batch_size)
    probabilities = logits.softmax(1).unflatten(0, samples.shape[:2]).cpu()
    labels, targets = (table.column(c).to_numpy() for c in ("label", "target"))
    facts = provenance("predict", spec, code, **facts_of_passes(classifier, device, precision, forwards=len(logits)))
    found = prediction_table(ids, labels, targets, probabilities)
    each = list(probabilities.argmax(-1).int().numpy())
    write_table(
        found.append_column("sample_predictions", pa.array(each, pa.list_(pa.int32()))),
        out,
        SMOOTHED_PREDICTIONS,
        facts,
    )
