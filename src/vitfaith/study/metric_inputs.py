"""What metrics read beside images and maps: the response bank, segmentations, a learned placeholder, a denoiser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.study.learned import agreed, placeholder_file
from vitfaith.study.plan import Plan


def _masks(plan: Plan, metrics: Iterable[str]) -> list[dict[str, Any]]:
    """Descriptions of the mask sets that metrics share, each once, in an order of their own."""
    found: dict[str, dict[str, Any]] = {}
    for id_ in metrics:
        item = plan.study.metrics[id_]
        for request in item.implementation(item.parameters).banked():
            found[json.dumps(request.spec(), sort_keys=True)] = request.spec()
    return [found[key] for key in sorted(found)]


@cache
def bank_masks(plan: Plan, dataset: str, model: str, attack: str) -> list[dict[str, Any]]:
    """What the response bank of an attacked dataset holds: masks do not depend on the smoothing behind them."""
    wanted = [c for c in plan.conditions if (c.dataset, c.model, c.attack) == (dataset, model, attack)]
    return _masks(plan, sorted({id_ for condition in wanted for id_ in plan.metrics(condition)}))


@cache
def infilled(plan: Plan, condition: Condition) -> str | None:
    """A metric of this condition whose fill is drawn by a denoiser, None where there is none; all smoothings without one.

    Raises:
        ConfigError: metrics name several denoisers.
    """
    wanted = [c for c in plan.conditions if condition in (c, replace(c, smoothing=""))]
    metrics = sorted({id_ for c in wanted for id_ in plan.metrics(c)})
    asked = {id_: denoiser for id_ in metrics if (denoiser := plan.denoiser_id("metrics", id_))}
    agreed(asked, "name several denoisers")
    return next(iter(asked), None)


@cache
def score_inputs(plan: Plan, condition: Condition, shard: str) -> dict[str, str]:
    """Option of the verb ``score`` → file, for what the metrics of this condition read beside images and maps."""
    metrics = plan.metrics(condition)
    files = {}
    if _masks(plan, metrics):
        attacked = Condition(condition.dataset, condition.model, condition.attack, "")
        files["bank"] = artifact(plan.results, "bank", attacked, None, shard)
    needs = [plan.study.metrics[id_].traits["needs"] for id_ in metrics]
    if any("truth" in need for need in needs):
        files["truth"] = artifact(plan.results, "shard", Condition(condition.dataset, "", "", ""), None, shard)
    placeholder = placeholder_file(plan, condition)
    return files if placeholder is None else files | {"placeholder": placeholder}
