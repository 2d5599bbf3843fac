"""Training a classifier as a job: safetensors with the weights, Parquet with the log."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.contents import contents_digest
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.store import write_parquet
from vitfaith.datasets.opening import training_set
from vitfaith.metrics.fills.removal import Removal, remover
from vitfaith.models.training.recipe import ClassifierRecipe


def run_train_classifier(
    spec: Mapping[str, Any], code: str, out: Path, log: Path, device: str, teacher: Path | None = None
) -> None:
    """Train a classifier; ``out`` is the safetensors file, ``log`` a Parquet file with one row per epoch.

    ``teacher`` has the weights of the recipe's teacher, None where there is none or timm's hub has them. A killed training
    continues from a hidden file beside ``out``, even if Snakemake has removed its outputs.

    Raises:
        ConfigError: a teacher of another size or of other classes than the model's.
    """
    from vitfaith.models.classifier import save_classifier
    from vitfaith.models.fast.linear import kernels
    from vitfaith.models.load import load_classifier
    from vitfaith.models.training.classifier import train_classifier

    settings = dict(spec["recipe"])
    removal = settings.pop("removal", None)
    model, recipe = spec["model"], ClassifierRecipe(**settings)
    removing = None if removal is None else partial(remover, Removal(**removal), seed=recipe.seed)
    progress = out.with_name(f".{out.stem}.progress.safetensors")
    taught_by = [] if teacher is None else [contents_digest([teacher])]
    train, test = (training_set(spec, part) for part in ("train_on", "test_on"))
    classifier, rows = train_classifier(
        model["timm"], model["arguments"], train, test, recipe, seed=recipe.seed, device=device, removing=removing,
        teacher=load_classifier(spec["teacher"], teacher, device) if "teacher" in spec else None,
        checkpoint=progress, facts=[removal, spec.get("contents"), *taught_by],
    )  # fmt: skip
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
    progress.unlink(missing_ok=True)
