"""A dataset whose images are picture files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitfaith.datasets.files.headers import headers_of
from vitfaith.datasets.files.pictures import read_pictures
from vitfaith.datasets.files.preprocessing import PictureParameters
from vitfaith.datasets.registry import Source
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def source_of_files(
    files: Sequence[Path],
    image_ids: list[str],
    labels: NDArray[np.int64],
    settings: PictureParameters,
    *,
    masks: Callable[[NDArray[np.int64]], Sequence[NDArray[Any] | None]] | None = None,
    classes: Sequence[str] = (),
    clusters: Sequence[str | None] | None = None,
) -> Source:
    """One image per file, decoded when its shard asks for it; the other arguments as in :class:`Source`."""

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return read_pictures(((files[k], f"'{files[k]}'") for k in indices), settings)

    return Source(image_ids, labels, read, masks, classes, headers=headers_of(files, settings), clusters=clusters)
