"""Shared by metrics along the ranking: parameters, base classes, and the numbers read from removal curves.

Functions of a curve are pure, work on the last axis, and skip NaN padding at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

from pydantic import Field, model_validator

from vitfaith.errors import ConfigError
from vitfaith.lazy import torch
from vitfaith.metrics.context import Answers, Response, ScoreContext
from vitfaith.metrics.engine.requests import Curve, EqualSteps, Features, Grid, Level, Order, Upsampling
from vitfaith.metrics.fills.registry import Fill
from vitfaith.metrics.registry import ONE_VALUE, Metric, metric
from vitfaith.registry import Direction, Item, Parameters

if TYPE_CHECKING:
    from torch import Tensor


LevelChoice = Annotated[
    Level,
    Field(description="patch: the cells of the map are ranked and removed; pixel: the pixels of the upsampled map"),
]
Output = Annotated[
    Literal["probability", "log_probability", "logit"],
    Field(description="output of the explained class whose drop counts"),
]


class FillParameters(Parameters):
    """Replacement of removed pixels.

    ``fill`` names a fill ("image_mean", "black", "blur" …) or gives its settings ({"name": "blur", "sigma": 3}).
    """

    fill: Fill = Field("image_mean", validate_default=True)


class LevelParameters(FillParameters):
    """Replacement and unit.

    ``level`` "patch" ranks the cells of the map, the full information in a ViT's map; "pixel" ranks the pixels of the
    bilinearly upsampled map, as most papers do.
    """

    level: LevelChoice = "patch"

    @property
    def features(self) -> Features:
        """The ranked and removed features."""
        return Features(self.level)


class CurveParameters(LevelParameters):
    """A removal curve with ``steps`` equal steps. The default follows the SaCo paper, and shares images with SaCo."""

    steps: int = Field(10, ge=2, description="equal steps from the whole image to nothing")
    upsampling: Upsampling = Field(
        "bilinear",
        description="enlargement of maps at level pixel; nearest repeats each cell; official: as the released code of Vision DiffMask does, "
        "nearest for attention rollout and DiffMask, bilinear for the other explainers",
    )

    @model_validator(mode="after")
    def _check_upsampling(self) -> CurveParameters:
        if self.upsampling != "bilinear" and self.level == "patch":
            raise ValueError(f"upsampling {self.upsampling!r} needs pixels; set level: pixel too")
        return self

    @property
    def features(self) -> Features:
        """The ranked and removed features."""
        return Features(self.level, upsampling=self.upsampling)

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return EqualSteps(self.steps)


class LabelledParameters(Parameters):
    """The class that counts as correct: the ground-truth "label", or the explained "target"."""

    reference: Literal["label", "target"] = Field(
        "label", description="class that counts as correct: label (ground truth) or target (the explained class)"
    )


class HasCurve(Protocol):
    """Parameters that define a curve except for its direction."""

    @property
    def features(self) -> Features:
        """The ranked and removed units."""

    @property
    def fill(self) -> Item:
        """Its replacement."""

    @property
    def grid(self) -> Grid:
        """The removed amounts."""


Values: TypeAlias = Callable[[ScoreContext, Any, Response], "Tensor"]
"""(context, the metric's parameters, response to a curve) → values along that curve, (B, M, S)."""

Number: TypeAlias = Callable[["Tensor", "Tensor"], "Tensor"]
"""(values (B, M, S), removed shares (B, 1, S)) → one number of each curve, (B, M)."""


def probability(context: ScoreContext, parameters: Parameters, curve: Response) -> Tensor:
    """The target's probability."""
    return curve.probability


def hits(context: ScoreContext, parameters: LabelledParameters, curve: Response) -> Tensor:
    """1 where the prediction is right, else 0; NaN where there is no prediction."""
    found = (curve.prediction == reference_classes(context, parameters.reference)[:, None, None]).double()
    return found.masked_fill(curve.prediction < 0, float("nan"))


def only(number: Tensor) -> Tensor:
    """The number of the one curve."""
    return number


@dataclass(frozen=True)
class ReadOut:
    """A metric that is read from removal curves: one row of a table for :func:`read_outs`.

    Attributes:
        name: registered name.
        doc: description; listings show the first line.
        orders: its curves, most relevant features first ("morf") or least relevant first ("lerf").
        number: one number of each curve.
        direction, value_range, formula, citation: see :func:`vitfaith.metrics.registry.metric`.
        values: the values along the curves.
        join: the score from the numbers, in the order of ``orders``.
    """

    name: str
    doc: str
    orders: tuple[Order, ...]
    number: Number
    direction: Direction
    value_range: str
    formula: str
    citation: str
    values: Values = probability
    join: Callable[..., Tensor] = only


class CurveMetric(Metric[Any]):
    """The metric of one row."""

    read_out: ClassVar[ReadOut]
    variants = ONE_VALUE

    def curves(self) -> list[Curve]:
        """The curves, in the order of the row."""
        p: HasCurve = self.parameters
        return [Curve(order, p.features, p.fill, p.grid) for order in self.read_out.orders]

    def requests(self, context: ScoreContext) -> Sequence[Curve]:
        """See :class:`Metric`."""
        return self.curves()

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        row, numbers = self.read_out, []
        for curve in self.curves():
            response = responses[curve]
            assert response.fraction is not None
            numbers.append(row.number(row.values(context, self.parameters, response), response.fraction[:, None]))
        return {"": row.join(*numbers)}


def read_outs(module: str, parameters: type[Parameters], *rows: ReadOut) -> None:
    """Register one metric per row. ``module`` is the caller's module name; ``parameters`` include the curve's."""
    for row in rows:
        kind = type(row.name, (CurveMetric,), {"__module__": module, "__doc__": row.doc, "read_out": row})
        metric(
            row.name,
            direction=row.direction,
            citation=row.citation,
            formula=row.formula,
            value_range=row.value_range,
            parameters=parameters,
        )(kind)


def reference_classes(context: ScoreContext, reference: Literal["label", "target"]) -> Tensor:
    """(B,) classes that count as correct; raises :class:`ConfigError` if labels are needed but missing."""
    if reference == "target":
        return context.targets
    if context.labels is None:
        raise ConfigError(
            "accuracy against the ground truth needs labels; pass evaluate(labels=…) or reference 'target'"
        )
    return context.labels


def area(values: Tensor, fraction: Tensor) -> Tensor:
    """∫ values d fraction by trapezoids over the actual fractions; shapes (..., S) and broadcastable → (...)."""
    width = fraction.diff(dim=-1)
    height = (values[..., 1:] + values[..., :-1]) / 2
    return torch.where(width.isnan(), 0.0, width * height).sum(-1)


def unit_area(values: Tensor, fraction: Tensor) -> Tensor:
    """Sum of trapezoids of width 1 between the steps, independent of the fractions; (..., S) → (...)."""
    return ((values[..., 1:] + values[..., :-1]) / 2).sum(-1)


def mean_after_start(values: Tensor, fraction: Tensor) -> Tensor:
    """Mean over all steps but the first, which removes nothing; (..., S) → (...)."""
    known = ~fraction[..., 1:].isnan()
    return torch.where(known, values[..., 1:], 0.0).sum(-1) / known.sum(-1)


def aopc(values: Tensor, fraction: Tensor) -> Tensor:
    """Mean over the steps of values[0] − values[k], k ≥ 1 (AttCAT's and SaCo's form, with its sign)."""
    return mean_after_start(values[..., :1] - values, fraction)


def log_odds(log_probability: Tensor, fraction: Tensor) -> Tensor:
    """Mean over the steps of log p_k − log p_0, k ≥ 1, with probabilities clamped at 1e-12."""
    clamped = log_probability.clamp(min=-27.631021115928547)  # log(1e-12)
    return mean_after_start(clamped - clamped[..., :1], fraction)
