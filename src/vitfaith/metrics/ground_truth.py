"""Metrics that compare the upsampled map with a segmented object; they do not say whether the map is faithful."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import Field

from vitfaith.lazy import torch
from vitfaith.map_values import unit_range
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.localisation import (
    COUNTS,
    auroc,
    average_precision,
    best_iou,
    f1,
    mass_accuracy,
    pointing_hit,
    rank_accuracy,
    segmentation_counts,
    truth_flag,
    two_channel_average_precision,
)
from vitfaith.metrics.registry import ONE_VALUE, Metric, metric
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

P = TypeVar("P", bound=Parameters)


class TruthMetric(Metric[P], Generic[P]):
    """Base class: upsamples the maps of an image (bilinear, align_corners=False) in float64 and flags unusable truth.

    Images without a segmentation, an object pixel or a background pixel are flagged "unlabelled", "no object" and
    "no background".
    """

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, tuple[Tensor, list[list[str]]]]:
        """See :class:`Metric`."""

        assert context.truth is not None
        values: dict[str, list[Tensor]] = {}
        flags = []
        for image in range(len(context.images)):  # one image at a time: M maps of all pixels in float64 are large
            truth = context.truth[image]
            flags.append(truth_flag(truth))
            maps = context.patches.upsample(context.fine_maps[image].double())
            for variant, column in self.score(maps, truth, flags[-1]).items():
                values.setdefault(variant, []).append(column)
        table = [[flag] * len(context.methods) for flag in flags]
        return {variant: (torch.stack(columns), table) for variant, columns in values.items()}

    def score(self, maps: Tensor, truth: Tensor, flag: str) -> dict[str, Tensor]:
        """Variant → (M,) from pixel maps (M, H, W); values are not used where ``flag`` is set."""
        raise NotImplementedError


class _OneValue(TruthMetric[P], Generic[P]):
    variants = ONE_VALUE

    def score(self, maps: Tensor, truth: Tensor, flag: str) -> dict[str, Tensor]:
        """:meth:`value`, or NaN where it cannot be computed."""
        return {"": torch.full_like(maps[:, 0, 0], torch.nan) if flag else self.value(maps, truth)}

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """(M,) for an image with object and background."""
        raise NotImplementedError


@metric(
    "segmentation",
    formula="pixel accuracy, mIoU of sums over images; mAP, F1: means; object = map above its mean",
    value_range="[0, 1]",
    direction="higher",
    pooled="segmentation",
    citation="Chefer et al., Transformer Interpretability Beyond Attention Visualization, CVPR 2021",
    needs=("truth",),
)
class Segmentation(Metric[Parameters]):
    """Pixel counts, two-channel AP and F1 of the map binarised at its mean, for the ImageNet-segmentation scores.

    Each is a variant. The table ``summary`` has pixel accuracy and mIoU of the whole dataset, mAP and mean F1, computed
    from these rows by :func:`vitfaith.statistics.segmentation_scores`. Images need a labelled pixel, but no object.
    """

    variants = (*COUNTS, "average_precision", "f1")
    summary_variants = ("pixel_accuracy", "miou", "map", "f1")

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, tuple[Tensor, list[list[str]]]]:
        """See :class:`Metric`."""
        assert context.truth is not None
        rows: list[dict[str, Tensor]] = []
        for maps, truth in zip(context.fine_maps, context.truth, strict=True):
            pixels = unit_range(context.patches.upsample(maps.double()), constant=torch.nan)
            row = segmentation_counts(pixels, truth)
            row["average_precision"] = two_channel_average_precision(pixels, truth)
            row["f1"] = f1(pixels, truth)
            rows.append(row)
        empty = (context.truth < 0).flatten(1).all(1).tolist()
        flags = [["unlabelled" if flag else ""] * len(context.methods) for flag in empty]
        return {variant: (torch.stack([row[variant] for row in rows]), flags) for variant in rows[0]}


@metric(
    "localisation_ap",
    formula="average precision of pixels of T by the map; equal pixels: expected over their orders",
    value_range="[0, 1]",
    direction="higher",
    citation="average precision of the object's pixels",
    needs=("truth",),
)
class LocalisationAp(_OneValue[Parameters]):
    """Average precision of the object's pixels in the ranking by the map; equal pixels in random order."""

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """See :func:`vitfaith.metrics.localisation.average_precision`."""
        return average_precision(maps[:, truth >= 0], truth[truth >= 0] == 1)


