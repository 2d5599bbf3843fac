"""RISE: the mean answer to random soft masks, seen from each patch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import explainer
from vitfaith.lazy import torch
from vitfaith.registry import Parameters
from vitfaith.rng import generator
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.models.patches import Patches


class RiseParameters(Parameters):
    """Settings of ``rise``."""

    masks: int = Field(4000, ge=1, description="number of random masks per image")
    cells: int = Field(7, ge=1, description="side of the coarse random grid that is enlarged to the image")
    keep: float = Field(0.5, gt=0, lt=1, description="probability that a coarse cell is visible")
    normalisation: Literal["expected", "coverage"] = Field(
        "expected", description="divide by the expected visibility (unbiased) or by the visibility that was drawn"
    )
    fill: masking.Fill = Field("model_mean", description="replacement of hidden pixels")
    score: masking.Score = Field("probability", description="the answer that is explained")


@explainer(
    "rise",
    family="perturbation",
    class_specific=True,
    citation="Petsiuk, Das and Saenko, RISE: Randomized Input Sampling for Explanation, BMVC 2018",
    parameters=RiseParameters,
    hierarchical=True,
    stochastic=True,
)
def rise(context: Context, parameters: RiseParameters) -> Tensor:
    """Mean answer to randomly masked images, weighted by how visible the patch was.

    S = Σ_i f(x ⊙ M_i) M_i / (N E[M]) (eq. 6), with E[M] = ``keep`` at every pixel because each mask value is a convex
    mixture of Bernoulli cells. ``coverage`` divides by Σ_i M_i instead: a little biased, less noisy. A mask is a grid
    of ``cells``² Bernoulli cells, enlarged bilinearly by one cell more than the image, then cropped at random (§3.2); beyond the outer cell centres it
    is mirrored, as in the authors' code.

    Cost per image: ``masks`` forwards, no backward.

    Returns:
        (B, rows, columns) float32: the pixel map averaged over the area of each patch.
    """
    images = context.images
    height, width = images.shape[-2:]
    fill = masking.fill_values(context.classifier, images, parameters.fill)
    draws = []
    for image_id in context.image_ids:
        cells, shifts = _draw(context.seed, image_id, context.sample, parameters, (height, width))
        draws.append((upload(cells, images.device), upload(shifts, images.device)))

    def build(image: int, start: int, stop: int) -> Tensor:
        cells, shifts = draws[image]
        keep = soft_masks(cells[start:stop], shifts[start:stop], (height, width))
        return masking.blend(images[image], keep, fill[image])

    scores = masking.answers(context, [parameters.masks] * len(images), build, parameters.score)
    maps = []
    for values, (cells, shifts) in zip(scores, draws, strict=True):
        # Averaging over patches commutes with the weighted sum, so that no masks of pixel size are kept.
        visible = soft_masks(cells, shifts, (height, width), context.classifier.patches)
        if parameters.normalisation == "coverage":
            maps.append(masking.weighted_coverage(values, visible))
        else:
            maps.append(torch.einsum("k,kij->ij", values.float(), visible) / (parameters.masks * parameters.keep))
    return torch.stack(maps)


def soft_masks(cells: Tensor, shifts: Tensor, size: tuple[int, int], patches: Patches | None = None) -> Tensor:
    """Coarse grids enlarged bilinearly and cropped: (k, H, W) float32 in [0, 1].

    Args:
        cells: (k, s, s) values in [0, 1]; they cover s + 1 cells of ceil(H/s) × ceil(W/s) pixels.
        shifts: (k, 2) top and left corner of the crop, in pixels.
        size: height and width of the image.
        patches: where given, the masks are averaged over the area of each patch, (k, rows, columns).
    """
    down, across = (_weights(shifts[:, axis], cells.shape[-1], size[axis]) for axis in (0, 1))
    if patches is not None:
        down, across = (patches.mean_along(axis, weights) for axis, weights in enumerate((down, across)))
    return down.transpose(1, 2) @ cells @ across


def _weights(shifts: Tensor, cells: int, length: int) -> Tensor:
    """Linear interpolation (k, cells, length) from cell centres (half-pixel convention).

    Beyond the first and the last centre the cells are mirrored without the edge, as the authors' resize does: a pixel
    half a cell outside mixes the edge cell with its neighbour.
    """
    enlarged = (cells + 1) * math.ceil(length / cells)
    pixels = torch.arange(length, device=shifts.device) + shifts[:, None]
    position = ((pixels + 0.5) * (cells / enlarged) - 0.5).abs()
    position = (cells - 1 - (cells - 1 - position).abs()).clamp_min(0)  # a single cell is its own neighbour
    return (1 - (position[:, None, :] - torch.arange(cells, device=shifts.device)[:, None]).abs()).clamp_min(0)


def _draw(
    seed: int, image_id: str, sample: int, parameters: RiseParameters, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Coarse cells (N, s, s) and shifts (N, 2) of one image."""
    source = generator(seed, image_id, "rise", sample)
    side = parameters.cells
    cells = (torch.rand(parameters.masks, side, side, generator=source) < parameters.keep).float()
    reach = torch.tensor([math.ceil(length / side) for length in size])
    shifts = (torch.rand(parameters.masks, 2, generator=source) * reach).long()
    return cells, shifts
