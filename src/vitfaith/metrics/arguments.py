"""Checks that the arguments of an evaluation fit the images and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vitfaith.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier


def check_maps(maps: Mapping[str, Tensor], count: int, classifier: Classifier) -> None:
    """Raise :class:`InputError` where ``maps`` are not real (``count``, rows, columns) on a grid of the classifier."""
    for method, one in maps.items():
        shape = tuple(one.shape)
        if len(shape) != 3 or shape[0] != count:
            raise InputError(f"maps['{method}'] has shape {shape}, expected ({count}, rows, columns)")
        if fault := grid_fault(method, shape[1:], classifier):
            raise InputError(f"{fault}; give maps of one of these sizes")
        if one.is_complex():
            raise InputError(f"maps['{method}'] is {one.dtype}; give real numbers, such as the absolute values")


def grid_fault(method: str, size: Sequence[int], classifier: Classifier) -> str | None:
    """The fault of maps of ``size`` that are neither on the patch grid nor on the pixels; else None."""
    grid, image = tuple(classifier.grid), tuple(classifier.input_shape[1:])
    if tuple(size) in (grid, image):
        return None
    found, patches, pixels = (f"{rows}×{columns}" for rows, columns in (size, grid, image))
    return f"maps of '{method}' are {found}, the model's patch grid is {patches} and its images are {pixels}"


def check_truth(truth: Tensor, shape: tuple[int, ...]) -> None:
    """Raise :class:`InputError` where ``truth`` is no segmentation of images of ``shape`` (B, H, W)."""
    if tuple(truth.shape) != shape:
        raise InputError(f"truth has shape {tuple(truth.shape)}, expected {shape}")
    odd = (truth != 0) & (truth != 1)
    if truth.dtype.is_signed:  # otherwise 255 would equal −1
        odd &= truth != -1
    if bool(odd.any()):
        raise InputError(
            f"truth is {truth.dtype} with the value {truth[odd][0].item()}; give bool (True: object), or int8 with 1 object, "
            "0 background, −1 ignored"
        )


def checked_classes(name: str, values: Tensor, count: int, classes: int) -> Tensor:
    """``values`` as int64; raises :class:`InputError` unless they are ``count`` integers of 0 … ``classes`` − 1."""
    if tuple(values.shape) != (count,) or values.is_floating_point() or values.is_complex():
        raise InputError(f"{name} must be integers of shape ({count},), not {values.dtype} of {tuple(values.shape)}")
    if count and not 0 <= int(values.min()) <= int(values.max()) < classes:
        raise InputError(
            f"{name} lie in [{int(values.min())}, {int(values.max())}], but the model has classes 0 to {classes - 1}"
        )
    return values.long()
