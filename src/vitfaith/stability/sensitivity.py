"""Sensitivity of an explainer to small noise on its input: it explains again, so it needs the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from vitfaith import rng
from vitfaith.errors import InputError
from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    Explain: TypeAlias = Callable[[Tensor, Tensor, Sequence[str]], Tensor]
    """(images (N,C,H,W), targets (N,), image_ids) → maps (N, rows, columns)."""


@dataclass(frozen=True)
class Sensitivity:
    """Read-outs over the noise samples, each (B,) float64; NaN where ``flags`` names a reason.

    Attributes:
        maximum: max ‖a(x+δ) − a(x)‖₂ / ‖a(x)‖₂ (Yeh et al. 2019, Max-Sensitivity, relative form).
        average: mean of the same (Bhatt et al. 2020, Avg-Sensitivity).
        lipschitz: max ‖a(x+δ) − a(x)‖₂ / ‖δ‖₂ (Alvarez-Melis & Jaakkola 2018), δ as applied after clipping.
        flags: "", "nan" (a map is not finite), "zero" (a(x) = 0 everywhere) or "still" (clipping left no noise).
    """

    maximum: Tensor
    average: Tensor
    lipschitz: Tensor
    flags: list[str]


def sensitivity(
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    clip: bool = True,
    batch_size: int = 256,
) -> Sensitivity:
    """How far noise in the L∞ ball moves the maps of ``explain``; one explanation an image plus ``samples`` more.

    Args:
        explain: (images, targets, image_ids) → (N, rows, columns) maps; called on at most ``batch_size`` images.
        images: (B, C, H, W) in [0, 1].
        targets: (B,) int64; the same class is explained for every noisy copy.
        image_ids: B names that key the noise, so that no draw depends on the batch.
        radius: bound of the uniform noise U(−radius, radius), in [0, 1] pixel units.
        samples: noise draws an image.
        seed: the study's seed.
        clip: keep noisy images in [0, 1]; captum's ``sensitivity_max`` does not.
        batch_size: most images a call of ``explain``.

    Raises:
        InputError: lengths disagree, ``radius`` is not positive or ``samples`` is below 1.
    """
    if not len(images) == len(targets) == len(image_ids):
        raise InputError(
            f"images ({len(images)}), targets ({len(targets)}) and image_ids ({len(image_ids)}) must agree"
        )
    if radius <= 0 or samples < 1:
        raise InputError(f"radius ({radius}) must be positive and samples ({samples}) at least 1")

    def maps_of(batch: Tensor) -> Tensor:
        parts = [
            explain(batch[i : i + batch_size], targets[i : i + batch_size], image_ids[i : i + batch_size])
            for i in range(0, len(batch), batch_size)
        ]
        return torch.cat(parts).detach().flatten(1).double()

    clean = maps_of(images)
    norm = clean.norm(dim=1)
    relative, slope, moved = [], [], []
    for sample in range(samples):
        noise = rng.uniform(seed, image_ids, "sensitivity", images.shape[1:], sample).to(images)
        noisy = images + (2 * noise - 1) * radius
        if clip:
            noisy = noisy.clamp(0, 1)
        change = (maps_of(noisy) - clean).norm(dim=1)
        distance = (noisy - images).double().flatten(1).norm(dim=1)
        relative.append(change / norm)
        slope.append(change / distance)
        moved.append(distance > 0)
    ratios, slopes = torch.stack(relative), torch.stack(slope)
    still = ~torch.stack(moved).all(dim=0)
    flags = []
    for image in range(len(images)):
        if norm[image] == 0:
            flags.append("zero")
        elif not bool(torch.isfinite(ratios[:, image]).all()):
            flags.append("nan")
        else:
            flags.append("still" if still[image] else "")
    bad = torch.tensor([bool(flag) for flag in flags], device=ratios.device)

    def read(values: Tensor) -> Tensor:
        return values.masked_fill(bad, torch.nan).cpu()

    return Sensitivity(read(ratios.amax(0)), read(ratios.mean(0)), read(slopes.amax(0)), flags)
