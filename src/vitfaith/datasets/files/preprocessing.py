"""From a picture of any size to the pixels a model sees: named geometries, the same for an image and its mask.

Sources: `chefer_resize` is the segmentation and perturbation protocol of Chefer et al. (CVPR 2021), `carlini` the test
transform of Cohen et al. (ICML 2019) that Carlini et al. (ICLR 2023) keep, `resize_crop` timm's and torchvision's
evaluation transform.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vitfaith.errors import ArtifactError
from vitfaith.lazy import np
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

CARLINI_CROP = 224 / 256
"""Share of the shorter side that Carlini et al. keep: resized to 256, cropped to 224."""

Byte = Annotated[int, Field(ge=0, le=255)]

Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest"]


Preprocessing = Annotated[
    Literal["chefer_resize", "resize_crop", "carlini", "none"],
    Field(
        description="chefer_resize: to size × size, bilinear, aspect ratio not kept; resize_crop: shorter side to "
        "size / crop_pct, then the centre; carlini: shorter side to size · 256/224, bilinear, then the centre; none: "
        "all pictures have one size already"
    ),
]


class PictureParameters(Parameters):
    """How pictures of any size become images of one size; the rest of a reader's settings say where they are."""

    preprocessing: Preprocessing
    size: int | None = Field(
        None, ge=1, le=8192, description="side of the image in pixels; given unless preprocessing is none"
    )
    crop_pct: float | None = Field(
        None, gt=0, le=1, description="resize_crop: share of the shorter side that stays (timm's data config names it)"
    )
    interpolation: Interpolation | None = Field(None, description="resize_crop: kernel of the resizing, antialiased")
    channels: Literal["rgb", "grey"] = Field(
        "rgb", description="rgb repeats a grey picture three times; grey takes the luma (ITU-R 601) of a colour one"
    )
    exif: Literal["ignore", "apply"] = Field(
        "ignore",
        description="orientation tag of photographs: ignore it, like torchvision and timm, or apply it before all else",
    )

    background: tuple[Byte, Byte, Byte] | None = Field(
        None,
        description="colour behind transparent pixels: [r, g, b] from 0 to 255, or a name such as white; without it they are "
        "an error",
        json_schema_extra={
            "anyOf": [
                {
                    "items": {"maximum": 255, "minimum": 0, "type": "integer"},
                    "maxItems": 3,
                    "minItems": 3,
                    "type": "array",
                },
                {"type": "string"},
                {"type": "null"},
            ]
        },
    )

    @field_validator("background", mode="before")
    @classmethod
    def _colour(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        from PIL import ImageColor

        return ImageColor.getrgb(value)[:3]  # its errors say that the name is unknown

    @model_validator(mode="after")
    def _complete(self) -> PictureParameters:
        if (self.size is None) != (self.preprocessing == "none"):
            raise ValueError(
                "preprocessing 'none' takes no size" if self.size else f"'{self.preprocessing}' needs a size, as 224"
            )
        for key in ("crop_pct", "interpolation"):
            if (getattr(self, key) is None) == (self.preprocessing == "resize_crop"):
                verb = "needs" if self.preprocessing == "resize_crop" else "takes no"
                raise ValueError(f"'{self.preprocessing}' {verb} {key}")
        return self


class ArrayParameters(PictureParameters):
    """For datasets whose images have one size: as they are, unless a preprocessing is named (to enlarge them)."""

    preprocessing: Preprocessing = "none"


def resized_and_crop(
    width: int, height: int, settings: PictureParameters
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """(width, height) to resize to, and the box (left, upper, right, lower) to cut from the result.

    Rounding is torchvision's: the longer side is cut down to whole pixels, the box's corner rounded half to even.
    """
    if settings.size is None:
        return (width, height), (0, 0, width, height)
    side = settings.size
    if settings.preprocessing == "chefer_resize":
        return (side, side), (0, 0, side, side)
    share = CARLINI_CROP if settings.preprocessing == "carlini" else settings.crop_pct
    assert share is not None
    # timm rounds down; 1e-9 keeps quotients that are whole in exact arithmetic
    short = math.floor(side / share + 1e-9)
    scaled = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    left, upper = round((scaled[0] - side) / 2), round((scaled[1] - side) / 2)
    return scaled, (left, upper, left + side, upper + side)


def prepare_image(picture: Image, settings: PictureParameters) -> NDArray[np.uint8]:
    """The pixels (C, H, W) uint8 of an upright picture of mode RGB or L."""
    from PIL import Image

    name = "bilinear" if settings.interpolation is None else settings.interpolation
    scaled, box = resized_and_crop(*picture.size, settings)
    if scaled != picture.size:
        picture = picture.resize(scaled, Image.Resampling[name.upper()])
    pixels = np.asarray(picture.crop(box))
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def prepare_mask(
    mask: NDArray[Any], size: tuple[int, int], settings: PictureParameters, where: str
) -> NDArray[np.int8]:
    """A mask (H, W) of 1, 0 and −1 under the geometry of its image, with the nearest pixel's value.

    Args:
        mask: as large as the picture.
        size: (width, height) of the picture.
        settings: of the reader.
        where: names the mask in errors.

    Raises:
        ArtifactError: mask and picture differ in size.
    """
    from PIL import Image

    if mask.shape != size[::-1]:
        raise ArtifactError(
            f"mask {where} has {mask.shape[1]} × {mask.shape[0]} pixels, its image {size[0]} × {size[1]}; "
            "give masks of the images' size (and orientation, see exif)"
        )
    scaled, box = resized_and_crop(*size, settings)
    picture = Image.fromarray(mask.astype(np.int8).view(np.uint8))
    return np.array(picture.resize(scaled, Image.Resampling.NEAREST).crop(box)).view(np.int8)
