"""Which metric to trust, condition by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from vitfaith.errors import InputError
from vitfaith.map_values import CEILING, CHANCE
from vitfaith.registry import Better, Direction
from vitfaith.statistics.trust import metric_trust
from vitfaith.tables.collect import CONDITION


def trust_table(
    scores: pd.DataFrame,
    directions: Mapping[str, Direction],
    *,
    truth: Sequence[str] = (),
    others: Mapping[str, pd.DataFrame] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """:func:`~vitfaith.statistics.trust.metric_trust` of each condition; a metric's name gets its variant.

    Metrics of direction "none" are omitted. Scores of ``others`` are compared with scores of the same attack,
    smoothing and explained class; their dataset and model may have other names. Where a metric has one variant on both sides,
    the two are compared, whatever their names: "k=10" with "k=5".

    Args:
        scores: rows (condition, method, image_id, metric, variant, value).
        directions: of every metric in ``scores`` and ``others``.
        settings: of :func:`~vitfaith.statistics.trust.metric_trust`.

    Raises:
        InputError: ``truth`` names a metric that a condition has no scores of, or one of ``others`` shares no metric.
    """
    named = _named(scores, directions)
    if named.empty:
        raise InputError("there are no scores of a metric that ranks methods")
    compared = {name: _matched(name, _named(frame, directions), named) for name, frame in (others or {}).items()}
    place = [name for name in CONDITION if name in named]
    better = {name: cast("Better", directions[name.partition(" ")[0]]) for name in named["metric"].unique()}
    parts = []
    for values, group in named.groupby(place, sort=True, observed=True) if place else [((), named)]:
        missing = next((name for name in truth if name not in set(group["metric"])), None)
        if missing is not None:
            raise InputError(
                f"truth names '{missing}', which no score is of; there are {', '.join(sorted(group['metric'].unique()))}"
            )
        where: dict[str, Any] = dict(zip(place, values, strict=True))
        same = {name: _under(frame, where) for name, frame in compared.items()}
        table = metric_trust(group, better, truth=truth, others=same, **settings)
        parts.append(table.assign(**where)[[*place, *table.columns]])
    return pd.concat(parts, ignore_index=True)


def _named(scores: pd.DataFrame, directions: Mapping[str, Direction]) -> pd.DataFrame:
    """Scores of metrics that rank methods, with the variant in the name of the metric."""
    metric, variant = (scores[one].astype(str) for one in ("metric", "variant"))
    ranks = metric.map({one: directions[one] != "none" for one in metric.unique()}).astype(bool)
    bound = variant.str.endswith((CEILING, CHANCE))  # bounds of a variant, not scores
    return scores.assign(metric=(metric + " " + variant).str.strip())[ranks & ~bound]


def _matched(name: str, other: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """``other`` with the names of ``own``, also where the only variant of a metric has another name."""
    there, here = (_by_metric(frame) for frame in (other, own))
    names = {
        theirs[0]: here[metric][0]
        for metric, theirs in there.items()
        if len(theirs) == 1 and len(here.get(metric, [])) == 1
    }
    matched = other.assign(metric=other["metric"].replace(names))
    if set(matched["metric"]).isdisjoint(own["metric"]):
        raise InputError(
            f"'{name}' has no metric of these scores; it has {', '.join(sorted(there)) or 'none that ranks methods'}"
        )
    return matched


def _by_metric(named: pd.DataFrame) -> dict[str, list[str]]:
    """Metric → its names, one per variant."""
    found: dict[str, list[str]] = {}
    for name in sorted(named["metric"].unique()):
        found.setdefault(name.partition(" ")[0], []).append(name)
    return found


def _under(frame: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the same attack, smoothing and explained class."""
    for name in ("attack", "smoothing", "explained"):
        if name in frame and name in where:
            frame = frame[frame[name].astype(str) == str(where[name])]
    return frame
