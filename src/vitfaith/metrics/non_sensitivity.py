"""Non-sensitivity: patches without attribution against patches without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.metrics.bank.masks import MaskSet, Singles
from vitfaith.metrics.banked import BankMetric, BankParameters
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor


class NonSensitivityParameters(BankParameters):
    """Thresholds for no attribution and for no effect."""

    zero: float = Field(
        0.01, ge=0, lt=1, description="magnitudes up to this share of the map's largest count as no attribution"
    )
    tolerance: float = Field(0.01, ge=0, description="changes of the output up to this count as no effect")


@metric(
    "non_sensitivity",
    formula="share of patches i in exactly one of {abs(a_i) ≤ ε₁ max abs(a)} and {abs(d({i})) ≤ ε₂}",
    value_range="[0, 1]",
    direction="lower",
    citation="Nguyen & Martínez, On Quantitative Aspects of Model Interpretability, 2020",
    parameters=NonSensitivityParameters,
)
class NonSensitivity(BankMetric[NonSensitivityParameters]):
    """Share of the patches that have an attribution without an effect, or an effect without an attribution.

    The paper counts patches instead of taking their share, and uses exact zeros.
    """

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift moves values away from zero."""
        return True

    def masks(self) -> Mapping[str, MaskSet]:
        """Every patch."""
        return {"": Singles()}

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        (request,) = self.banked()
        size = context.maps.flatten(2).double().abs()
        unused = size <= self.parameters.zero * size.amax(-1, keepdim=True)
        idle = self.drops(context, responses, request).abs() <= self.parameters.tolerance
        return {"": (unused ^ idle[:, None]).double().mean(-1)}
