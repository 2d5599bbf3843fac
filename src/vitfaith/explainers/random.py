"""Random maps: the control that every explainer has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from vitfaith.errors import ConfigError
from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import PixelLevel, explainer
from vitfaith.rng import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class RandomParameters(PixelLevel):
    """Settings of ``random``."""

    level: Literal["patch", "pixel"] = Field(
        "patch", description="whether each patch or each pixel gets an independent number"
    )

    @model_validator(mode="after")
    def _check_level(self) -> RandomParameters:
        if self.resolution == "pixel" and self.level == "patch":
            raise ConfigError("random: resolution 'pixel' keeps a number for each pixel; set level: pixel too")
        return self


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
    patch, unless ``resolution`` keeps the pixels. The two rank patches alike (uniformly at random), but the means of
    ``pixel`` lie close to ½, which matters to metrics that weigh by magnitude. Costs no pass.

    Returns:
        (B, rows, columns) float32 in [0, 1).
    """
    patches = context.classifier.patches
    shape = patches.grid if parameters.level == "patch" else context.images.shape[-2:]
    draws = uniform(context.seed, context.image_ids, f"random-{parameters.level}", shape, context.sample)
    if parameters.level == "pixel":
        draws = masking.at_resolution(draws, patches, parameters.resolution, pool="mean")
    return draws
