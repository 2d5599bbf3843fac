"""The curves of Table 1 of Vision DiffMask, named after the quantities in the authors' notebook.

The paper's "KL" is −log p(ŷ), the divergence of the one-hot prediction, and its "accuracy" the mean probability of the
originally predicted class. The divergence between the two distributions is ``kl_auc_morf`` and ``kl_auc_lerf``,
accuracy is ``accuracy_auc``; both take the parameters ``{level: pixel, fill: noise, steps: 28}``. The release enlarges
rollout's and DiffMask's maps by repeating cells and the others bilinearly, which ``upsampling: official`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.metrics.common import CurveParameters, LevelChoice, ReadOut, read_outs, unit_area
from vitfaith.metrics.fills.registry import Fill

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import Response, ScoreContext

DIFFMASK = "Nalmpantis et al., Vision DiffMask, CVPR-W 2023, Table 1"


class DiffMaskParameters(CurveParameters):
    """The notebook's protocol: 29 points, 0 to 100 % of the pixels, uniform noise that is the same at every step."""

    level: LevelChoice = "pixel"
    fill: Fill = Field("noise", validate_default=True)
    steps: int = Field(28, ge=2, description="equal steps from the whole image to nothing")


def nll(context: ScoreContext, parameters: DiffMaskParameters, curve: Response) -> Tensor:
    """−log of the target's probability."""
    return -curve.log_probability


read_outs(
    __name__,
    DiffMaskParameters,
    ReadOut(
        "diffmask_positive_nll",
        'Area under −log p(target), most relevant first, trapezoids of unit width (the paper\'s "pos. KL").',
        ("morf",),
        unit_area,
        direction="higher",
        value_range="[0, ∞)",
        formula="Σ of 28 trapezoids of −log p, MoRF",
        citation=DIFFMASK,
        values=nll,
    ),
    ReadOut(
        "diffmask_negative_nll",
        'Area under −log p(target), least relevant first, trapezoids of unit width (the paper\'s "neg. KL").',
        ("lerf",),
        unit_area,
        direction="lower",
        value_range="[0, ∞)",
        formula="Σ of 28 trapezoids of −log p, LeRF",
        citation=DIFFMASK,
        values=nll,
    ),
    ReadOut(
        "diffmask_positive_probability",
        'Area under p(target), most relevant first, trapezoids of unit width, at most 28 (the paper\'s "pos. acc").',
        ("morf",),
        unit_area,
        direction="lower",
        value_range="[0, 28]",
        formula="Σ of 28 trapezoids of p, MoRF",
        citation=DIFFMASK,
    ),
    ReadOut(
        "diffmask_negative_probability",
        'Area under p(target), least relevant first, trapezoids of unit width, at most 28 (the paper\'s "neg. acc").',
        ("lerf",),
        unit_area,
        direction="higher",
        value_range="[0, 28]",
        formula="Σ of 28 trapezoids of p, LeRF",
        citation=DIFFMASK,
    ),
)
