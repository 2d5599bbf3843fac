"""Files that a study's plan expects in its results folder, with their specification and code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitfaith.artifacts.record import OF_FOLDER, record_beside
from vitfaith.artifacts.store import partition_values
from vitfaith.study.identity import code_of, spec_of
from vitfaith.study.jobs import STAGE_OF, jobs
from vitfaith.study.learned import kind_of_training, trained, trained_file
from vitfaith.study.metric_inputs import score_inputs
from vitfaith.study.plan import Plan
from vitfaith.study.specs import SPECS


@dataclass(frozen=True)
class Expected:
    """A job's file with provenance: a Parquet shard, or the record of what else a job writes.

    Attributes:
        target: what Snakemake is asked for to make it.
        spec: its specification.
        code: fingerprint of its code; None where the study does not track code.
        is_cache: whether it may be deleted, because a job that reads it recreates it.
    """

    path: Path
    target: Path
    spec: dict[str, Any]
    code: str | None
    is_cache: bool = False


def expected_files(plan: Plan) -> Iterator[Expected]:
    """Every file with provenance that the jobs of ``plan`` write, each once."""
    for job in jobs(plan):
        for path in job.outputs:
            if job.stage == "tables":
                yield _expected(plan, "tables", {"experiment": job.place}, path.parent / OF_FOLDER, path)
            elif job.stage == "page":
                yield _expected(plan, "page", {"experiment": job.place}, record_beside(path), path)
            elif job.stage == "figures":
                experiment, figure = job.place.split("/")
                names = {"experiment": experiment, "figure": figure}
                yield _expected(plan, "figures", names, record_beside(path), path)
            else:
                yield _shard_file(plan, path)
    yield from _bank_files(plan)
    yield from _trained_files(plan)


def _shard_file(plan: Plan, path: Path) -> Expected:
    folder = path.relative_to(plan.results).parts[0]
    values = partition_values(path)
    stage = STAGE_OF.get(folder, folder)
    if folder == "predictions" and values["smoothing"] == "none":
        stage = "attack"
    return _expected(plan, stage, {**values, "shard": path.stem}, path, path)


def _bank_files(plan: Plan) -> Iterator[Expected]:
    banks = {
        score_inputs(plan, condition, shard).get("bank")
        for condition in plan.conditions
        for shard in plan.shards(condition.dataset)
    }
    for path in sorted(bank for bank in banks if bank is not None):
        yield _shard_file(plan, Path(path))


def _trained_files(plan: Plan) -> Iterator[Expected]:
    """Networks that the study's conditions read and that it trains itself."""
    for model in sorted({condition.model for condition in plan.conditions}):
        if plan.study.models[model].weights == "trained":
            path = Path(str(plan.weights_path(model)))
            yield _expected(plan, "train_classifier", {"name": model}, record_beside(path), path)
    used = {plan.denoiser_id("smoothings", c.smoothing) for c in plan.conditions}
    used |= {plan.denoiser_id("attacks", c.attack) for c in plan.conditions}
    used |= {plan.denoiser_id("metrics", metric) for c in plan.conditions for metric in plan.metrics(c)}
    for name in sorted(name for name in used if name is not None):
        if plan.study.denoisers[name].path == "trained":
            folder = Path(plan.results, "train", "denoiser", name)
            target = folder / "unet" / "config.json"
            yield _expected(plan, "train_denoiser", {"name": name}, folder / OF_FOLDER, target)
    for explainer, model in trained(plan):
        if getattr(plan.study.explainers[explainer].parameters, "weights", None) == "trained":
            path = Path(trained_file(plan, explainer, model))
            stage = f"train_{kind_of_training(plan, explainer)}"
            yield _expected(plan, stage, {"explainer": explainer, "model": model}, record_beside(path), path)


def _expected(plan: Plan, stage: str, names: Mapping[str, str], path: Path, target: Path) -> Expected:
    wanted = [name for name in inspect.signature(SPECS[stage]).parameters if name != "plan"]
    wildcards = {name: names[name] for name in wanted}
    code = code_of(plan, stage, wildcards)
    spec = json.loads(spec_of(plan, stage, wildcards))
    return Expected(path, target, spec, None if code == "off" else code, is_cache=stage in ("denoise", "bank"))
