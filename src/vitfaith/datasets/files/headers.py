"""Headers of pictures, read before any picture is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from vitfaith.datasets.files.pictures import check_header, decode_picture, open_picture, picture_size
from vitfaith.datasets.files.preprocessing import PictureParameters
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODED = 64
"""Pictures with an alpha channel that are decoded to see whether a pixel is transparent."""


def headers_of(paths: Sequence[Path], settings: PictureParameters) -> Callable[[NDArray[np.int64]], None]:
    """The check of headers for :class:`~vitfaith.datasets.registry.Source`, of picture files."""

    def check(indices: NDArray[np.int64]) -> None:
        check_headers([paths[int(i)] for i in indices], settings)

    return check


def check_headers(paths: Sequence[Path], settings: PictureParameters) -> None:
    """Look at the header of every picture, and into some of those with an alpha channel.

    Raises:
        ArtifactError: a file is not a picture, has more than eight bits, several pictures or transparent pixels, or has another
            size and no preprocessing makes the sizes equal. The text names the first such file and their number.
    """
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        looks = list(pool.map(_look, paths))
        bad = [look for look in looks if isinstance(look, ArtifactError)]
        alpha = [path for path, look in zip(paths, looks, strict=True) if not bad and look is True]
        if settings.background is None and alpha:
            shown = [alpha[i] for i in np.unique(np.linspace(0, len(alpha) - 1, DECODED).astype(int))]
            bad = [error for error in pool.map(lambda path: _decode(path, settings), shown) if error is not None]
    if bad:
        more = f" (and {len(bad) - 1} more like it)" if len(bad) > 1 else ""
        raise ArtifactError(f"{bad[0]}{more}")
    if settings.size is None:
        _one_size(paths, settings)


def _look(path: Path) -> bool | ArtifactError:
    """Whether the picture has an alpha channel, or what is wrong with it."""
    try:
        with open_picture(path, f"'{path}'") as picture:
            check_header(picture, f"'{path}'")
            return bool(picture.has_transparency_data)
    except ArtifactError as error:
        return error


def _decode(path: Path, settings: PictureParameters) -> ArtifactError | None:
    try:
        decode_picture(path, f"'{path}'", settings)
    except ArtifactError as error:
        return error
    return None


def _one_size(paths: Sequence[Path], settings: PictureParameters) -> None:
    first: tuple[int, int] | None = None
    for path in paths:
        size = picture_size(path, f"'{path}'", settings)
        first = first or size
        if size != first:
            raise ArtifactError(
                f"picture '{path}' has {size[0]} × {size[1]} pixels, '{paths[0]}' {first[0]} × {first[1]}; name a "
                "preprocessing and a size"
            )
