"""What is refused of pictures by their headers, at a check and at a run alike, and transparency on a background."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from tests.datasets.files import NONE, PICTURES, png, write
from tests.datasets.test_readers import opened
from vitfaith.datasets.registry import Source
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.study.load import instance

RGB = Image.fromarray(PICTURES[0])
OTHER = Image.fromarray(PICTURES[1])
CLEAR = np.dstack([PICTURES[0], np.full((6, 6), 255, np.uint8)])
CLEAR[0, 0, 3] = 0


def saved(picture: Image.Image, kind: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)
    return buffer.getvalue()


def png16() -> bytes:
    """A PNG of 16-bit colour, which Pillow opens as RGB."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(6 * 6) for _ in range(6))
    header = struct.pack(">IIBBBBB", 6, 6, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "16-bit grey": ("png", png(np.zeros((6, 6), np.uint16)), "pixels of mode I;16; convert it to 8 bits per channel"),
    "16-bit colour": ("png", png16(), "has 16 bits per channel; convert it to 8 bits per channel"),
    "deep PPM": (
        "ppm",
        b"P6 6 6 65535\n" + bytes(6 * 6 * 6),
        "has 16 bits per channel; convert it to 8 bits per channel",
    ),
    "GIF": ("gif", saved(RGB, "GIF", save_all=True, append_images=[OTHER]), "is 2 pictures (animated, or of several"),
    "WebP": (
        "webp",
        saved(RGB, "WEBP", save_all=True, append_images=[OTHER]),
        "is 2 pictures (animated, or of several",
    ),
    "APNG": ("png", saved(RGB, "PNG", save_all=True, append_images=[OTHER]), "is 2 pictures (animated, or of several"),
    "TIFF": ("tif", saved(RGB, "TIFF", save_all=True, append_images=[OTHER]), "is 2 pictures (animated, or of several"),
    "transparent": ("png", png(CLEAR), "has transparent pixels; set the reader's background to the colour behind them"),
    "none": ("png", b"nothing", "has no format that can be read; replace or remove it"),
    "of another size": ("png", png(np.zeros((5, 6, 3), np.uint8)), "6 × 6; name a preprocessing and a size"),
}


def folder(root: Path, ending: str, content: bytes, **more: Any) -> Source:
    for i in range(9):
        write(root / f"a/{i}.png", png(PICTURES[0]))
    write(root / f"a/7.{ending}", content)
    return opened("image_folder", {"folder": root, **NONE, **more})


@pytest.mark.parametrize("name", REFUSED)
def test_all_headers_are_looked_at(name: str, tmp_path: Path) -> None:
    ending, content, message = REFUSED[name]
    source = folder(tmp_path / "images", ending, content)
    assert source.headers is not None
    place = next(i for i, n in enumerate(source.image_ids) if n == f"a/7.{ending}")
    looks: list[Callable[[np.ndarray], Any]] = [source.headers, source.read]
    for look in looks:
        with pytest.raises(ArtifactError) as caught:
            look(np.arange(len(source.labels)))
        assert f"/a/7.{ending}'" in str(caught.value)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    rest = np.array([i for i in range(len(source.labels)) if i != place])
    source.headers(rest)


def test_the_number_of_bad_pictures_is_said(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"a/{i}.png", png16())
    source = opened("image_folder", {"folder": tmp_path, **NONE})
    assert source.headers is not None
    with pytest.raises(ArtifactError, match=r"8 bits per channel \(and 2 more like it\)$"):
        source.headers(np.arange(3))


def test_a_photograph_with_a_preview_is_one_picture(tmp_path: Path) -> None:
    content = saved(RGB, "MPO", save_all=True, append_images=[OTHER])
    source = folder(tmp_path / "images", "jpg", content)
    assert source.headers is not None
    source.headers(np.arange(len(source.labels)))
    assert source.read(np.arange(len(source.labels))).shape == (10, 3, 6, 6)


@pytest.mark.parametrize(("background", "colour"), [("white", 255), ([10, 20, 30], None), ("#000", 0)])
def test_transparent_pixels_lie_on_the_background(tmp_path: Path, background: Any, colour: int | None) -> None:
    rgba = np.dstack([PICTURES[0], np.array([0, 255, 128], np.uint8)[np.arange(36) % 3].reshape(6, 6)])
    source = folder(tmp_path / "images", "png", png(rgba), background=background)
    assert source.headers is not None
    source.headers(np.arange(len(source.labels)))
    read = source.read(np.array([source.image_ids.index("a/7.png")]))[0].transpose(1, 2, 0).astype(float)
    behind = np.array([10, 20, 30] if colour is None else [colour] * 3)
    alpha = rgba[..., 3:] / 255
    assert np.abs(read - (alpha * PICTURES[0] + (1 - alpha) * behind)).max() <= 1


def test_a_background_that_is_no_colour() -> None:
    for value in ("whitish", [1, 2], [1, 2, 300]):
        with pytest.raises((ConfigError, ValidationError), match="background"):
            instance("datasets", "mine", {"reader": "image_folder", "folder": "x", **NONE, "background": value})
