"""DiffMask without amortisation: the gates' locations of each image are optimised for it alone, and nothing is trained.

There is one gate per patch, and nothing is learned that another image could use. What replaces a patch embedding is therefore fixed:
a placeholder learned from one image could spell out its prediction, and then every patch could go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import start_beta
from vitfaith.explainers.diffmask.passes import clean_pass, divergence, masked_pass
from vitfaith.models.classifier import Classifier, frozen
from vitfaith.rng import uniform
from vitfaith.transfer import upload


@dataclass(frozen=True)
class PerImageSettings:
    """Settings of the optimisation of each image's locations; fields as in ``DiffMaskRecipe``."""

    steps: int = 100
    learning_rate: float = 0.2
    margin: float = 0.1
    kept_share: float = 0.9
    multiplier: float = 2.0
    multiplier_learning_rate: float = 0.3
    multiplier_max: float = 200.0
    distribution: HardConcrete = field(default_factory=HardConcrete)


def optimise_masks(
    classifier: Classifier,
    images: Tensor,
    image_ids: Sequence[str],
    settings: PerImageSettings,
    *,
    targets: Tensor | None = None,
    placeholder: Tensor | None = None,
    seed: int = 0,
    sample: int = 0,
) -> Tensor:
    """Expected masks (B, rows, columns) float32 of ``images`` (B, C, H, W) in [0, 1].

    One forward, then one forward and one backward pass per step. Each image has its own locations, multiplier and noise, so no
    result depends on the others in the batch.

    Args:
        targets: (B,) int64: keep the probability of this class instead of the whole distribution.
        placeholder: (D,) of a trained DiffMask; without it each image's mean patch embedding.
        seed, sample: with ``image_ids`` the key of the noise.
    """
    rows, columns = classifier.grid
    patches, device, shape = rows * columns, images.device, settings.distribution
    with torch.inference_mode(False), torch.enable_grad(), frozen(classifier):
        images = images.clone() if images.is_inference() else images
        clean, states = clean_pass(classifier, images)
        fill = states[0].mean(1, keepdim=True) if placeholder is None else placeholder
        start = start_beta(torch.zeros(1, 1, 1), shape, 1.0, settings.kept_share)
        locations = torch.full((len(images), patches), start, device=device, requires_grad=True)
        multiplier = torch.full((len(images),), settings.multiplier, device=device)
        # 4 bytes per step and patch; drawn at once because each draw seeds a generator.
        noise = uniform(seed, image_ids, "diffmask-per-image", (settings.steps, patches), sample)
        noise = upload(noise, device)
        optimiser = torch.optim.Adam([locations], lr=settings.learning_rate, betas=(0.9, 0.98))
        for step in range(settings.steps):
            masked = masked_pass(classifier, images, shape.sample(locations, noise[:, step]), fill)
            kl = divergence(clean, masked, targets)
            kept = shape.log_positive(locations).exp().mean(1)
            optimiser.zero_grad()
            (kept + multiplier * (kl - settings.margin)).sum().backward()
            optimiser.step()
            raised = multiplier + settings.multiplier_learning_rate * (kl.detach() - settings.margin)
            multiplier = raised.clamp(0, settings.multiplier_max)
        return shape.expected(locations.detach()).unflatten(1, (rows, columns))
