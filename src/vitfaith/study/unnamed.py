"""Files in a results folder that belong to no study: conditions, shards and experiments of earlier settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.store import partition_values
from vitfaith.study.jobs import jobs
from vitfaith.study.metric_inputs import bank_condition
from vitfaith.study.plan import Plan
from vitfaith.study.promised import promised_files

KEPT = ("benchmarks",)
"""Folders of no condition: what jobs took is of use to later estimates."""


def unnamed_files(plans: Sequence[Plan], results: Path) -> list[Path]:
    """Visible files below ``results`` that belong to none of the studies, sorted.

    Args:
        plans: of all studies whose results are in the folder.
        results: the folder.
    """
    named = {Path(file) for plan in plans for file in promised_files(plan)}
    named |= {path for plan in plans for job in jobs(plan) for path in job.outputs}
    return [path for path in _visible(results) if not _belongs(plans, path.relative_to(results), named, path)]


def remove_files(paths: Sequence[Path], results: Path) -> None:
    """Remove files, and the folders below ``results`` that are empty then."""
    for path in paths:
        path.unlink()
    for folder in sorted({parent for path in paths for parent in path.parents}, reverse=True):
        if folder.is_relative_to(results) and folder != results and not any(folder.iterdir()):
            folder.rmdir()


def _visible(results: Path) -> Iterator[Path]:
    for path in sorted(results.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(results).parts):
            yield path


def _belongs(plans: Sequence[Plan], place: Path, named: set[Path], path: Path) -> bool:
    folder, *rest = place.parts
    if not rest or folder in KEPT or path in named:
        return True
    if folder == "tables":
        return any(partition_values(place).get("experiment") in plan.study.experiments for plan in plans)
    if folder == "figures":
        return any(place.stem in e.figures for plan in plans if (e := plan.study.experiments.get(rest[0])))
    if folder == "bank":
        return any(place.parent.as_posix() == _bank(plan, c) for plan in plans for c in plan.conditions)
    if folder == "train":
        return any(_trains(plan, rest) for plan in plans)
    return False


def _bank(plan: Plan, condition: Condition) -> str:
    return f"bank/{bank_condition(plan, condition).folder}"


def _trains(plan: Plan, place: list[str]) -> bool:
    """Whether a study has the network of a file below ``train/``: its kind, and its name (an explainer's, for DiffMask and ViT-Shapley)."""
    kind, name = place[0], Path(place[1]).name.split(".")[0] if len(place) == 2 else place[1]
    sections: dict[str, Mapping[str, object]] = {
        "classifier": plan.study.models,
        "denoiser": plan.study.denoisers,
        "diffmask": plan.study.explainers,
        "shapley": plan.study.explainers,
    }
    return name in sections.get(kind, {})
