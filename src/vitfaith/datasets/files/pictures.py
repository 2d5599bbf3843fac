"""Encoded pictures (JPEG, PNG …) to arrays, one picture in memory at a time, with errors that name the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import Field

from vitfaith.datasets.files.preprocessing import PictureParameters, prepare_image, prepare_mask
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_ORIENTATION = 0x0112
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class MaskParameters(Parameters):
    """Meaning of the values of a mask picture."""

    mask_object: tuple[int, ...] | None = Field(
        None, description="values of the mask that are the object; default: all except 0 and mask_ignore"
    )
    mask_ignore: tuple[int, ...] = Field((), description="values that no score counts, for example 255 in VOC")

    def decide(self, values: NDArray[Any]) -> NDArray[np.int8]:
        """Values of mask pixels to 1 object, 0 background, −1 ignored."""
        chosen = values != 0 if self.mask_object is None else np.isin(values, self.mask_object)
        return np.where(np.isin(values, self.mask_ignore), -1, chosen).astype(np.int8)


def open_picture(content: bytes | Path | IO[bytes], where: str) -> Image:
    """The picture with its header read and nothing decoded; raises :class:`ArtifactError` where that is not possible."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content)
    except FileNotFoundError:
        raise ArtifactError(f"picture {where} does not exist; correct the path or remove the entry") from None
    except UnidentifiedImageError:
        raise ArtifactError(f"picture {where} has no format that can be read; replace or remove it") from None
    except Exception as error:  # Pillow raises many kinds for damaged headers
        raise ArtifactError(f"picture {where} cannot be read ({error}); replace or remove it") from error


def _load(picture: Image, where: str) -> None:
    try:
        picture.load()
    except Exception as error:  # Pillow raises many kinds for damaged pixels
        raise ArtifactError(f"picture {where} is damaged ({error}); replace or remove it") from error


def check_header(picture: Image, where: str) -> None:
    """Raise :class:`ArtifactError` unless the picture is a single one of at most eight bits per channel.

    Decides by the header: Pillow makes eight bits of some deeper colours, and the first of several pictures, in silence.
    """
    if picture.mode not in _EIGHT_BIT:
        raise ArtifactError(f"picture {where} has pixels of mode {picture.mode}; convert it to 8 bits per channel")
    if _is_deep(picture):
        raise ArtifactError(f"picture {where} has 16 bits per channel; convert it to 8 bits per channel")
    frames = _frames(picture, where)
    if frames > 1:
        raise ArtifactError(f"picture {where} is {frames} pictures (animated, or of several pages); keep one of them")


def _is_deep(picture: Image) -> bool:
    """Whether the header declares more than eight bits: by a raw mode such as RGB;16B, or a largest value above 255."""
    told = [
        part
        for tile in getattr(picture, "tile", [])
        for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))
    ]
    if any(isinstance(part, str) and ";16" in part for part in told):
        return True
    return picture.format == "PPM" and any(isinstance(part, int) and part > 255 for part in told)


def _frames(picture: Image, where: str) -> int:
    if picture.format == "MPO":  # a photograph, after which cameras keep a preview
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception as error:  # counting reads the whole file
        raise ArtifactError(f"picture {where} is damaged ({error}); replace or remove it") from error


def load_picture(content: bytes | Path, where: str) -> Image:
    """The decoded picture, as it is stored.

    Raises:
        ArtifactError: no picture, cut off, more than eight bits per channel, animated, or of several pages.
    """
    picture = open_picture(content, where)
    check_header(picture, where)
    _load(picture, where)
    return picture


def decode_picture(content: bytes | Path, where: str, settings: PictureParameters) -> Image:
    """The picture, upright if the settings say so, as mode RGB or L.

    Raises:
        ArtifactError: as :func:`load_picture`, or transparent where the settings name no background.
    """
    picture = load_picture(content, where)
    try:
        return _converted(picture, where, settings)
    except ArtifactError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged palettes and tags
        raise ArtifactError(f"picture {where} is damaged ({error}); replace or remove it") from error


def _converted(picture: Image, where: str, settings: PictureParameters) -> Image:
    from PIL import Image, ImageOps

    if settings.exif == "apply":
        picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if settings.background is not None:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, settings.background), picture)
        elif np.asarray(picture)[..., 3].min() < 255:
            raise ArtifactError(
                f"picture {where} has transparent pixels; set the reader's background to the colour behind them, as white"
            )
    return picture.convert("RGB" if settings.channels == "rgb" else "L")


def picture_size(content: bytes | Path, where: str, settings: PictureParameters) -> tuple[int, int]:
    """(width, height) that :func:`decode_picture` would give, from the header alone."""
    with open_picture(content, where) as picture:
        turned = settings.exif == "apply" and _orientation(picture) >= 5
        return picture.size[::-1] if turned else picture.size


def _orientation(picture: Image) -> int:
    """The tag of the orientation, 1 (upright) where there is none or it cannot be read."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises many kinds for damaged tags
        return 1


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
    picture = open_picture(content, where)
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
    """A reader of masks for :class:`~vitfaith.datasets.registry.Source` from mask pictures beside picture files."""

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
