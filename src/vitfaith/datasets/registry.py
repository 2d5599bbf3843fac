"""The registry of dataset readers, and what a reader returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitfaith.lazy import np
from vitfaith.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATASETS: Registry = Registry("dataset reader")

UNLABELLED = -1
"""Label of images without a class."""


@dataclass(frozen=True)
class Source:
    """Images behind an index.

    Attributes:
        image_ids: N unique names.
        labels: (N,) int64 from 0; −1 (:data:`UNLABELLED`) if the dataset has no classes.
        read: maps an index array to images uint8 (n, C, H, W); called for one shard at a time.
        masks: maps an index array to n segmentations (H, W) of the same geometry as the images: bool, or int8 with
            1 object, 0 background, −1 ignored; None for an image without a mask. None if the dataset has no masks.
        clusters: for each image the name of the group that it belongs to (images of one object, scene or subject are not
            independent), None for an independent image; None if the dataset has no groups.
        classes: names of the classes in the order of the labels; empty if the dataset has no names.
        headers: looks at the headers of the pictures at an index array and raises :class:`ArtifactError` where one
            cannot be read as an image; None if there are no encoded pictures, or if this would cost as much as reading them.
    """

    image_ids: list[str]
    labels: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    masks: Callable[[NDArray[np.int64]], Sequence[NDArray[Any] | None]] | None = None
    classes: Sequence[str] = ()
    headers: Callable[[NDArray[np.int64]], None] | None = None
    clusters: Sequence[str | None] | None = None
