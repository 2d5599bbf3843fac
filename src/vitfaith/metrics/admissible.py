"""Metrics of the coloured-grid task: two masks are right: the patches inside, or all the others.

To count cells of one colour, a network can read the cells with that colour or the cells without it. Both masks keep
everything it needs. The functions take ``maps`` (M, P) float64 of one image, one value per patch, and ``inside`` (P,) bool, the
patches of the first mask. Callers make sure that both masks have patches, or accept NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar

from pydantic import Field

from vitfaith.lazy import torch
from vitfaith.map_values import unit_range
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.localisation import auroc, best_iou, truth_flag
from vitfaith.metrics.registry import ONE_VALUE, Metric, metric
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.patches import Patches

DIFFMASK = "Nalmpantis et al., Vision DiffMask, CVPR-W 2023, section 3.2 (task); our own read-outs"


class AdmissibleParameters(Parameters):
    """Conversion of a map into a mask."""

    threshold: float = Field(0.5, description="patches with larger values belong to the mask")
    masks: Annotated[tuple[str, ...], Ids("explainers")] = Field(
        (),
        description="ids of explainers whose maps are masks already and are compared with the threshold unchanged. All other "
        "maps are first scaled onto [0, 1], image by image",
    )
    one_sided: Literal["flag", "score"] = Field(
        "flag",
        description="treatment of images whose true mask covers all patches or none. flag: they are flagged 'no background' or 'no object', "
        "because a map scaled onto [0, 1] always has both. score: they are scored like all others; two empty sets overlap fully",
    )


P = TypeVar("P", bound=AdmissibleParameters)


def patch_truth(truth: Tensor, patches: Patches) -> Tensor:
    """A segmentation (H, W) on the patch grid: (rows·columns,) int64 in {1, 0, −1}.

    A patch takes the class of more than half of its labelled pixels; 0 where both classes are equal, −1 without labelled
    pixels. Exact where every patch lies inside one segment.
    """
    height, width = patches.seen
    rows, columns = patches.place(0, truth.device)[:height], patches.place(1, truth.device)[:width]
    patch = (rows[:, None] * patches.grid[1] + columns).flatten()
    values = truth[:height, :width].flatten()
    zeros = torch.zeros(patches.grid[0] * patches.grid[1], dtype=torch.int64, device=truth.device)
    inside = zeros.scatter_add(0, patch, (values == 1).long())
    labelled = zeros.scatter_add(0, patch, (values >= 0).long())
    return torch.where(labelled == 0, -1, (2 * inside > labelled).long())


def overlaps(chosen: Tensor, inside: Tensor) -> Tensor:
    """IoU (M, 2) of the masks ``chosen`` (M, P) bool with ``inside`` and with its complement; 1 for two empty sets."""
    sides = torch.stack([inside, ~inside])
    both = (chosen[:, None] & sides).sum(2).double()
    either = (chosen[:, None] | sides).sum(2).double()
    return torch.where(either == 0, 1.0, both / either)


def side(chosen: Tensor, inside: Tensor) -> Tensor:
    """Mask with the higher IoU, (M,): 1 for the patches ``inside``, 0 for the others, 0.5 where both are equal."""
    found = overlaps(chosen, inside)
    return (1 + (found[:, 0] - found[:, 1]).sign()) / 2


def better_best_iou(maps: Tensor, inside: Tensor) -> Tensor:
    """Highest IoU (M,) of ``map ≥ t`` with either side, over all thresholds t; NaN where one side is empty."""
    if inside.all() or not inside.any():  # the lowest threshold takes all patches, whatever the map
        return torch.full_like(maps[:, 0], torch.nan)
    return torch.maximum(best_iou(maps, inside), best_iou(maps, ~inside))


def better_auroc(maps: Tensor, inside: Tensor) -> Tensor:
    """Area under the ROC curve (M,) for the side with the larger value, at least 0.5; NaN where a side is empty."""
    one = auroc(maps, inside)
    return torch.maximum(one, 1 - one)


class _Admissible(Metric[P], Generic[P]):
    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, tuple[Tensor, list[list[str]]]]:
        """See :class:`Metric`."""
        assert context.truth is not None
        as_they_are = torch.tensor([m in self.parameters.masks for m in context.methods], device=context.maps.device)
        values: dict[str, list[Tensor]] = {}
        flags = []
        for maps, pixels in zip(context.maps.double(), context.truth, strict=True):
            truth = patch_truth(pixels, context.patches)
            flag = truth_flag(truth)
            if flag != "unlabelled" and self.parameters.one_sided == "score":
                flag = ""
            flags.append([flag] * len(context.methods))
            scaled = torch.where(as_they_are[:, None, None], maps, unit_range(maps, constant=torch.nan)).flatten(1)
            counted = (truth >= 0) | (flag == "unlabelled")  # flagged values are not used, but must exist
            for variant, column in self.score(scaled[:, counted], truth[counted] == 1).items():
                values.setdefault(variant, []).append(column)
        return {variant: (torch.stack(columns), flags) for variant, columns in values.items()}

    def score(self, maps: Tensor, inside: Tensor) -> dict[str, Tensor]:
        """Variant → (M,) from the maps (M, P) and the patches (P,) of the mask."""
        raise NotImplementedError


@metric(
    "admissible_mask",
    formula="for T or its complement, the better: IoU({a > 0.5}, T), equality, max over t of IoU({a ≥ t}, T), AUROC",
    value_range="[0, 1]",
    direction="higher",
    citation=DIFFMASK,
    parameters=AdmissibleParameters,
    needs=("truth",),
)
class AdmissibleMask(_Admissible[AdmissibleParameters]):
    """Agreement of the map with the better of two right masks: the segmented patches, or all the others.

    Variants: ``iou`` and ``exact`` (0 or 1) of the map cut at 0.5, ``best_iou`` at the image's best threshold, and
    ``auroc``, which has no threshold. The last two do not depend on the scale of a map. Since the better of two masks
    counts, a random map is far above 0 in all but ``exact``; compare with the random explainer. Images where one
    side is empty are flagged "no object" or "no background".
    """

    variants = ("iou", "exact", "best_iou", "auroc")

    def score(self, maps: Tensor, inside: Tensor) -> dict[str, Tensor]:
        """The four variants."""
        iou = overlaps(maps > self.parameters.threshold, inside).amax(1)
        return {
            "iou": iou,
            "exact": (iou == 1).double(),
            "best_iou": better_best_iou(maps, inside),
            "auroc": better_auroc(maps, inside),
        }


@metric(
    "admissible_side",
    formula="s = share of images whose better mask is T; consistency max(s, 1 − s)",
    value_range="[0, 1]",
    direction="higher",
    citation=DIFFMASK,
    parameters=AdmissibleParameters,
    needs=("truth",),
    pooled="side",
)
class AdmissibleSide(_Admissible[AdmissibleParameters]):
    """The right mask that is closer to the map cut at 0.5: 1 for the segmented patches, 0 for the others, 0.5 for a tie.

    The table ``summary`` has one score of the whole dataset, computed from these rows by
    :func:`vitfaith.statistics.side_scores`: ``consistency``, the share of images on the side of the majority, at
    least 0.5. The mean of the rows in the table ``scores`` shows which side that is.
    """

    variants = ONE_VALUE
    summary_variants = ("consistency",)

    def score(self, maps: Tensor, inside: Tensor) -> dict[str, Tensor]:
        """See :func:`side`."""
        return {"": side(maps > self.parameters.threshold, inside)}
