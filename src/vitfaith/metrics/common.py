"""Parameters and base classes that metrics along the ranking share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar, cast

from pydantic import Field, field_validator, model_validator

from vitfaith.errors import ConfigError
from vitfaith.metrics.context import Answers, Response, ScoreContext
from vitfaith.metrics.engine.requests import Curve, EqualSteps, Features, Grid, Level, Order, Upsampling
from vitfaith.metrics.fills.registry import Fill, FillChoice, resolve_fill
from vitfaith.metrics.registry import Metric
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor


class FillParameters(Parameters):
    """Replacement of removed pixels.

    ``fill`` names a fill ("image_mean", "black", "blur" …) or gives its settings ({"name": "blur", "sigma": 3}).
    """

    fill: FillChoice = "image_mean"

    @field_validator("fill")
    @classmethod
    def _known(cls, value: FillChoice) -> FillChoice:
        try:
            resolve_fill(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def filling(self) -> Fill:
        """The fill itself."""
        return resolve_fill(self.fill)


class LevelParameters(FillParameters):
    """Replacement and unit.

    ``level`` "patch" ranks the cells of the map, which is all that a ViT's map holds; "pixel" ranks the pixels of the
    bilinearly upsampled map, as most papers do.
    """

    level: Level = "patch"

    @property
    def features(self) -> Features:
        """What is ranked and removed."""
        return Features(self.level)


class CurveParameters(LevelParameters):
    """A removal curve with ``steps`` equal steps; the default equals the paper of SaCo, and shares its images."""

    steps: int = Field(10, ge=2)
    upsampling: Upsampling = Field(
        "bilinear",
        description="of maps at level pixel; nearest repeats each cell; official: as the released code of Vision DiffMask does, "
        "nearest for attention rollout and DiffMask, bilinear for the other explainers",
    )

    @model_validator(mode="after")
    def _check_upsampling(self) -> CurveParameters:
        if self.upsampling != "bilinear" and self.level == "patch":
            raise ValueError(f"upsampling {self.upsampling!r} is of pixels; set level: pixel too")
        return self

    @property
    def features(self) -> Features:
        """What is ranked and removed."""
        return Features(self.level, upsampling=self.upsampling)

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return EqualSteps(self.steps)


class LabelledParameters(Parameters):
    """Which class counts as correct: the ground-truth "label", or the explained "target"."""

    reference: Literal["label", "target"] = "label"


class HasCurve(Protocol):
    """Parameters that fix a curve up to its direction."""

    @property
    def features(self) -> Features:
        """What is ranked and removed."""

    @property
    def filling(self) -> Fill:
        """What it is replaced with."""

    @property
    def grid(self) -> Grid:
        """How much of it."""


P = TypeVar("P", bound=Parameters)


class CurveMetric(Metric[P]):
    """A metric that reads one number off the curves that it names in ``orders``."""

    orders: ClassVar[tuple[Order, ...]]

    def curves(self) -> list[Curve]:
        """The curves, in the order of ``orders``."""
        p = cast("HasCurve", self.parameters)
        return [Curve(order, p.features, p.filling, p.grid) for order in self.orders]

    def requests(self, context: ScoreContext) -> Sequence[Curve]:
        """See :class:`Metric`."""
        return self.curves()

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        return {"": self.score(context, *(responses[curve] for curve in self.curves()))}

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """One value (B, M) from the responses (B, M, S) to the curves."""
        raise NotImplementedError


def shares_of(response: Response) -> Tensor:
    """Share of the features removed, (B, 1, S), to go with the response's (B, M, S)."""
    assert response.fraction is not None
    return response.fraction[:, None]


def correct(response: Response, classes: Tensor) -> Tensor:
    """1 where the prediction (B, M, S) equals ``classes`` (B,), else 0; NaN where there is no prediction."""
    hit = (response.prediction == classes[:, None, None]).double()
    return hit.masked_fill(response.prediction < 0, float("nan"))


def reference_classes(context: ScoreContext, reference: Literal["label", "target"]) -> Tensor:
    """(B,) classes that count as correct; raises :class:`ConfigError` where labels are asked for and missing."""
    if reference == "target":
        return context.targets
    if context.labels is None:
        raise ConfigError(
            "accuracy against the ground truth needs labels; pass evaluate(labels=…) or reference 'target'"
        )
    return context.labels
