"""Encoded pictures (JPEG, PNG …) to arrays, one picture in memory at a time, with errors that name the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vitfaith.errors import ArtifactError
from vitfaith.registry import Parameters
from vitfaith.shard.preprocessing import PictureParameters, prepare_image, prepare_mask

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of file names that count as pictures, in any case."""

_ORIENTATION = 0x0112
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class MaskParameters(Parameters):
    """What the values of a mask picture mean."""

    mask_object: tuple[int, ...] | None = Field(
        None, description="values of the mask that are the object; without it all but 0 and mask_ignore"
    )
    mask_ignore: tuple[int, ...] = Field((), description="values that are left out of every score, as 255 in VOC")

    def decide(self, values: NDArray[Any]) -> NDArray[np.int8]:
        """Values of mask pixels to 1 object, 0 background, −1 ignored."""
        chosen = values != 0 if self.mask_object is None else np.isin(values, self.mask_object)
        return np.where(np.isin(values, self.mask_ignore), -1, chosen).astype(np.int8)


def _open(content: bytes | Path | IO[bytes], where: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content)
    except FileNotFoundError:
        raise ArtifactError(f"picture {where} does not exist; correct the path or remove the entry") from None
    except UnidentifiedImageError:
        raise ArtifactError(f"picture {where} has no format that can be read; replace or remove it") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ArtifactError(f"picture {where} cannot be read ({error}); replace or remove it") from error


def _load(picture: Image, where: str) -> None:
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise ArtifactError(f"picture {where} is damaged ({error}); replace or remove it") from error


def load_picture(content: bytes | Path, where: str) -> Image:
    """The decoded picture, as it is stored.

    Raises:
        ArtifactError: no picture, cut off, or more than eight bits a channel.
    """
    picture = _open(content, where)
    _load(picture, where)
    if picture.mode not in _EIGHT_BIT:
        raise ArtifactError(f"picture {where} has pixels of mode {picture.mode}; convert it to 8 bits a channel")
    return picture


def decode_picture(content: bytes | Path, where: str, settings: PictureParameters) -> Image:
    """The picture, upright if the settings say so, as mode RGB or L.

    Raises:
        ArtifactError: no picture, cut off, more than eight bits a channel, or transparent.
    """
    from PIL import ImageOps

    picture = load_picture(content, where)
    if settings.exif == "apply":
        picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA")
        if np.asarray(alpha)[..., 3].min() < 255:
            raise ArtifactError(f"picture {where} has transparent pixels; flatten it onto a background first")
        picture = alpha
    return picture.convert("RGB" if settings.channels == "rgb" else "L")


def picture_size(content: bytes | Path, where: str, settings: PictureParameters) -> tuple[int, int]:
    """(width, height) that :func:`decode_picture` would give, from the header alone."""
    with _open(content, where) as picture:
        turned = settings.exif == "apply" and picture.getexif().get(_ORIENTATION, 1) >= 5
        return picture.size[::-1] if turned else picture.size


def read_pictures(items: Iterable[tuple[bytes | Path, str]], settings: PictureParameters) -> NDArray[np.uint8]:
    """Images (n, C, H, W) of (content or path, name for errors); raises :class:`ArtifactError` where sizes differ."""
    return stack_images(
        (prepare_image(decode_picture(content, where, settings), settings), where) for content, where in items
    )


def stack_images(items: Iterable[tuple[NDArray[np.uint8], str]]) -> NDArray[np.uint8]:
    """One array of (image, name for errors); raises :class:`ArtifactError` where sizes differ."""
    images: list[NDArray[np.uint8]] = []
    first = ""
    for image, where in items:
        first = first or where
        if images and image.shape != images[0].shape:
            (h, w), (height, width) = image.shape[1:], images[0].shape[1:]
            raise ArtifactError(
                f"picture {where} has {w} × {h} pixels, {first} {width} × {height}; name a preprocessing and a size"
            )
        images.append(image)
    return np.stack(images)


def read_mask(content: bytes | Path, where: str, settings: MaskParameters) -> NDArray[np.int8]:
    """A mask picture (palette indices, grey values or bits) as (H, W) of 1 object, 0 background, −1 ignored.

    Raises:
        ArtifactError: no picture, cut off, or of several channels.
    """
    picture = _open(content, where)
    _load(picture, where)
    if picture.mode not in ("1", "L", "P", "I;16", "I"):
        raise ArtifactError(
            f"mask {where} has mode {picture.mode}; give one channel of class values (grey or palette), no colours"
        )
    return settings.decide(np.asarray(picture).astype(np.int64))


def masks_of(
    paths: Sequence[Path],
    mask_of: Callable[[int], Path | None],
    pictures: PictureParameters,
    meaning: MaskParameters,
) -> Callable[[NDArray[np.int64]], list[NDArray[np.int8] | None]]:
    """A reader of masks for :class:`~vitfaith.shard.registry.Source` from mask pictures beside picture files."""

    def read(indices: NDArray[np.int64]) -> list[NDArray[np.int8] | None]:
        masks: list[NDArray[np.int8] | None] = []
        for index in indices:
            path = mask_of(int(index))
            if path is None:
                masks.append(None)
                continue
            size = picture_size(paths[index], f"'{paths[index]}'", pictures)
            masks.append(prepare_mask(read_mask(path, f"'{path}'", meaning), size, pictures, f"'{path}'"))
        return masks

    return read
