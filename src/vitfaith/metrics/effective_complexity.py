"""Effective complexity: the share of patches that keeps the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.lazy import torch
from vitfaith.metrics.banked import BankParameters
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.engine.ranking import ranking_of
from vitfaith.metrics.engine.requests import Clean, EqualSteps, Features, Prepared
from vitfaith.metrics.engine.segments import MaskSegment
from vitfaith.metrics.fills.registry import prepare_fill
from vitfaith.metrics.registry import ONE_VALUE, Metric, metric
from vitfaith.registry import Item

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LargestKept(Prepared):
    """Images with only the patches of largest magnitude: one per usable map and number of patches.

    The numbers are ⌊iP/steps⌋ for 0 < i < steps. Patches of equal magnitude are in the image's random order.
    """

    steps: int
    fill: Item

    def counts(self, context: ScoreContext) -> list[int]:
        """Numbers of kept patches, ascending, without 0 and all."""
        rows, columns = context.maps.shape[2:]
        return EqualSteps(self.steps).counts(rows * columns)[1:-1]

    def segment(self, context: ScoreContext) -> MaskSegment:
        """See :class:`~vitfaith.metrics.context.Request`."""
        image, method = context.usable.nonzero(as_tuple=True)
        ranking = ranking_of(context, Features("patch"))
        ranks = ranking.ranks(context.maps[image, method].abs(), image)
        kept = torch.tensor(self.counts(context), device=ranks.device)

        def removed(start: int, stop: int) -> Tensor:
            job = torch.arange(start, stop, device=ranks.device)
            return ranks[job // len(kept)] >= kept[job % len(kept), None]

        filling = prepare_fill(self.fill, context)
        return MaskSegment(context, ranking, filling, removed, image.repeat_interleave(len(kept)))

    def table(self, context: ScoreContext, values: Tensor) -> Tensor:
        """Answers (N,) as (B, M, S), NaN under unusable maps."""
        usable = context.usable[..., None].expand(-1, -1, len(self.counts(context)))
        empty = torch.full(usable.shape, torch.nan, dtype=values.dtype, device=values.device)
        return empty.masked_scatter(usable, values)


class EffectiveComplexityParameters(BankParameters):
    """Replacement of the other patches, the output that must stay the same, and its tolerance."""

    steps: int = Field(
        10,
        ge=2,
        description="equal steps in the number of kept patches; with as many steps as patches, every number is tried",
    )
    tolerance: float = Field(0.1, gt=0, description="changes of the output below this value count as none")


@metric(
    "effective_complexity",
    formula="least k/P with abs(f(x) − f(all but the k largest of abs(a) removed)) < ε",
    value_range="[0, 1]",
    direction="lower",
    citation="Nguyen & Martínez, On Quantitative Aspects of Model Interpretability, 2020",
    parameters=EffectiveComplexityParameters,
)
class EffectiveComplexity(Metric[EffectiveComplexityParameters]):
    """Smallest share of patches, largest magnitudes first, that keeps the output.

    The paper takes the expectation over replacements of the other patches; here ``fill`` gives one replacement.
    Quantus uses this name for another number, see ``nonzero_share``.
    """

    variants = ONE_VALUE

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift changes the order of the magnitudes."""
        return True

    def requests(self, context: ScoreContext) -> Sequence[Clean | LargestKept]:
        """The image, and versions with more and more patches."""
        return [Clean(), LargestKept(self.parameters.steps, self.parameters.fill)]

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        p = self.parameters
        request = LargestKept(p.steps, p.fill)
        clean = getattr(responses[Clean()], p.output)[:, None, None]
        change = (clean - request.table(context, getattr(responses[request], p.output))).abs()
        patches = context.maps[0, 0].numel()
        shares = torch.tensor([*request.counts(context), patches], dtype=torch.float64, device=change.device) / patches
        enough = torch.nn.functional.pad(change < p.tolerance, (0, 1), value=True)
        least = shares[enough.int().argmax(-1)]
        return {"": least.masked_fill(change.isnan().all(-1), torch.nan)}
