"""Metrics of the coloured-grid task: the patches inside the mask, or all the others, are both a right answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar

from pydantic import Field

from vitfaith.lazy import torch
from vitfaith.map_values import unit_range
from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.metrics.registry import Metric, metric
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from torch import Tensor

DIFFMASK = "Nalmpantis et al., Vision DiffMask, CVPR-W 2023, section 3.2 (task); read-outs of our own"


class AdmissibleParameters(Parameters):
    """How a map becomes a mask."""

    threshold: float = Field(0.5, description="a patch belongs to the mask where its value is larger")
    masks: Annotated[tuple[str, ...], Ids("explainers")] = Field(
        (),
        description="ids of explainers whose maps are masks already: compared with the threshold as they are. All other "
        "maps are scaled onto [0, 1] image by image",
    )
    one_sided: Literal["flag", "score"] = Field(
        "flag",
        description="images whose mask is all or nothing. flag: 'no object' and 'no background', as they cannot be scored "
        "fairly: scaled onto [0, 1], a map always has both. score: masks are taken at their word, two empty sets overlap fully",
    )


P = TypeVar("P", bound=AdmissibleParameters)


class _Admissible(Metric[P], Generic[P]):
    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, tuple[Tensor, list[list[str]]]]:
        """See :class:`Metric`."""
        from vitfaith.metrics.engine.admissible import patch_truth
        from vitfaith.metrics.ground_truth import truth_flag

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
            counted = (truth >= 0) | (flag == "unlabelled")  # values under a flag are not used, but must be there
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
    """How close the map comes to the better of two right masks: the segmented patches, or all the others.

    Variants: ``iou`` and ``exact`` (0 or 1) of the map cut at 0.5, ``best_iou`` at the best threshold for the image, and
    ``auroc``, which has no threshold. The last two do not depend on the scale of a map. A random map is far above 0 in
    all but ``exact``, as the better of two is taken, so compare with the random explainer. Images where one
    side is empty are flagged "no object" or "no background".
    """

    def score(self, maps: Tensor, inside: Tensor) -> dict[str, Tensor]:
        """The four variants."""
        from vitfaith.metrics.engine.admissible import better_auroc, better_best_iou, overlaps

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
    """Which of the two right masks the map cut at 0.5 is closer to: 1 the segmented patches, 0 the others, 0.5 both alike.

    The table ``summary`` has one score of the whole data set, made from these rows by
    :func:`vitfaith.statistics.side_scores`: ``consistency``, the share of images that chose the side of the majority, at
    least 0.5. Which side that is, the mean of the rows in the table ``scores`` tells.
    """

    def score(self, maps: Tensor, inside: Tensor) -> dict[str, Tensor]:
        """See :func:`vitfaith.metrics.engine.admissible.side`."""
        from vitfaith.metrics.engine.admissible import side

        return {"": side(maps > self.parameters.threshold, inside)}
