"""The train stage: fit a network by its recipe, write weights in a standard format and the log as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import OF_FOLDER, record_beside, write_record
from vitfaith.artifacts.store import write_parquet
from vitfaith.denoise.layout import folder_files
from vitfaith.shard.stage import open_source
from vitfaith.train.recipes import ClassifierRecipe, DenoiserRecipe


def _arrays(reader: Mapping[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    source = open_source(reader)
    return source.read(np.arange(len(source.labels))), source.labels


def run_train_classifier(spec: Mapping[str, Any], code: str, out: Path, log: Path, device: str) -> None:
    """Train a classifier; ``out`` is the safetensors file, ``log`` a Parquet file with one row an epoch."""
    from vitfaith.models.classifier import save_classifier
    from vitfaith.train.classifier import train_classifier

    model, recipe = spec["model"], ClassifierRecipe(**spec["recipe"])
    train, test = _arrays(spec["train_on"]), _arrays(spec["test_on"])
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
    write_record(record_beside(out), provenance("train", spec, code, device=device), [out])


def run_train_denoiser(spec: Mapping[str, Any], code: str, out: Path, log: Path, device: str) -> None:
    """Train a denoiser; ``out`` is the folder in the diffusers layout, ``log`` a Parquet file with one row an epoch."""
    from vitfaith.train.denoiser import save_denoiser, train_denoiser

    (train, _), (test, _) = _arrays(spec["train_on"]), _arrays(spec["test_on"])
    recipe = DenoiserRecipe(**spec["recipe"])
    network, scheduler, rows = train_denoiser(train, test, recipe, seed=recipe.seed, device=device)
    save_denoiser(network, scheduler, out)
    write_parquet(pa.Table.from_pylist(rows), log)
    write_record(out / OF_FOLDER, provenance("train", spec, code, device=device), folder_files(out))