@metric(
    "localisation_auroc",
    formula="P(map on T > map off T) + P(equal) / 2",
    value_range="[0, 1]",
    direction="higher",
    citation="area under the ROC curve",
    needs=("truth",),
)
class LocalisationAuroc(_OneValue[Parameters]):
    """Probability that the map is higher on an object pixel than on a background pixel."""

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """See :func:`vitfaith.metrics.localisation.auroc`."""
        return auroc(maps[:, truth >= 0], truth[truth >= 0] == 1)


@metric(
    "localisation_best_iou",
    formula="max over t of IoU(map ≥ t, T)",
    value_range="[0, 1]",
    direction="higher",
    citation="Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020",
    needs=("truth",),
)
class LocalisationBestIou(_OneValue[Parameters]):
    """Highest IoU with the object over all thresholds on the map."""

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """See :func:`vitfaith.metrics.localisation.best_iou`."""
        return best_iou(maps[:, truth >= 0], truth[truth >= 0] == 1)


class PointingParameters(Parameters):
    """Distance that still counts as a hit, as a share of the image's longer side (the paper: 15 of 224 pixels)."""

    tolerance: float = Field(
        15 / 224, ge=0, lt=1, description="distance that still counts as a hit, as a share of the image's longer side"
    )


@metric(
    "pointing_game",
    formula="1[distance of the arg-max to T ≤ tolerance], mean over equal maxima",
    value_range="[0, 1]",
    direction="higher",
    citation="Zhang et al., Top-Down Neural Attention by Excitation Backprop, IJCV 2018",
    parameters=PointingParameters,
    needs=("truth",),
)
class PointingGame(_OneValue[PointingParameters]):
    """Whether the map's highest pixel is on the object or close to it; for several highest pixels, their share."""

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """See :func:`vitfaith.metrics.localisation.pointing_hit`."""
        return pointing_hit(maps, truth, self.parameters.tolerance * max(truth.shape))


@metric(
    "energy_pointing_game",
    formula="Σ over T of max(a, 0) / Σ of max(a, 0)",
    value_range="[0, 1]",
    direction="higher",
    citation="Wang et al., Score-CAM, CVPR-W 2020; Arras et al., 2022 (relevance mass accuracy)",
    needs=("truth",),
)
class EnergyPointingGame(_OneValue[Parameters]):
    """Share of the map's positive mass on the object."""

    @property
    def scale_dependent(self) -> bool:
        """Yes: a shift changes the set of positive values and their shares."""
        return True

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """See :func:`vitfaith.metrics.localisation.mass_accuracy`."""
        return mass_accuracy(maps, truth)


@metric(
    "relevance_rank_accuracy",
    formula="share of T among the |T| highest pixels; equal pixels: expected over their orders",
    value_range="[0, 1]",
    direction="higher",
    citation="Arras et al., CLEVR-XAI, Information Fusion 2022",
    needs=("truth",),
)
class RelevanceRankAccuracy(_OneValue[Parameters]):
    """Share of object pixels among the |T| highest pixels of the map; equal pixels in random order."""

    def value(self, maps: Tensor, truth: Tensor) -> Tensor:
        """See :func:`vitfaith.metrics.localisation.rank_accuracy`."""
        return rank_accuracy(maps[:, truth >= 0], truth[truth >= 0] == 1)
