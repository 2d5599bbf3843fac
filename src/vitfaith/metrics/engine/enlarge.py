"""Enlarges maps from the patch grid to pixels, as a metric requests or as a paper's authors did for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.errors import InputError
from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.engine.ranking import Ranking
    from vitfaith.metrics.engine.requests import Upsampling
    from vitfaith.models.patches import Patches

EXPLAINERS_EXTRA = "explainers"
"""Key of evaluate(extras=…): method id → registered name of its explainer; ``official`` upsampling depends on it."""
REPEATED = frozenset(
    {"attention_rollout", "diffmask", "diffmask_class", "diffmask_per_image", "diffmask_per_image_class"}
)
"""Whose maps the released code of Vision DiffMask enlarges by repeating each cell; its Grad-CAM and its Chefer map are
enlarged bilinearly. Explainers that it does not have are taken bilinearly too."""


def repeated_methods(context: ScoreContext, upsampling: Upsampling) -> Tensor | None:
    """(M,) bool: methods whose cells are repeated; None if there are none.

    Raises:
        InputError: ``official`` upsampling, and ``extras["explainers"]`` lacks a method's explainer.
    """
    if upsampling == "bilinear":
        return None
    if upsampling == "nearest":
        flags = [True] * len(context.methods)
    else:
        names = context.extras.get(EXPLAINERS_EXTRA, {})
        for method in context.methods:
            if method not in names:
                raise InputError(
                    f"upsampling 'official' depends on the explainer of a map, and the explainer of '{method}' is unknown; pass "
                    f"evaluate(extras={{'{EXPLAINERS_EXTRA}': {{'{method}': NAME}}}}), or take bilinear or nearest"
                )
        flags = [names[method] in REPEATED for method in context.methods]
    return torch.tensor(flags, device=context.maps.device) if any(flags) else None


def enlarged(maps: Tensor, patches: Patches, repeated: Tensor) -> Tensor:
    """``maps`` (N, rows, columns) → (N, H, W): cells repeated where ``repeated`` (N,) bool, else bilinear."""
    if maps.shape[1:] == patches.size:
        return maps
    return torch.where(repeated[:, None, None], patches.to_pixels(maps, beyond=None), patches.upsample(maps))


def maps_to_rank(context: ScoreContext, ranking: Ranking, image: Tensor, method: Tensor) -> Tensor:
    """Maps (N, …) for ``ranking`` of the images (N,) and methods (N,): on the patch grid, or per pixel.

    Features smaller than a patch or across patches are ranked by ``fine_maps``; other than bilinear maps are enlarged here.
    """
    source = context.maps if ranking.features.kind == "patch" else context.fine_maps
    maps = source[image, method]
    repeated = repeated_methods(context, ranking.features.upsampling)
    if repeated is None:
        return maps
    return enlarged(maps, ranking.patches, repeated[method])  # the ranking does not resize maps of this size
