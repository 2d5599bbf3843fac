"""Salience s(G) of each group of features (Wu et al., CVPR 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.lazy import torch
from vitfaith.metrics.engine.enlarge import maps_to_rank
from vitfaith.metrics.engine.ranking import ranking_of

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.engine.requests import Groups, Salience

MAPS_AT_ONCE = 64


def group_salience(scores: Tensor, edges: Tensor, salience: Salience = "mean") -> Tensor:
    """s(G_i) (..., K) float64, most salient group first.

    The paper sums the features of a group (``salience`` "sum"). If K does not divide the number of features P, group
    sizes differ by one, and a shift of the map changes their sums unequally. The group's mean times P/K (``"mean"``)
    equals the sum for equal sizes and keeps SaCo invariant to every positive affine change of the map.

    Args:
        scores: (..., W) feature values; if images differ in P, −∞ fills the rows up to W.
        edges: (..., K + 1) int64 ranks from 0 to P between which the groups lie (:func:`~vitfaith.metrics.engine.requests.group_edges`).
        salience: "mean" or "sum".
    """
    ordered = scores.double().sort(dim=-1, descending=True).values
    cumulative = torch.nn.functional.pad(ordered.cumsum(-1), (1, 0))
    sums = cumulative.gather(-1, edges).diff(dim=-1)
    if salience == "sum":
        return sums
    return sums / edges.diff() * (edges[..., -1:].double() / (edges.shape[-1] - 1))


def map_salience(context: ScoreContext, groups: Groups) -> Tensor:
    """s(G_i) (B, M, K) float64 of every map of a context, for the features that ``groups`` removes.

    Computed once per context, for all fills.
    """
    key = groups.features, groups.count, groups.salience
    if key not in context.saliences:
        context.saliences[key] = _map_salience(context, groups)
    return context.saliences[key]


def _map_salience(context: ScoreContext, groups: Groups) -> Tensor:
    ranking = ranking_of(context, groups.features)
    device, methods = context.maps.device, len(context.methods)
    edges = torch.from_numpy(groups.edges(ranking.totals, context.image_ids, context.seed)).to(device)
    job = torch.arange(len(edges) * methods, device=device)
    parts = []
    for part in job.split(MAPS_AT_ONCE):  # 1000 pixel maps in float64 would take 0.4 GB, in several copies
        image = part // methods
        scores = ranking.scores(maps_to_rank(context, ranking, image, part % methods), image)
        parts.append(group_salience(scores, edges[image], groups.salience))
    return torch.cat(parts).unflatten(0, (len(edges), methods))
