"""From an attack's float images to uint8 images that keep its bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from vitfaith.attacks.registry import Bound
from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.models.pixels import check_pixels

if TYPE_CHECKING:
    from torch import Tensor

Rounding = Literal["towards", "nearest", "away"]
"""Where a coordinate between two grey levels goes, seen from the clean pixel; in order of the distance that it costs."""

_SNAP = 1e-3
"""In units of 1/255: nearer than this to an integer, the difference to the integer is float32 rounding."""
_SLACK = 1e-2
"""In units of 1/255: an attack further outside its bound than this is broken, not rounded."""
_REACH = 1e-6
"""In units of 1/255: a radius this little below a norm reaches it, such as 1/255 written with ten digits."""


def pixel_lattice(images: Tensor) -> Tensor:
    """The integers k (B, C, H, W) int64 of ``images`` = k/255; raises :class:`InputError` for other images."""
    if images.ndim != 4:
        raise InputError(f"images must be (B, C, H, W), not {tuple(images.shape)}")
    check_pixels(images)
    levels = images.double() * 255
    integers = levels.round()
    if images.numel() and float((levels - integers).abs().max()) > _SNAP:
        raise InputError("images must be stored pixels k/255 (uint8 divided by 255), so that attacks can be stored")
    return integers.long()


def to_lattice(
    clean: Tensor,
    attacked: Tensor,
    bound: Bound | None,
    image_ids: Sequence[str],
    name: str,
    direction: Rounding = "towards",
) -> Tensor:
    """Round ``attacked`` (B, C, H, W) in [0, 1] to integers in 0…255 within ``bound`` around ``clean`` (integers).

    Rounding towards the clean pixel never increases |δ| of any coordinate, hence no norm of δ; rounding to the nearest
    integer would exceed an l∞ radius by up to 1/510. Differences within 1e-3 of an integer are float32 rounding and
    become that integer, unless the bound forbids it. Rounding to the ``nearest`` integer or ``away`` keeps the effect of
    an attack that stops just behind the decision boundary. Within a bound: coordinates that would leave an l∞ ball are
    cut to it; in an l2 ball, the coordinates with the largest fractions go up for as long as the ball holds them.

    Raises:
        InputError: the attack returned another shape, NaN, pixels outside [0, 1], or images beyond its bound.
    """
    if attacked.shape != clean.shape:
        raise InputError(f"attack '{name}' returned shape {tuple(attacked.shape)} for images {tuple(clean.shape)}")
    levels = attacked.detach().double() * 255
    _check_range(levels.flatten(1), image_ids, name)
    difference = levels.clamp(0, 255) - clean
    whole = difference.round()
    base = torch.where((difference - whole).abs() < _SNAP, whole, difference.trunc())
    fraction = (difference.abs() - base.abs()) * ((difference - whole).abs() >= _SNAP)
    raised = fraction > {"towards": 1.0, "nearest": 0.5, "away": 0.0}[direction]
    stored = base + difference.sign() * raised
    if bound is not None:
        radius = bound.eps * 255
        _check_bound(_norm(difference, bound), bound, image_ids, name, slack=_SLACK + 1e-4 * radius)
        if bound.norm == "linf":
            limit = float(int(radius + _REACH))
            stored = stored.clamp(-limit, limit)
        else:
            reach = radius + _REACH
            for i in torch.nonzero(_norm(stored, bound) > reach).flatten().tolist():
                _shrink(base[i], reach)
                _grow(base[i], difference[i].sign(), fraction[i] * raised[i], reach)
                stored[i] = base[i]
        _check_bound(_norm(stored, bound), bound, image_ids, name, slack=_REACH)
    return (clean + stored.long()).clamp(0, 255)


def distances(clean: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
    """(l∞, l2) float32 (B,) on the CPU, between integer images (B, C, H, W) on any device, in [0, 1] pixel units."""
    difference = (stored - clean).double().flatten(1)
    largest, squares = difference.abs().amax(1).cpu(), difference.square().sum(1).cpu()  # integers, so exact everywhere
    return (largest / 255).float(), (squares.sqrt() / 255).float()


def _check_range(levels: Tensor, image_ids: Sequence[str], name: str) -> None:
    """Of all images at once: each look at a number on a GPU waits for it."""
    finite = torch.isfinite(levels).all(1)
    inside = (levels.amin(1) >= -_SLACK) & (levels.amax(1) <= 255 + _SLACK)
    for i, is_finite, is_inside in zip(image_ids, finite.tolist(), inside.tolist(), strict=True):
        if not is_finite:
            raise InputError(f"attack '{name}' returned NaN or infinite pixels for image '{i}'; check its parameters")
        if not is_inside:
            raise InputError(f"attack '{name}' left [0, 1] on image '{i}'")


def _norm(difference: Tensor, bound: Bound) -> Tensor:
    flat = difference.flatten(1)
    return flat.abs().amax(1) if bound.norm == "linf" else flat.square().sum(1).sqrt()


def _shrink(row: Tensor, radius: float) -> None:
    """Take one level off the largest coordinate until the l2 norm of ``row`` fits; one or two times for float32."""
    flat = row.view(-1)
    while float(flat.square().sum().sqrt()) > radius:
        largest = int(flat.abs().argmax())
        flat[largest] -= flat[largest].sign()


def _grow(row: Tensor, sign: Tensor, fraction: Tensor, radius: float) -> None:
    """Move ``row`` (C, H, W) a level along ``sign`` where ``fraction`` is largest, as often as its l2 norm stays in."""
    flat, left = row.view(-1), fraction.flatten()
    order = left.argsort(descending=True, stable=True)
    squares = float(flat.square().sum()) + (2 * flat.abs() + 1)[order].cumsum(0)
    chosen = order[(squares <= radius**2) & (left[order] > 0)]
    flat[chosen] += sign.flatten()[chosen]


def _check_bound(norms: Tensor, bound: Bound, image_ids: Sequence[str], name: str, slack: float) -> None:
    for i, norm in zip(image_ids, norms.tolist(), strict=True):
        if norm > bound.eps * 255 + slack:
            raise InputError(
                f"attack '{name}' moved image '{i}' by {norm / 255:.6g} in {bound.norm}, "
                f"beyond its bound {bound.eps:.6g}"
            )
