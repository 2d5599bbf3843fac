"""Named geometries against torchvision's transforms, and masks that stay on their objects."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from vitfaith.datasets.files.pictures import decode_picture, picture_size
from vitfaith.datasets.files.preprocessing import PictureParameters, prepare_image, prepare_mask
from vitfaith.errors import ConfigError
from vitfaith.study.load import instance

SIZES = st.tuples(st.integers(5, 90), st.integers(5, 90))


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8))


def reference(side: int, settings: dict[str, Any]) -> Any:
    if settings["preprocessing"] == "chefer_resize":
        return transforms.Resize((side, side), InterpolationMode.BILINEAR)
    if settings["preprocessing"] == "carlini":
        shorter, mode = side * 256 // 224, InterpolationMode.BILINEAR
    else:
        shorter, mode = int(side / settings["crop_pct"]), InterpolationMode(settings["interpolation"])
    return transforms.Compose([transforms.Resize(shorter, mode), transforms.CenterCrop(side)])


@pytest.mark.parametrize(
    "named",
    [
        {"preprocessing": "chefer_resize"},
        {"preprocessing": "carlini"},
        {"preprocessing": "resize_crop", "crop_pct": 0.9, "interpolation": "bicubic"},
        {"preprocessing": "resize_crop", "crop_pct": 1.0, "interpolation": "bilinear"},
    ],
    ids=str,
)
@settings(max_examples=12, deadline=None)
@given(size=SIZES, side=st.sampled_from([7, 14, 21]))
def test_images_are_those_of_torchvision(named: dict[str, Any], size: tuple[int, int], side: int) -> None:
    given_picture = picture(*size)
    ours = prepare_image(given_picture, PictureParameters(**named, size=side))
    theirs = np.asarray(reference(side, named)(given_picture)).transpose(2, 0, 1)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    "named", [{"preprocessing": "carlini"}, {"preprocessing": "chefer_resize"}], ids=lambda n: n["preprocessing"]
)
@settings(max_examples=12, deadline=None)
@given(size=st.tuples(st.integers(40, 90), st.integers(40, 90)), data=st.data())
def test_a_mask_stays_on_its_object(named: dict[str, Any], size: tuple[int, int], data: st.DataObject) -> None:
    """A white box on black: after the geometry the mask covers what is brighter than grey, but for edge pixels."""
    width, height = size
    x, y = (data.draw(st.integers(0, n // 2)) for n in (width, height))
    mask = np.zeros((height, width), np.int8)
    mask[y : y + height // 2, x : x + width // 2] = 1
    chosen = PictureParameters(**named, size=28)
    image = prepare_image(
        Image.fromarray(np.repeat(mask[..., None].astype(np.uint8) * np.uint8(255), 3, axis=2)), chosen
    )[0]
    found = prepare_mask(mask, size, chosen, "m")
    assert set(np.unique(found)) <= {0, 1}
    clear = (image < 60) | (image > 195)
    assert np.array_equal(found[clear] == 1, image[clear] > 127)


def test_ignored_pixels_survive_and_textbook_nearest() -> None:
    mask = np.array([[1, 0], [-1, 1]])
    found = prepare_mask(mask, (2, 2), PictureParameters(preprocessing="chefer_resize", size=4), "m")
    assert np.array_equal(found, np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1))


def encoded(array: np.ndarray, kind: str = "PNG", **save: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **save)
    return buffer.getvalue()


def test_grey_and_palette_and_cmyk_and_opaque_alpha_become_rgb() -> None:
    colour, grey = np.full((3, 3, 3), (10, 200, 30), np.uint8), np.full((3, 3), 77, np.uint8)
    alpha = np.concatenate([colour, np.full((3, 3, 1), 255, np.uint8)], axis=2)
    palette = Image.fromarray(colour).quantize(4)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    rgb = PictureParameters(preprocessing="none")
    for content in (encoded(colour), encoded(alpha), buffer.getvalue()):
        assert np.array_equal(prepare_image(decode_picture(content, "p", rgb), rgb)[:, 0, 0], (10, 200, 30))
    cmyk = io.BytesIO()
    Image.fromarray(colour).convert("CMYK").save(cmyk, "JPEG")
    assert prepare_image(decode_picture(cmyk.getvalue(), "p", rgb), rgb).shape == (3, 3, 3)
    assert (prepare_image(decode_picture(encoded(grey), "p", rgb), rgb) == 77).all()
    luma = PictureParameters(preprocessing="none", channels="grey")
    found = prepare_image(decode_picture(encoded(colour), "p", luma), luma)
    assert found.shape == (1, 3, 3)
    assert abs(int(found[0, 0, 0]) - (0.299 * 10 + 0.587 * 200 + 0.114 * 30)) < 1


def test_the_exif_rule() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    content = encoded(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), exif=exif)
    for rule, shape in (("ignore", (3, 2, 4)), ("apply", (3, 4, 2))):
        chosen = PictureParameters(preprocessing="none", exif=rule)
        image = prepare_image(decode_picture(content, "p", chosen), chosen)
        assert image.shape == shape
        assert picture_size(content, "p", chosen) == shape[:0:-1]
    assert image[0].tolist() == [[12, 0], [15, 3], [18, 6], [21, 9]]


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({}, r"datasets\.x\.preprocessing: missing; chefer_resize: to size × size"),
        ({"preprocessing": "chefer"}, r"datasets\.x\.preprocessing: Input should be 'chefer_resize', 'resize_crop'"),
        ({"preprocessing": "carlini"}, r"'carlini' needs a size, as 224"),
        ({"preprocessing": "none", "size": 224}, "preprocessing 'none' takes no size"),
        ({"preprocessing": "resize_crop", "size": 8}, "'resize_crop' needs crop_pct"),
        ({"preprocessing": "carlini", "size": 8, "interpolation": "bicubic"}, "'carlini' takes no interpolation"),
    ],
)
def test_what_is_not_named_is_asked_for(given_settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        instance("datasets", "x", {"reader": "image_folder", "folder": "f", **given_settings})
