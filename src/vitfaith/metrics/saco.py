"""SaCo, the salience-guided faithfulness coefficient, and its unweighted form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from vitfaith.lazy import torch
from vitfaith.metrics.common import LevelParameters
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.engine.requests import Clean, Groups, Salience
from vitfaith.metrics.engine.salience import map_salience
from vitfaith.metrics.registry import Metric, metric

if TYPE_CHECKING:
    from torch import Tensor

CITATION = "Wu et al., On the Faithfulness of Vision Transformer Explanations, CVPR 2024"


class SacoParameters(LevelParameters):
    """Numbers of groups K (one variant "k=K" each), the weight of a group, fill and level.

    The paper ranks pixels (``level: pixel``). Patches are the default: a ViT's map contains no finer information, and
    upsampling creates values that no explainer computed.

    ``salience`` "mean" weights a group by its mean times P/K, "sum" by its sum, as in the paper's Algorithm 1. The two are
    equal where K divides the number of features P. Otherwise the sum makes larger groups more salient, so SaCo
    changes with a shift of the map, and a random map's SaCo is not 0 on average.
    """

    groups: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (10,),
        min_length=1,
        description="numbers K of groups that the ranked features are split into; each is a variant",
    )
    salience: Salience = Field(
        "mean", description="weight of a group: mean (times P/K), or sum as in the paper's Algorithm 1"
    )

    @field_validator("groups")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"groups {value} contain a number twice")
        return value


class _Saco(Metric[SacoParameters]):
    @property
    def scale_dependent(self) -> bool:
        """Yes if groups of different sizes are weighted by their sum."""
        return self.parameters.salience == "sum"

    @property
    def variants(self) -> tuple[str, ...]:
        """One for every K."""
        return tuple(f"k={count}" for count in self.parameters.groups)

    def curves(self) -> list[Groups]:
        """K groups for every K."""
        p = self.parameters
        return [Groups(count, p.features, p.fill, p.salience) for count in p.groups]

    def requests(self, context: ScoreContext) -> Sequence[Clean | Groups]:
        """The clean images and the groups."""
        return [Clean(), *self.curves()]

    def _read(
        self, context: ScoreContext, responses: Answers, formula: Callable[[Tensor, Tensor], Tensor]
    ) -> dict[str, Tensor]:
        clean = responses[Clean()].probability[:, None, None]
        values = {}
        for variant, request in zip(self.variants, self.curves(), strict=True):
            drops = clean - responses[request].probability
            values[variant] = formula(map_salience(context, request), drops)
        return values


def saco_pairs(salience: Tensor, drops: Tensor) -> Tensor:
    """Weights (..., K, K) of all pairs: entry (i, j) for i < j, zero elsewhere.

    ``salience`` (..., K) s(G_i), most salient group first; ``drops`` (..., K) the falls in probability
    ∇pred_i = p(ŷ|x) − p(ŷ|x without G_i), signed. The weight is s_i − s_j where ∇pred_i ≥ ∇pred_j (a tie is
    satisfied), and −(s_i − s_j) where the higher-ranked group caused the smaller drop.
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
    """SaCo that counts pairs instead of weighting them, (...,) in [−1, 1].

    This is Kendall's coefficient between the order of the groups and their drops, with ties in the drop counted as
    satisfied and pairs of equal salience left out.
    """
    return _ratio(saco_pairs(salience, drops).sign())


def _ratio(pairs: Tensor) -> Tensor:
    return pairs.sum((-2, -1)) / pairs.abs().sum((-2, -1))


@metric(
    "saco",
    formula="Σ_{i<j} ±(s_i − s_j) / Σ_{i<j} |s_i − s_j|, + where d_i ≥ d_j; d of K groups; s = mean of the group · P/K, "
    "with `salience: sum` its sum",
    value_range="[−1, 1]",
    direction="higher",
    citation=CITATION,
    parameters=SacoParameters,
)
class Saco(_Saco):
    """Do groups of features with more salience cause larger drops? Pairs weighted by their gap in salience."""

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        return self._read(context, responses, saco)


@metric(
    "saco_rank",
    formula="Σ_{i<j} ±1 / number of pairs with s_i ≠ s_j, + where d_i ≥ d_j; s as for `saco`",
    value_range="[−1, 1]",
    direction="higher",
    citation=CITATION,
    parameters=SacoParameters,
)
class SacoRank(_Saco):
    """SaCo with equal weights for all pairs of groups, so one dominant group does not decide."""

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        return self._read(context, responses, saco_rank)
