"""The sanity stage: what the maps of a family do when the model, the class or the image is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from vitfaith.artifacts.attacked import read_images
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import SANITY
from vitfaith.artifacts.store import write_table
from vitfaith.artifacts.targets import explained_targets
from vitfaith.artifacts.tensors import image_tensor
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.models.facts import facts_of_passes
from vitfaith.models.load import job_classifier
from vitfaith.models.passes import PassCounter
from vitfaith.sanity.answers import Answers, answers_of
from vitfaith.sanity.registry import SANITY_CHECKS, Subject


def run_sanity(
    spec: Mapping[str, Any],
    code: str,
    images: Path,
    weights: Path | None,
    out: Path,
    *,
    pixels: Path | None = None,
    predictions: Path | None = None,
    device: str,
    batch_size: int,
) -> None:
    """Run the checks ``spec["checks"]`` on the explainers ``spec["methods"]`` for the images of one shard.

    Args:
        pixels: the shard of these images; needed where ``images`` refers to it (:func:`~vitfaith.artifacts.attacked.read_images`).
        predictions: what decides the explained classes, as in the attribute stage.

    Raises:
        ArtifactError: the images cannot be read.
        InputError: a check or a measure does not fit the model or its patch grid.
    """
    table = read_images(images, pixels)
    ids = table.column("image_id").to_pylist()
    methods = EXPLAINERS.from_specs(spec["methods"])
    precision = spec.get("precision", "float32")
    forwards = backwards = 0

    def explain_with(
        classifier: Classifier, images: Tensor, targets: Tensor, image_ids: Sequence[str], *, margin: float = 0.0
    ) -> Mapping[str, Tensor]:
        nonlocal forwards, backwards
        with PassCounter(classifier.backbone) as passes:
            maps = explain(
                classifier,
                images,
                targets,
                image_ids,
                methods,
                seed=spec["seed"],
                batch_size=batch_size,
                margin=margin,
                precision=precision,
            )
        forwards, backwards = forwards + passes.forwards, backwards + passes.backwards
        return maps

    def answer_with(images: Tensor) -> Answers:
        nonlocal forwards
        with PassCounter(classifier.backbone) as passes:
            found = answers_of(classifier, images, batch_size)
        forwards += passes.forwards
        return found

    classifier = job_classifier(spec["model"], weights, device)
    inputs = image_tensor(table, str(images), device)
    targets = explained_targets(spec, table, predictions, device)
    classifier.check_targets(targets, len(ids))
    maps = explain_with(classifier, inputs, targets, ids)
    subject = Subject(classifier, explain_with, inputs, targets, ids, maps, spec["seed"], answer_with)
    parts = []
    for id_, check in SANITY_CHECKS.from_specs(spec["checks"]).items():
        rows = check.implementation(subject, check.parameters)
        parts.append(rows.append_column("check", pa.repeat(id_, len(rows))).select(SANITY.names).cast(SANITY))
    facts = provenance(
        "sanity", spec, code, **facts_of_passes(classifier, device, precision, forwards=forwards, backwards=backwards)
    )
    write_table(pa.concat_tables(parts), out, SANITY, facts)
