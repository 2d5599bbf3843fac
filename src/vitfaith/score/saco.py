"""Salience-guided faithfulness coefficient (Wu et al., CVPR 2024, Algorithm 1) from group saliences and drops."""

from __future__ import annotations

import torch
from torch import Tensor

from vitfaith.score.metrics.base import ScoreContext
from vitfaith.score.plan import Groups, group_edges
from vitfaith.score.ranking import upsample

MAPS_AT_ONCE = 64


def group_salience(scores: Tensor, groups: int) -> Tensor:
    """s(G_i) (..., K) float64, most salient group first, for feature values ``scores`` (..., P).

    The paper sums the features of a group. Where K does not divide P the groups differ in size by one, and a sum would
    no longer move with a shift of the map; the group's mean times P/K equals the sum for equal sizes and keeps SaCo
    invariant to every positive affine change of the map.
    """
    total = scores.shape[-1]
    edges = torch.tensor(group_edges(total, groups), device=scores.device)
    ordered = scores.double().sort(dim=-1, descending=True).values
    cumulative = torch.nn.functional.pad(ordered.cumsum(-1), (1, 0))
    sums = cumulative.index_select(-1, edges).diff(dim=-1)
    return sums / edges.diff() * (total / groups)


def map_salience(context: ScoreContext, groups: Groups) -> Tensor:
    """s(G_i) (B, M, K) float64 of every map of a context, at the level at which ``groups`` removes features.

    Computed once a context, whatever the fill.
    """
    key = groups.features, groups.count
    if key not in context.saliences:
        context.saliences[key] = _map_salience(context, groups)
    return context.saliences[key]


def _map_salience(context: ScoreContext, groups: Groups) -> Tensor:
    pixels = groups.features.kind == "pixel"
    maps = (context.fine_maps if pixels else context.maps).flatten(0, 1)
    size = context.images.shape[2:]
    parts = [  # 1000 pixel maps in float64 would take 0.4 GB, several times
        group_salience((upsample(part, size) if pixels else part).flatten(1), groups.count)
        for part in maps.split(MAPS_AT_ONCE)
    ]
    return torch.cat(parts).unflatten(0, (len(context.images), len(context.methods)))


def saco_pairs(salience: Tensor, drops: Tensor) -> Tensor:
    """Weights (..., K, K) of all pairs: entry (i, j) for i < j, zero elsewhere.

    ``salience`` (..., K) s(G_i), most salient group first; ``drops`` (..., K) the falls in probability
    ∇pred_i = p(ŷ|x) − p(ŷ|x without G_i), signed. The weight is s_i − s_j where ∇pred_i ≥ ∇pred_j (a tie is
    satisfied), and −(s_i − s_j) where the group ranked higher mattered less.
    """
    salience, drops = salience.double(), drops.double()
    gap = salience[..., :, None] - salience[..., None, :]
    satisfied = drops[..., :, None] >= drops[..., None, :]
    known = ~(drops[..., :, None].isnan() | drops[..., None, :].isnan())
    return torch.where(known, torch.where(satisfied, gap, -gap), torch.nan).triu(diagonal=1)


def saco(salience: Tensor, drops: Tensor) -> Tensor:
    """SaCo (...,) in [−1, 1]: sum of the pair weights over the sum of their sizes; NaN when all saliences are equal."""
    return _ratio(saco_pairs(salience, drops))


def saco_rank(salience: Tensor, drops: Tensor) -> Tensor:
    """SaCo that counts pairs instead of weighing them, (...,) in [−1, 1].

    This is Kendall's coefficient between the order of the groups and their drops, with ties in the drop counted as
    satisfied and pairs of equal salience left out.
    """
    return _ratio(saco_pairs(salience, drops).sign())


def _ratio(pairs: Tensor) -> Tensor:
    return pairs.sum((-2, -1)) / pairs.abs().sum((-2, -1))
