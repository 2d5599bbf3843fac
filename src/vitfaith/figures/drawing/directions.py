"""Whether larger values of a metric are better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.metrics.registry import METRICS
from vitfaith.registry import Direction, Ids
from vitfaith.stability.registry import STABILITY_MEASURES

ARROWS: dict[str, str] = {"higher": " ↑", "lower": " ↓", "none": ""}

Directions = Annotated[
    dict[str, Direction],
    Ids("metrics", "stability", "sanity"),
    Field(default_factory=dict, description="metric → higher or lower, for metrics that are not registered"),
]
"""Type of a figure's setting ``directions``; its default is empty."""


def direction_of(metric: str, given: Mapping[str, Direction]) -> Direction:
    """Direction of a metric id: the given direction, or the direction of the registered metric whose name it has or begins with.

    Raises:
        ConfigError: nothing says what is better.
    """
    if metric in given:
        return given[metric]
    known = {entry.name: entry.traits["direction"] for registry in (STABILITY_MEASURES, METRICS) for entry in registry}
    named = [name for name in known if metric == name or metric.startswith(f"{name}_")]
    if not named:
        raise ConfigError(
            f"directions: nothing says whether larger '{metric}' is better; set directions.{metric} to higher or lower"
        )
    return known[max(named, key=len)]
