"""Training a DiffMask as a job: safetensors with the network, Parquet with the log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.schemas import DIFFMASK_LOG
from vitfaith.artifacts.store import write_parquet
from vitfaith.datasets.opening import training_set
from vitfaith.explainers.diffmask.files import save_diffmask
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.models.fast.linear import kernels
from vitfaith.models.load import load_classifier


def run_train_diffmask(
    spec: Mapping[str, Any], code: str, weights: Path | None, out: Path, log: Path, device: str
) -> None:
    """Train for the model with ``weights``; ``out`` is the safetensors file, ``log`` a Parquet file of schema DIFFMASK_LOG.

    A killed training continues from a hidden file beside ``out``, even if Snakemake has removed its outputs.

    Raises:
        ConfigError: images of another size than the model's.
    """
    classifier, recipe = load_classifier(spec["model"], weights, device), DiffMaskRecipe(**spec["recipe"])
    (train, _), (test, _) = (training_set(spec, part, classifier.input_shape) for part in ("train_on", "test_on"))
    progress = out.with_name(f".{out.stem}.progress.safetensors")
    network, rows = train_diffmask(
        classifier, train, test, recipe, class_specific=spec["class_specific"], checkpoint=progress
    )
    save_diffmask(network, out, classifier, {"recipe": spec["recipe"]})
    write_parquet(pa.Table.from_pylist(rows, schema=DIFFMASK_LOG), log)
    write_record(record_beside(out), provenance("diffmask", spec, code, device=device, kernels=kernels(device)), [out])
    progress.unlink(missing_ok=True)
