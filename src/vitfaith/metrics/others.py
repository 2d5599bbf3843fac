"""Metrics of one soft-masked image or of the map alone: confidence under the map, completeness, complexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.map_values import unit_range
from vitfaith.metrics.common import FillParameters, Output
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.engine.requests import Clean, Full, Prepared
from vitfaith.metrics.engine.segments import ImageSegment
from vitfaith.metrics.fills.registry import Fill, prepare_fill
from vitfaith.metrics.registry import ONE_VALUE, Metric, metric
from vitfaith.registry import Item, Parameters

if TYPE_CHECKING:
    from torch import Tensor

GRAD_CAM_PP = "Chattopadhay et al., Grad-CAM++, WACV 2018"


@dataclass(frozen=True)
class SoftMask(Prepared):
    """Images blended with ``fill`` by the map: m·x + (1 − m)·fill, m the upsampled map scaled to [0, 1].

    One job per usable map, image by image; :meth:`table` puts the responses back in their places.
    """

    fill: Item

    def segment(self, context: ScoreContext) -> ImageSegment:
        """See :class:`~vitfaith.metrics.context.Request`."""
        image, method = context.usable.nonzero(as_tuple=True)
        filling = prepare_fill(self.fill, context)
        if not isinstance(filling, torch.Tensor):
            raise InputError(f"fill '{self.fill}' cannot be blended with an image; use a colour, blur or noise")
        background = filling.expand(len(context.images), -1, -1, -1)

        def make(start: int, stop: int) -> Tensor:
            index = image[start:stop]
            masks = context.patches.upsample(context.fine_maps[index, method[start:stop]])
            weight = unit_range(masks, constant=None)[:, None]
            return weight * context.images[index] + (1 - weight) * background[index]

        return ImageSegment(image, make)

    def table(self, context: ScoreContext, values: Tensor) -> Tensor:
        """Answers (N,) as (B, M), NaN under unusable maps."""
        empty = torch.full(context.usable.shape, torch.nan, dtype=values.dtype, device=values.device)
        return empty.masked_scatter(context.usable, values)


class SoftMaskParameters(FillParameters):
    """The replacement where the map is low: "black" multiplies the image by the map, as in the paper."""

    fill: Fill = Field("black", validate_default=True)

    @field_validator("fill")
    @classmethod
    def _blends(cls, fill: Item) -> Item:
        if fill.traits["imputes"]:
            raise ValueError(
                f"fill '{fill.name}' depends on the removed pixels, but here none are removed; use a colour, blur or noise"
            )
        return fill


class _SoftMasked(Metric[SoftMaskParameters]):
    variants = ONE_VALUE

    def requests(self, context: ScoreContext) -> Sequence[Clean | SoftMask]:
        """The clean and the blended images."""
        return [Clean(), SoftMask(self.parameters.fill)]

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        request = SoftMask(self.parameters.fill)
        masked = request.table(context, responses[request].probability)
        value = self.score(responses[Clean()].probability[:, None], masked)
        return {"": value.masked_fill(masked.isnan(), torch.nan)}

    def score(self, clean: Tensor, masked: Tensor) -> Tensor:
        """(B, M) from f(x) (B, 1) and f(m·x) (B, M)."""
        raise NotImplementedError


@metric(
    "average_drop",
    formula="max(0, p(x) − p(m ⊙ x)) / p(x)",
    value_range="[0, 1]",
    direction="lower",
    citation=GRAD_CAM_PP,
    parameters=SoftMaskParameters,
)
class AverageDrop(_SoftMasked):
    """Share of the class probability lost when the image is multiplied by its map."""

    def score(self, clean: Tensor, masked: Tensor) -> Tensor:
        """max(0, f(x) − f(m·x)) / f(x), in [0, 1]."""
        return (clean - masked).clamp(min=0) / clean


@metric(
    "average_increase",
    formula="1[p(m ⊙ x) > p(x)]",
    value_range="{0, 1}",
    direction="higher",
    citation=GRAD_CAM_PP,
    parameters=SoftMaskParameters,
)
class AverageIncrease(_SoftMasked):
    """Whether the class probability rises when the image is multiplied by its map (0 or 1)."""

    def score(self, clean: Tensor, masked: Tensor) -> Tensor:
        """1 where f(m·x) > f(x)."""
        return (masked > clean).double()


@metric(
    "average_gain",
    formula="max(0, p(m ⊙ x) − p(x)) / (1 − p(x))",
    value_range="[0, 1]",
    direction="higher",
    citation="Zhang et al., Opti-CAM, CVIU 2024",
    parameters=SoftMaskParameters,
)
class AverageGain(_SoftMasked):
    """Share of the missing class probability gained when the image is multiplied by its map."""

    def score(self, clean: Tensor, masked: Tensor) -> Tensor:
        """max(0, f(m·x) − f(x)) / (1 − f(x)), in [0, 1]."""
        return (masked - clean).clamp(min=0) / (1 - clean)


class CompletenessParameters(FillParameters):
    """The explainer's baseline, and the output whose change the map should sum to."""

    fill: Fill = Field("black", validate_default=True)
    output: Output = "logit"


