"""The maps of a finished run scored again under another key: ties, larger groups and drawn subsets fall in another order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.store import partition_values, read_provenance
from vitfaith.stages.score import run_score
from vitfaith.study.load import load_study, read_yaml

OTHER_KEY = 7
"""Seed of the second scoring; the maps are the same."""
PUBLISHED = (9, 10)
"""K of the claims, on the planted cell and on Fashion-MNIST."""
NEED_TRUTH = ("localisation_auroc", "admissible_mask")


def has_scores(results: Path, dataset: str, model: str) -> bool:
    """Whether the run has scores of the clean, undefended maps of a model."""
    return bool(_scores(results, dataset, model))


def _scores(results: Path, dataset: str, model: str) -> list[Path]:
    """Files of the scores of the clean, undefended maps of a model."""
    return sorted((results / "scores" / _condition(dataset, model).folder).rglob("*.parquet"))


def _condition(dataset: str, model: str) -> Condition:
    return Condition(dataset, model, "clean", "none", "clean_prediction")


def rescored(results: Path, study: Path, dataset: str, model: str) -> pd.DataFrame:
    """Scores of the clean, undefended maps of a model under :data:`OTHER_KEY`, one K per metric.

    Args:
        results: folder of the finished run.
        study: its study.
        dataset, model: of the maps. Metrics that compare with a truth are left out.

    Raises:
        FileNotFoundError: the run has no such scores.

    Returns:
        Rows image_id, method, metric, variant, value.
    """
    condition = _condition(dataset, model)
    images = Condition(dataset, model, "clean", "")
    settings = load_study(read_yaml(study))
    diffmasks = Path(str(settings.explainers["diffmask"].parameters.model_dump()["weights"]))
    parts = []
    for scores in _scores(results, dataset, model):
        family, shard = partition_values(scores)["family"], scores.stem
        spec = {**read_provenance(scores)["spec"], "seed": OTHER_KEY}
        spec["metrics"] = dict(_again(spec["metrics"]))
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "scores.parquet")
            run_score(
                spec,
                "",
                Path(artifact(str(results), "attack", images, None, shard)),
                Path(artifact(str(results), "attribute", condition, family, shard)),
                Path(str(settings.models[model].weights)),
                out,
                Path(folder, "curves.parquet"),
                pixels=Path(artifact(str(results), "shard", Condition(dataset, "", "", ""), None, shard)),
                placeholder=diffmasks / f"{model}.safetensors" if "placeholder" in str(spec["metrics"]) else None,
                device="cpu",
                batch_size=256,
            )
            parts.append(pd.read_parquet(out))
    if not parts:
        raise FileNotFoundError(f"'{results}' has no scores of {model} on {dataset}")
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(("method", "metric", "variant", "image_id"), str))


def _again(metrics: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The metrics without a truth; those with groups at the published K alone."""
    for id_, settings in metrics.items():
        if "groups" not in settings and settings["use"] not in NEED_TRUTH:
            yield id_, settings
        elif kept := [k for k in settings.get("groups", ()) if k in PUBLISHED]:
            yield id_, {**settings, "groups": kept}
