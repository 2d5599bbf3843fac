"""Metrics that read the response bank: one set of masked images serves every map.

They request the masks of :mod:`vitfaith.metrics.bank.masks` from the engine, once per batch for all methods, or read the
responses from ``extras["bank"]`` (a :class:`~vitfaith.metrics.bank.store.Bank`) if it has them. Metrics with equal ``size``, ``count``,
``side`` and ``fill`` share their masks.

Shapes: maps (B, M, P), masks (B, S, P) bool, drops (B, S) = f(x) − f(x without S); everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, field_validator

from vitfaith.errors import InputError
from vitfaith.metrics.bank.masks import BankRequest, Cells, MaskSet, Singles, Subsets, by_image
from vitfaith.metrics.bank.store import Bank
from vitfaith.metrics.common import FillParameters, Output
from vitfaith.metrics.context import Answers, Response, ScoreContext
from vitfaith.metrics.correlation import pearson, spearman
from vitfaith.metrics.engine.requests import Clean
from vitfaith.metrics.registry import ONE_VALUE, Metric, metric
from vitfaith.registry import Item

if TYPE_CHECKING:
    from torch import Tensor

Size = Annotated[int, Field(strict=True, ge=1)] | Annotated[float, Field(gt=0, lt=1)]
"""A number of patches (integer), or a share of them (between 0 and 1)."""


class BankParameters(FillParameters):
    """Replacement of removed patches, and the output of the target class whose drop counts."""

    output: Output = "probability"


class SubsetParameters(BankParameters):
    """``count`` random sets of ``size`` patches per image; with ``side``, sets of cells of a side × side grid."""

    size: Size = Field(0.2, description="patches in a set: their number, or their share of all patches")
    count: int = Field(100, ge=3, description="random sets per image")
    side: int | None = Field(
        None, ge=2, description="with it, sets contain cells of a side × side grid; without it, patches of the map"
    )


class SensitivityParameters(BankParameters):
    """Sizes n of the sets (one variant "n=…" each), and the number of sets of each size."""

    sizes: tuple[Size, ...] = Field(
        (0.1, 0.2, 0.4), min_length=1, description="patches in a set, as numbers or shares; each size is a variant"
    )
    count: int = Field(100, ge=3, description="random sets per image and size")

    @field_validator("sizes")
    @classmethod
    def _different(cls, sizes: tuple[int | float, ...]) -> tuple[int | float, ...]:
        if len(set(sizes)) != len(sizes):
            raise ValueError(f"sizes {sizes} contain a number twice")
        return sizes


class InfidelityParameters(SubsetParameters):
    """Random sets as for the other metrics; ``scaled`` fits one factor per map before the error is computed."""

    scaled: bool = Field(True, description="whether one factor per map is fitted before the error is computed")


class CellParameters(BankParameters):
    """Cells on each side of the coarse grid."""

    cells: int = Field(4, ge=2, description="cells on each side of the coarse grid")


class MonotonicityParameters(BankParameters):
    """``draws``: with fill "noise", how many independent draws the squared response is averaged over."""

    draws: int = Field(1, ge=1, description="with fill noise: draws that the squared response is averaged over")

    @property
    def fills(self) -> list[Item]:
        """One fill per draw."""
        if self.draws == 1:
            return [self.fill]
        if self.fill.name != "noise":
            raise InputError(f"draws={self.draws} needs the fill 'noise'; fill '{self.fill.name}' has one value")
        noise = self.fill.parameters
        return [replace(self.fill, parameters=noise.model_copy(update={"draw": i})) for i in range(self.draws)]


P = TypeVar("P", bound=BankParameters)


class BankMetric(Metric[P]):
    """Base: subclasses name their mask sets, and score attribution against drop over the sets of one of them."""

    def masks(self) -> Mapping[str, MaskSet]:
        """Variant → mask set."""
        raise NotImplementedError

    def score(self, sums: Tensor, drops: Tensor, /) -> Tensor:
        """(B, M) scores from the sets' attributions (B, M, S) and drops (B, 1, S), float64."""
        raise NotImplementedError

    @property
    def variants(self) -> tuple[str, ...]:
        """One for every mask set."""
        return tuple(self.masks())

    def banked(self) -> Sequence[BankRequest]:
        """One request per mask set."""
        return [BankRequest(masks, self.parameters.fill) for masks in self.masks().values()]

    def requests(self, context: ScoreContext) -> Sequence[Clean | BankRequest]:
        """Requests that no stored bank answers."""
        wanted: list[Clean | BankRequest] = [Clean(), *self.banked()]
        return [request for request in wanted if _stored(request, context) is None]

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        values = {}
        for variant, request in zip(self.masks(), self.banked(), strict=True):
            sums = subset_sums(context.maps.flatten(2), request.chosen(context))
            values[variant] = self.score(sums, self.drops(context, responses, request)[:, None])
        return values

    def drops(self, context: ScoreContext, responses: Answers, request: BankRequest) -> Tensor:
        """f(x) − f(x without S) for each mask, (B, S) float64."""
        clean, masked = _stored(Clean(), context), _stored(request, context)
        clean = responses[Clean()] if clean is None else clean
        masked = by_image(responses[request], len(context.images)) if masked is None else masked
        return getattr(clean, self.parameters.output)[:, None] - getattr(masked, self.parameters.output)


