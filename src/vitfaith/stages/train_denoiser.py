"""Training a denoiser as a job: a folder in the diffusers layout, Parquet with the log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import OF_FOLDER, write_record
from vitfaith.artifacts.store import write_parquet
from vitfaith.datasets.opening import training_set
from vitfaith.denoisers.layout import folder_files
from vitfaith.denoisers.recipe import DenoiserRecipe


def run_train_denoiser(spec: Mapping[str, Any], code: str, out: Path, log: Path, device: str) -> None:
    """Train a denoiser; ``out`` is the folder in the diffusers layout, ``log`` a Parquet file with one row per epoch."""
    from vitfaith.denoisers.training import save_denoiser, train_denoiser
    from vitfaith.models.fast.linear import kernels

    (train, _), (test, _) = (training_set(spec, part) for part in ("train_on", "test_on"))
    recipe = DenoiserRecipe(**spec["recipe"])
    network, scheduler, rows = train_denoiser(train, test, recipe, seed=recipe.seed, device=device)
    save_denoiser(network, scheduler, out)
    write_parquet(pa.Table.from_pylist(rows), log)
    write_record(
        out / OF_FOLDER,
        provenance("train", spec, code, device=device, kernels=kernels(device, quick=False)),
        folder_files(out),
    )
