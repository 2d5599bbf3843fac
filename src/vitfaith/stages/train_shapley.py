"""Training a ViT-Shapley explainer as a job: safetensors with head and surrogate, Parquet with the log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.store import write_parquet
from vitfaith.datasets.opening import training_set
from vitfaith.explainers.shapley.files import rounded, save_shapley
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.explainers.shapley.train import train_shapley
from vitfaith.models.fast.linear import kernels
from vitfaith.models.load import load_classifier
from vitfaith.models.training.classifier import require_alike


def run_train_shapley(
    spec: Mapping[str, Any], code: str, weights: Path | None, surrogate: Path | None, out: Path, log: Path, device: str
) -> None:
    """Train for the model with ``weights``; ``out`` is the safetensors file, ``log`` a Parquet file with one row per epoch.

    A killed training continues from a hidden file beside ``out``, even if Snakemake has removed its outputs.

    Raises:
        ConfigError: images, or a surrogate, of another size or other classes than the model's.
    """
    classifier = load_classifier(spec["model"], weights, device)
    answers = rounded(load_classifier(spec["surrogate"], surrogate, device))
    require_alike(answers, classifier, "the surrogate", "surrogates")
    (train, _), (test, _) = (training_set(spec, part, classifier.input_shape) for part in ("train_on", "test_on"))
    recipe, progress = ShapleyRecipe(**spec["recipe"]), out.with_name(f".{out.stem}.progress.safetensors")
    head, rows = train_shapley(classifier, answers, train, test, recipe, checkpoint=progress)
    built = {"timm": spec["surrogate"]["timm"], "arguments": spec["surrogate"]["arguments"]}
    save_shapley(head, answers, out, classifier, **built, fill=recipe.fill, facts={"recipe": spec["recipe"]})
    write_parquet(pa.Table.from_pylist(rows), log)
    write_record(record_beside(out), provenance("shapley", spec, code, device=device, kernels=kernels(device)), [out])
    progress.unlink(missing_ok=True)