def _stored(request: BankRequest | Clean, context: ScoreContext) -> Response | None:
    bank: Any = context.extras.get("bank")
    if bank is None:
        return None
    if not isinstance(bank, Bank):
        raise InputError(f"extras['bank'] must be a vitfaith.metrics.bank.store.Bank, not {type(bank).__name__}")
    return bank.find(request, context)


def subset_sums(maps: Tensor, masks: Tensor) -> Tensor:
    """Attribution Σ_{i∈S} a_i of each set, (B, M, S) float64."""
    return maps.double() @ masks.double().transpose(1, 2)


def infidelity(sums: Tensor, drops: Tensor, *, scaled: bool) -> Tensor:
    """E[(β Σ_{i∈S} a_i − drop)²] (B, M) over sets (Yeh et al. 2019, definition 2.1, with I the indicator of S).

    ``scaled``: β = E[Σa · drop] / E[(Σa)²], the factor that minimises the error, so the unit of the map does not matter;
    otherwise β = 1. ``sums`` (B, M, S), ``drops`` (B, 1, S).
    """
    drops = drops.double()
    if not scaled:
        return ((sums - drops) ** 2).mean(-1)
    factor = (sums * drops).mean(-1, keepdim=True) / (sums * sums).mean(-1, keepdim=True)
    return ((factor * sums - drops) ** 2).mean(-1)


class _Subsets(BankMetric[SubsetParameters]):
    @property
    def scale_dependent(self) -> bool:
        """Yes for sets of cells with different numbers of patches: a shift then adds more to larger cells."""
        return self.parameters.side is not None

    def masks(self) -> Mapping[str, MaskSet]:
        """Random sets."""
        p = self.parameters
        return {"": Subsets(p.size, p.count, p.side)}


@metric(
    "faithfulness_correlation",
    formula="Pearson over random S of (a(S), d(S))",
    value_range="[−1, 1]",
    direction="higher",
    citation="Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020",
    parameters=SubsetParameters,
)
class FaithfulnessCorrelation(_Subsets):
    """Pearson correlation between the attribution of random sets of patches and the drop when they are removed."""

    score = staticmethod(pearson)


@metric(
    "mu_fidelity",
    formula="Spearman over random S of (a(S), d(S))",
    value_range="[−1, 1]",
    direction="higher",
    citation="Fel et al., How Good is your Explanation?, WACV 2022",
    parameters=SubsetParameters,
)
class MuFidelity(_Subsets):
    """Spearman correlation between the attribution of random sets of patches or cells and the drop without them."""

    score = staticmethod(spearman)


