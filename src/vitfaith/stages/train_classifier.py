"""Training a classifier as a job: safetensors with the weights, Parquet with the log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.store import write_parquet
from vitfaith.datasets.opening import read_all
from vitfaith.models.training.recipe import ClassifierRecipe


def run_train_classifier(spec: Mapping[str, Any], code: str, out: Path, log: Path, device: str) -> None:
    """Train a classifier; ``out`` is the safetensors file, ``log`` a Parquet file with one row an epoch."""
    from vitfaith.models.classifier import save_classifier
    from vitfaith.models.fast.linear import kernels
    from vitfaith.models.training.classifier import train_classifier

    model, recipe = spec["model"], ClassifierRecipe(**spec["recipe"])
    train, test = read_all(spec["train_on"]), read_all(spec["test_on"])
    classifier, rows = train_classifier(
        model["timm"], model["arguments"], train, test, recipe, seed=recipe.seed, device=device
    )
    description = {
        "timm": model["timm"],
        "arguments": model["arguments"],
        "mean": classifier.mean.flatten().tolist(),
        "std": classifier.std.flatten().tolist(),
    }
    save_classifier(classifier, out, description)
    write_parquet(pa.Table.from_pylist(rows), log)
    write_record(
        record_beside(out), provenance("train", spec, code, device=device, kernels=kernels(device, quick=False)), [out]
    )
