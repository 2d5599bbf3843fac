"""KernelSHAP: Shapley values of the patches by weighted regression."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

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


class KernelShapParameters(Parameters):
    """Settings of ``kernel_shap``."""

    samples: int = Field(
        2048, ge=2, multiple_of=2, description="masks per image; where all 2^patches - 2 masks are fewer, all are used"
    )
    fill: masking.Fill = Field("model_mean", description="replacement of hidden patches")
    score: masking.Score = Field("probability", description="the answer that is explained")


@explainer(
    "kernel_shap",
    family="perturbation",
    class_specific=True,
    citation="Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017",
    parameters=KernelShapParameters,
    hierarchical=True,
    stochastic=True,
)
def kernel_shap(context: Context, parameters: KernelShapParameters) -> Tensor:
    """Shapley values of the patches, by regression on sampled coalitions.

    Minimises Σ_z π(z) (f(z) - f(∅) - zᵀφ)² subject to Σφ = f(x) - f(∅), with the Shapley kernel
    π(z) = (P - 1) / (C(P, |z|) |z| (P - |z|)) (Lundberg and Lee, theorem 2). With P patches, all 2^P - 2 coalitions
    are used where ``samples`` allows, which gives the exact Shapley values; otherwise coalitions are drawn from π in
    pairs (z, 1 - z) (Covert and Lee, AISTATS 2021, §4) and weigh the same. The constraint always holds exactly.
    Fewer samples than patches leave the regression underdetermined; it then gives the solution of smallest norm.

    Cost per image: min(``samples``, 2^P - 2) + 2 forwards (f(x) is shared by the batch's explainers), no backward.

    Returns:
        (B, rows, columns) float32 that sums to f(x) - f(all patches hidden) for each image.
    """
    images, area = context.images, context.classifier.patches
    grid = area.grid
    patches = grid[0] * grid[1]
    fill = masking.fill_values(context.classifier, images, parameters.fill)
    if 2**patches - 2 <= parameters.samples:
        coalitions, weights = _all_coalitions(patches)
        drawn = [coalitions] * len(images)
    else:
        weights = torch.ones(parameters.samples, dtype=torch.float64)
        drawn = [
            _sample_coalitions(context.seed, image_id, context.sample, patches, parameters.samples)
            for image_id in context.image_ids
        ]
    empty = torch.zeros(1, patches, dtype=torch.bool)
    asked = [torch.cat([empty, masks]).view(-1, *grid) for masks in drawn]

    def build(image: int, start: int, stop: int) -> Tensor:
        keep = area.to_pixels(upload(asked[image][start:stop], images.device), beyond=1)
        return masking.blend(images[image], keep, fill[image])

    scores = masking.answers(context, [len(masks) for masks in asked], build, parameters.score)
    clean = masking.target_scores(masking.clean_logits(context), context.targets, parameters.score).cpu()
    maps = []
    for masks, values, full in zip(drawn, scores, clean, strict=True):
        answers = values.cpu()
        maps.append(_solve(masks.double(), answers[1:] - answers[0], weights, full - answers[0]).view(grid))
    return torch.stack(maps).float()


def _solve(masks: Tensor, gains: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Weighted least squares φ (P,) of ``gains`` (n,) on ``masks`` (n, P) with Σφ = ``total``; all float64.

    φ = A⁺(b - λ1) with A = Σ w z zᵀ, b = Σ w z g and λ from the constraint (Covert and Lee, eq. 7).
    """
    normal = masks.T @ (weights[:, None] * masks)
    # The constraint needs the direction 1, which a pseudo-inverse would drop if the masks did not span it. Pairs do,
    # because z + (1 - z) = 1.
    inverse = torch.linalg.pinv(normal, hermitian=True)
    free = inverse @ (masks.T @ (weights * gains))
    direction = inverse.sum(1)
    return free - direction * (free.sum() - total) / direction.sum()


def _all_coalitions(patches: int) -> tuple[Tensor, Tensor]:
    """All masks (2^P - 2, P) bool except the empty and the full one, and their Shapley kernel weights float64."""
    codes = torch.arange(1, 2**patches - 1)
    masks = (codes[:, None] >> torch.arange(patches)) % 2 == 1
    kernel = [0.0] + [(patches - 1) / (math.comb(patches, k) * k * (patches - k)) for k in range(1, patches)]
    return masks, torch.tensor(kernel, dtype=torch.float64)[masks.sum(1)]


def _sample_coalitions(seed: int, image_id: str, sample: int, patches: int, count: int) -> Tensor:
    """Masks (count, P) bool of one image: the first half drawn from the Shapley kernel, then their complements."""
    source = generator(seed, image_id, "kernel_shap", sample)
    sizes = torch.arange(1, patches, dtype=torch.float64)
    cumulative = (1 / (sizes * (patches - sizes))).cumsum(0)
    draws = torch.rand(count // 2, generator=source, dtype=torch.float64) * cumulative[-1]
    chosen = torch.searchsorted(cumulative, draws, right=True).clamp_max(patches - 2) + 1
    order = torch.rand(count // 2, patches, generator=source).argsort(stable=True, dim=1)
    masks = torch.zeros(count // 2, patches, dtype=torch.bool)
    masks.scatter_(1, order, torch.arange(patches) < chosen[:, None])
    return torch.cat([masks, ~masks])