@metric(
    "infidelity",
    formula="mean over random S of (β a(S) − d(S))², β = Σ a(S) d(S) / Σ a(S)² or 1",
    value_range="[0, ∞)",
    direction="lower",
    citation="Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019",
    parameters=InfidelityParameters,
)
class Infidelity(_Subsets):
    """Mean squared error between the map's attribution of random sets of patches and the drop without them."""

    @property
    def scale_dependent(self) -> bool:
        """Yes: a factor may be fitted, but a shift is not."""
        return True

    def score(self, sums: Tensor, drops: Tensor, /) -> Tensor:
        """See :func:`infidelity`."""
        assert isinstance(self.parameters, InfidelityParameters)
        return infidelity(sums, drops, scaled=self.parameters.scaled)


@metric(
    "sensitivity_n",
    formula="Pearson over random S with |S| = n of (a(S), d(S))",
    value_range="[−1, 1]",
    direction="higher",
    citation="Ancona et al., Towards Better Understanding of Gradient-based Attribution Methods, ICLR 2018",
    parameters=SensitivityParameters,
)
class SensitivityN(BankMetric[SensitivityParameters]):
    """Pearson correlation between attribution and drop over random sets of n patches, for several n."""

    score = staticmethod(pearson)

    def masks(self) -> Mapping[str, MaskSet]:
        """Random sets of each size."""
        return {f"n={size}": Subsets(size, self.parameters.count) for size in self.parameters.sizes}


@metric(
    "faithfulness_estimate",
    formula="Pearson over patches i of (a_i, d({i}))",
    value_range="[−1, 1]",
    direction="higher",
    citation="Alvarez-Melis & Jaakkola, Towards Robust Interpretability, NeurIPS 2018",
    parameters=BankParameters,
)
class FaithfulnessEstimate(BankMetric[BankParameters]):
    """Pearson correlation between each patch's attribution and the drop when only that patch is removed."""

    score = staticmethod(pearson)

    def masks(self) -> Mapping[str, MaskSet]:
        """Every patch."""
        return {"": Singles()}


@metric(
    "single_deletion_score",
    formula="Spearman over cells C of a 4 × 4 grid of (a(C), d(C))",
    value_range="[−1, 1]",
    direction="higher",
    citation="Hesse et al., Benchmarking the Attribution Quality of Vision Models (IDSDS), NeurIPS 2024",
    parameters=CellParameters,
)
class SingleDeletionScore(BankMetric[CellParameters]):
    """Spearman correlation between the attribution of each cell of a coarse grid and the drop without it.

    The paper fine-tunes the model on images with removed cells, so that such images are in its domain. Do the same.
    """

    score = staticmethod(spearman)

    @property
    def scale_dependent(self) -> bool:
        """Yes for cells with different numbers of patches: a shift then adds more to larger cells."""
        return True

    def masks(self) -> Mapping[str, MaskSet]:
        """Every cell."""
        return {"": Cells(self.parameters.cells)}


@metric(
    "monotonicity_correlation",
    formula="Spearman over patches i of (abs(a_i), mean of d({i})²)",
    value_range="[−1, 1]",
    direction="higher",
    citation="Nguyen & Martínez, On Quantitative Aspects of Model Interpretability, 2020",
    parameters=MonotonicityParameters,
)
class MonotonicityCorrelation(BankMetric[MonotonicityParameters]):
    """Spearman correlation between |attribution| of each patch and the mean squared response to replacing it."""

    variants = ONE_VALUE

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift changes the order of the magnitudes."""
        return True

    def banked(self) -> Sequence[BankRequest]:
        """Every patch, once per draw."""
        return [BankRequest(Singles(), fill) for fill in self.parameters.fills]

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor]:
        """See :class:`Metric`."""
        squares = [self.drops(context, responses, request) ** 2 for request in self.banked()]
        mean = sum(squares[1:], squares[0]) / len(squares)
        return {"": spearman(context.maps.flatten(2).abs(), mean[:, None])}
