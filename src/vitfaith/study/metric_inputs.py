"""Inputs of metrics beside images and maps: the response bank, segmentations, a learned placeholder, a denoiser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.explained import PREDICTION
from vitfaith.study.learned import agreed, placeholder_file
from vitfaith.study.plan import Plan


def _masks(plan: Plan, metrics: Iterable[str]) -> list[dict[str, Any]]:
    """Descriptions of the mask sets that metrics share, each once, in a fixed order."""
    found: dict[str, dict[str, Any]] = {}
    for id_ in metrics:
        item = plan.study.metrics[id_]
        for request in item.implementation(item.parameters).banked():
            found[json.dumps(request.spec(), sort_keys=True)] = request.spec()
    return [found[key] for key in sorted(found)]


def bank_condition(plan: Plan, condition: Condition) -> Condition:
    """The condition in whose folder the bank of ``condition`` lies.

    The model answers to the masks without a smoothing, so all smoothings share a bank, unless they decide the class.
    """
    return condition if plan.explains(condition) == PREDICTION else replace(condition, smoothing="none")


def _sharing(plan: Plan, bank: Condition) -> list[Condition]:
    return [c for c in plan.conditions if bank_condition(plan, c) == bank]


@cache
def bank_masks(plan: Plan, bank: Condition) -> list[dict[str, Any]]:
    """Mask sets of a response bank; masks do not depend on the smoothing."""
    wanted = _sharing(plan, bank)
    return _masks(plan, sorted({id_ for condition in wanted for id_ in plan.metrics(condition)}))


@cache
def infilled(plan: Plan, condition: Condition) -> str | None:
    """A metric of this condition whose fill is drawn by a denoiser, None where there is none.

    Raises:
        ConfigError: metrics name several denoisers.
    """
    return _drawing(plan, plan.metrics(condition))


@cache
def infilled_bank(plan: Plan, bank: Condition) -> str | None:
    """The same for a response bank, of all conditions that share it."""
    return _drawing(plan, sorted({id_ for c in _sharing(plan, bank) for id_ in plan.metrics(c)}))


def _drawing(plan: Plan, metrics: Iterable[str]) -> str | None:
    asked = {id_: denoiser for id_ in metrics if (denoiser := plan.denoiser_id("metrics", id_))}
    agreed(asked, "name several denoisers")
    return next(iter(asked), None)


@cache
def score_inputs(plan: Plan, condition: Condition, shard: str) -> dict[str, str]:
    """Option of the verb ``score`` → file, for what the metrics of this condition read beside images and maps."""
    metrics = plan.metrics(condition)
    files = {}
    if _masks(plan, metrics):
        files["bank"] = artifact(plan.results, "bank", bank_condition(plan, condition), None, shard)
    needs = [plan.study.metrics[id_].traits["needs"] for id_ in metrics]
    if any("truth" in need for need in needs):
        files["truth"] = artifact(plan.results, "shard", Condition(condition.dataset, "", "", ""), None, shard)
    placeholder = placeholder_file(plan, condition)
    return files if placeholder is None else files | {"placeholder": placeholder}
