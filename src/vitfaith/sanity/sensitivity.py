"""Sensitivity of explainers to small noise on their input, read from the maps of noisy copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitfaith.errors import InputError
from vitfaith.lazy import pa, torch
from vitfaith.map_values import map_flags
from vitfaith.sanity.noise import check_rows, uniform_copies

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.sanity.registry import Subject


@dataclass(frozen=True)
class Sensitivity:
    """Read-outs over the noise samples, each (B,) float64; NaN where ``flags`` names a reason.

    Attributes:
        maximum: max ‖a(x+δ) − a(x)‖₂ / ‖a(x)‖₂ (Yeh et al. 2019, Max-Sensitivity, relative form).
        average: mean of the same ratio (Bhatt et al. 2020, Avg-Sensitivity).
        lipschitz: max ‖a(x+δ) − a(x)‖₂ / ‖δ‖₂ (Alvarez-Melis & Jaakkola 2018), δ as applied after clipping.
        flags: "", "nan" (a map is not finite), "zero" (a(x) = 0 everywhere), "constant" (a(x) ranks nothing, see
            :func:`vitfaith.map_values.map_flags`) or "still" (clipping left no noise).
    """

    maximum: Tensor
    average: Tensor
    lipschitz: Tensor
    flags: list[str]


def sensitivity(
    subject: Subject, *, radius: float = 0.02, samples: int = 10, clip: bool = True
) -> Mapping[str, Sensitivity]:
    """Change of every method's maps under noise in the L∞ ball; ``samples`` explanations per image.

    Args:
        subject: images and model; every noisy copy is explained for the same class.
        radius: bound of the uniform noise U(−radius, radius), in [0, 1] pixel units.
        samples: noise draws per image; the draws are keyed by (seed, image_id), not by the batch.
        clip: keep noisy images in [0, 1]; without it, as in captum's ``sensitivity_max``, they leave [0, 1] by up to ``radius``.

    Raises:
        InputError: ``radius`` is not positive or ``samples`` is below 1.
    """
    if radius <= 0 or samples < 1:
        raise InputError(f"radius ({radius}) must be positive and samples ({samples}) at least 1")
    images, ids = subject.images, subject.image_ids
    clean = {method: _flat(maps) for method, maps in subject.maps.items()}
    changes: dict[str, list[Tensor]] = {method: [] for method in clean}
    distances = []
    for noisy, margin in uniform_copies(subject, radius=radius, samples=samples, clip=clip):
        distances.append((noisy - images).double().flatten(1).norm(dim=1).cpu())
        for method, maps in subject.explain(subject.classifier, noisy, subject.targets, ids, margin=margin).items():
            changes[method].append((_flat(maps) - clean[method]).norm(dim=1))
    distance = torch.stack(distances)
    return {
        method: _read(clean[method].norm(dim=1), torch.stack(moved), distance, map_flags(clean[method].numpy()))
        for method, moved in changes.items()
    }


def _flat(maps: Tensor) -> Tensor:
    return maps.detach().flatten(1).double()


def _read(norm: Tensor, change: Tensor, distance: Tensor, clean_flags: list[str]) -> Sensitivity:
    """From ‖a(x)‖ (B,), ‖a(x+δ) − a(x)‖ (n, B), ‖δ‖ (n, B) and the flags of the maps a(x)."""
    relative, slope = change / norm, change / distance
    flags = []
    for image in range(len(norm)):
        if norm[image] == 0:
            flags.append("zero")
        elif not bool(torch.isfinite(relative[:, image]).all()):
            flags.append("nan")
        elif clean_flags[image]:
            flags.append(clean_flags[image])
        else:
            flags.append("" if bool((distance[:, image] > 0).all()) else "still")
    bad = torch.tensor([bool(flag) for flag in flags])
    maximum, average, lipschitz = (
        values.masked_fill(bad, torch.nan) for values in (relative.amax(0), relative.mean(0), slope.amax(0))
    )
    return Sensitivity(maximum, average, lipschitz, flags)


def sensitivity_table(subject: Subject, *, radius: float, samples: int, clip: bool) -> pa.Table:
    """The columns of the schema SANITY except ``check``; ``reference`` is "noise"."""
    tables = []
    for method, found in sensitivity(subject, radius=radius, samples=samples, clip=clip).items():
        named = {"max_sensitivity": found.maximum, "avg_sensitivity": found.average, "lipschitz": found.lipschitz}
        tables += [
            check_rows(subject, method, "noise", metric, values, found.flags) for metric, values in named.items()
        ]
    return pa.concat_tables(tables)
