"""Attacked images in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.api.inputs import Target, batch_size_of, ids_of, images_of, ready, seed_of, targets_of
from vitfaith.api.items import item_of, items_of
from vitfaith.api.smooth import check_denoiser
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.attacks.registry import smoothing_seen
from vitfaith.attacks.run import attack_images
from vitfaith.attacks.smoothed import Defence
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.errors import InputError
from vitfaith.models.precision import Precision


@dataclass(frozen=True)
class Attacked:
    """The result of :func:`attack`.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1], on the CPU; every value is k/255, as an image file stores it.
        target: (B,) int64, the classes that the attack moved away from (or kept, if it aims at the explanation).
        prediction: (B,) int64, the class that the model predicts for the attacked image.
        success: (B,) bool, whether ``prediction`` differs from ``target``.
        linf, l2: (B,) float32, distances to the clean image in [0, 1] pixel units.
        image_ids: names of the clean images, to pass on to later calls.
    """

    images: Tensor
    target: Tensor
    prediction: Tensor
    success: Tensor
    linf: Tensor
    l2: Tensor
    image_ids: list[str]


def attack(
    model: nn.Module,
    images: Tensor,
    attack: str,
    *,
    target: Target = "prediction",
    labels: Tensor | Sequence[int] | None = None,
    denoiser: Denoiser | None = None,
    image_ids: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    precision: Precision = "float32",
    **settings: Any,
) -> Attacked:
    """Attacked ``images``, rounded to pixels k/255 within the attack's bound.

    Args:
        model, target, labels, image_ids, seed, batch_size: see :func:`vitfaith.explain`; ``target`` are the classes that
            the attack moves away from.
        images: (B, C, H, W), float in [0, 1] or uint8. Pixels that are not k/255 are rounded first, with a warning.
        attack: name of a registered attack (``vf.available("attacks")``).
        precision: float32, tf32 or bfloat16, for the model's passes that craft the images. Targets, predictions and a
            denoiser stay in float32.
        settings: settings of the attack, as in the configuration: ``eps="8/255"``. ``through=("dds", {"sigma": 0.25, …})``
            names the smoothing that an adaptive attack sees through, with its settings.
        denoiser: the network of that smoothing, from :func:`vitfaith.load_denoiser`.

    Raises:
        ConfigError: unknown attack, wrong settings, or a radius below one grey level.
        InputError: arguments do not fit each other or the model, or the attack broke its bound.

    Source: each attack's own (:func:`vitfaith.describe`).

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> model = vf.wrap(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10))
        >>> images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
        >>> attacked = vf.attack(model, images, "pgd", eps="8/255", steps=2)
        >>> bool((attacked.linf <= 8 / 255 + 1e-6).all())
        True
    """
    through = settings.get("through")
    if through is not None and not isinstance(through, str):
        named = list(items_of("smoothings", through, denoiser="denoiser").values())
        if len(named) != 1:
            raise InputError(f'through names {len(named)} smoothings; give one: through=("dds", {{"sigma": 0.25}})')
        smoothing = named[0]
        check_denoiser(smoothing, denoiser)
        settings = {**settings, "through": smoothing.name}
    else:
        smoothing = None
    seed, item = seed_of(seed), item_of("attacks", attack, settings)
    if smoothing_seen(item.parameters) is not None and smoothing is None:
        raise InputError('through names a smoothing with its settings: through=("dds", {"sigma": 0.25})')
    defence = None if smoothing is None else Defence(smoothing, denoiser)
    pixels = _on_lattice(images_of(images))
    ids = ids_of(pixels, image_ids)
    with ready(model, pixels) as classifier:
        size = batch_size_of(classifier, batch_size, backward=True)
        targets = targets_of(target, classifier, pixels, labels, size)
        found = attack_images(
            classifier, pixels, targets, ids, item, seed=seed, batch_size=size, defence=defence, precision=precision
        )
    return Attacked(
        unit_pixels(torch.from_numpy(found.images)),
        targets,
        torch.from_numpy(found.prediction),
        torch.from_numpy(found.success),
        torch.from_numpy(found.linf),
        torch.from_numpy(found.l2),
        ids,
    )


def _on_lattice(images: Tensor) -> Tensor:
    """``images`` with every value k/255."""
    stored = unit_pixels((images * 255).round())
    if bool(((stored - images).abs() > 1e-5).any()):
        warnings.warn("images are rounded to pixels k/255, as attacked images are stored", stacklevel=3)
    return stored