@metric(
    "completeness_error",
    formula="abs(Σ a − (f(x) − f(baseline))), f the logit",
    value_range="[0, ∞)",
    direction="lower",
    citation="Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017",
    parameters=CompletenessParameters,
)
class CompletenessError(Metric[CompletenessParameters]):
    """Distance between the sum of the map and the difference in output between the image and the baseline."""

    variants = ONE_VALUE

    @property
    def scale_dependent(self) -> bool:
        """Yes: the sum of the map is compared with a difference in output."""
        return True

    def requests(self, context: ScoreContext) -> Sequence[Clean | Full]:
        """The image and the baseline."""
        return [Clean(), Full(self.parameters.fill)]

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        clean, full = responses[Clean()], responses[Full(self.parameters.fill)]
        change = getattr(clean, self.parameters.output) - getattr(full, self.parameters.output)
        return {"": (context.maps.double().sum((2, 3)) - change[:, None]).abs()}


def gini(maps: Tensor) -> Tensor:
    """Gini index of |·| over patches, (..., rows, columns) → (...) in [0, 1): 0 for equal values, 1 − 1/P for one patch."""
    values = maps.double().abs().flatten(-2).sort(-1).values
    count = values.shape[-1]
    weights = 2 * torch.arange(1, count + 1, device=values.device, dtype=values.dtype) - count - 1
    return (weights * values).sum(-1) / (count * values.sum(-1))


def entropy(maps: Tensor) -> Tensor:
    """Entropy in nats of |·| / Σ|·| over patches, (..., rows, columns) → (...) in [0, log P]."""
    values = maps.double().abs().flatten(-2)
    shares = values / values.sum(-1, keepdim=True)
    return torch.special.entr(shares).sum(-1)


@metric(
    "sparsity_gini",
    formula="Gini index of abs(a)",
    value_range="[0, 1)",
    direction="higher",
    citation="Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020",
)
class SparsityGini(Metric[Parameters]):
    """Gini index of the map's magnitudes, high for few patches. It does not measure faithfulness."""

    variants = ONE_VALUE

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift changes every magnitude."""
        return True

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        return {"": gini(context.maps)}


@metric(
    "entropy",
    formula="−Σ s log s, s = abs(a) / Σ abs(a)",
    value_range="[0, log P]",
    direction="lower",
    citation="Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020 (complexity)",
)
class Entropy(Metric[Parameters]):
    """Entropy (nats) of the map's magnitudes, high for many patches. It does not measure faithfulness."""

    variants = ONE_VALUE

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift changes every magnitude."""
        return True

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        return {"": entropy(context.maps)}


class NonzeroParameters(Parameters):
    """Threshold for zero."""

    zero: float = Field(1e-5, ge=0, lt=1, description="magnitudes up to this share of the map's largest count as zero")


@metric(
    "nonzero_share",
    formula="share of patches with abs(a_i) > ε max abs(a)",
    value_range="(0, 1]",
    direction="lower",
    citation="Nguyen & Martínez, On Quantitative Aspects of Model Interpretability, 2020, as quantus computes it",
    parameters=NonzeroParameters,
)
class NonzeroShare(Metric[NonzeroParameters]):
    """Share of the patches with an attribution. It does not measure faithfulness.

    Quantus calls the number of these patches effective complexity. The paper's measure of that name queries the model;
    here it is ``effective_complexity``.
    """

    variants = ONE_VALUE

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift moves values away from zero."""
        return True

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        size = context.maps.double().abs().flatten(2)
        return {"": (size > self.parameters.zero * size.amax(-1, keepdim=True)).double().mean(-1)}
