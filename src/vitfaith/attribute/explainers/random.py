"""Random maps: the control that every explainer has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.attribute import masking
from vitfaith.attribute.registry import explainer
from vitfaith.registry import Parameters
from vitfaith.rng import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.attribute.context import Context


class RandomParameters(Parameters):
    """Settings of ``random``."""

    level: Literal["patch", "pixel"] = Field("patch", description="what gets an independent number")


@explainer(
    "random",
    family="one_pass",
    class_specific=False,
    citation="control of Wu et al., On the Faithfulness of Vision Transformer Explanations, CVPR 2024",
    parameters=RandomParameters,
    hierarchical=True,
    stochastic=True,
)
def random(context: Context, parameters: RandomParameters) -> Tensor:
    """Independent uniform numbers, keyed by seed, image and sample.

    ``patch``: U(0, 1) for each patch. ``pixel``: U(0, 1) for each pixel, as in the SaCo paper, then the mean over each
    patch, because maps live on the patch grid. The two rank patches alike (uniformly at random), but the values of
    ``pixel`` lie close to ½, which matters to metrics that weigh by magnitude. Costs no pass.

    Returns:
        (B, rows, columns) float32 in [0, 1).
    """
    grid = context.classifier.grid
    shape = grid if parameters.level == "patch" else context.images.shape[-2:]
    draws = uniform(context.seed, context.image_ids, f"random-{parameters.level}", shape, context.sample)
    if parameters.level == "pixel":
        draws = masking.pixels_to_patches(draws, grid)
    return draws.to(context.images.device)
