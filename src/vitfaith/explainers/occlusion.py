"""Occlusion: how much the answer falls when a window of patches is hidden."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import explainer
from vitfaith.lazy import torch
from vitfaith.registry import Parameters
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class OcclusionParameters(Parameters):
    """Settings of ``occlusion``."""

    window: int = Field(1, ge=1, description="side of the hidden square, in patches")
    stride: int = Field(1, ge=1, description="distance between windows, in patches; at most the window")
    fill: masking.Fill = Field("model_mean", description="replacement of hidden patches")
    score: masking.Score = Field("probability", description="the answer that is explained")


@explainer(
    "occlusion",
    family="perturbation",
    class_specific=True,
    citation="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
    parameters=OcclusionParameters,
    hierarchical=True,
)
def occlusion(context: Context, parameters: OcclusionParameters) -> Tensor:
    """Fall of the answer when a window of patches is hidden.

    A patch gets f(x) - f(x without the window), averaged over the windows that cover it (§4.1 of the paper). Windows
    start at every ``stride``-th patch; the last ones are cut at the border, so that every patch is covered.

    Cost per image: 1 forward (shared by the batch's explainers) + 1 forward for each window; 1 + patches for windows
    of one patch. No backward.

    Returns:
        (B, rows, columns) float32, positive where hiding lowers the answer.

    Raises:
        ConfigError: the stride exceeds the window, which would leave patches unmeasured.
    """
    if parameters.stride > parameters.window:
        raise ConfigError("occlusion: stride exceeds window and leaves patches uncovered; set stride <= window")
    images = context.images
    patches = context.classifier.patches
    windows = upload(_windows(patches.grid, parameters.window, parameters.stride), images.device)
    fill = masking.fill_values(context.classifier, images, parameters.fill)

    def build(image: int, start: int, stop: int) -> Tensor:
        keep = patches.to_pixels(1 - windows[start:stop], beyond=1)
        return masking.blend(images[image], keep, fill[image])

    hidden = torch.stack(masking.answers(context, [len(windows)] * len(images), build, parameters.score))
    clean = masking.target_scores(masking.clean_logits(context), context.targets, parameters.score)
    drops = torch.einsum("bk,kij->bij", (clean[:, None] - hidden).float(), windows)
    return drops / windows.sum(0)


def _windows(grid: tuple[int, int], window: int, stride: int) -> Tensor:
    """Windows (k, rows, columns) float32: 1 inside."""
    rows, columns = grid
    masks = []
    for top in _starts(rows, window, stride):
        for left in _starts(columns, window, stride):
            mask = torch.zeros(grid)
            mask[top : top + window, left : left + window] = 1
            masks.append(mask)
    return torch.stack(masks)


def _starts(length: int, window: int, stride: int) -> range:
    return range(0, math.ceil(max(length - window, 0) / stride) * stride + 1, stride)
