"""Image columns: between arrays (B, C, H, W) and the (channels, height, width, pixels) columns of the schemas."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.errors import ArtifactError
from vitfaith.lazy import np, pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = -1
"""Value of pixels that a segmentation leaves undecided (the byte 255 in the file)."""


def encode_images(images: NDArray[Any]) -> dict[str, pa.Array]:
    """Columns for ``images`` (N, C, H, W) of any dtype; pixels are the raw bytes, channel-first."""
    count, channels, height, width = images.shape
    contiguous = np.ascontiguousarray(images)
    return {
        "channels": pa.array(np.full(count, channels, np.int16)),
        "height": pa.array(np.full(count, height, np.int16)),
        "width": pa.array(np.full(count, width, np.int16)),
        "pixels": pa.array([row.tobytes() for row in contiguous], pa.binary()),
    }


def image_digest(shape: tuple[int, int, int], pixels: bytes) -> str:
    """BLAKE2b of the shape (C, H, W) of an image and its uint8 pixels, channel-first: 32 hexadecimal digits."""
    digest = hashlib.blake2b(repr(tuple(shape)).encode(), digest_size=16)
    digest.update(pixels)
    return digest.hexdigest()


def image_digests(images: NDArray[np.uint8]) -> list[str]:
    """:func:`image_digest` of each of ``images`` (N, C, H, W)."""
    return [image_digest(one.shape, one.tobytes()) for one in images]


def decode_images(table: pa.Table, dtype: type[np.generic], where: str) -> NDArray[Any]:
    """The array (N, C, H, W) of ``dtype`` from a table's image columns; ``where`` names the file in errors."""
    shapes = {tuple(table.column(c).unique().to_pylist()) for c in ("channels", "height", "width")}
    if any(len(s) != 1 for s in shapes):
        raise ArtifactError(
            f"'{where}': images of several sizes in one shard; set a preprocessing size for the dataset"
        )
    channels, height, width = (int(table.column(c)[0].as_py()) for c in ("channels", "height", "width"))
    if min(channels, height, width) < 1:
        raise ArtifactError(
            f"'{where}': images of {channels} channels, {height} × {width} pixels; write sizes of at least 1"
        )
    size = channels * height * width * np.dtype(dtype).itemsize
    pixels = table.column("pixels").to_pylist()
    wrong = next((i for i, p in enumerate(pixels) if len(p or b"") != size), None)
    if wrong is not None:
        name = table.column("image_id")[wrong].as_py()
        raise ArtifactError(
            f"'{where}', column 'pixels': image {name} has {len(pixels[wrong] or b'')} bytes, expected {size}; write channels, "
            "height and width that fit"
        )
    return np.frombuffer(b"".join(pixels), dtype).reshape(-1, channels, height, width)


def encode_truth(masks: Sequence[NDArray[Any] | None]) -> dict[str, pa.Array]:
    """The column for segmentations (H, W) of 1 (object), 0 (background) and −1 (ignored), or bool; None has none."""
    from vitfaith.artifacts.schemas import TRUTH

    rows = [None if m is None else np.ascontiguousarray(m, np.int8).tobytes() for m in masks]
    return {TRUTH.name: pa.array(rows, pa.binary())}


def decode_truth(table: pa.Table, where: str) -> NDArray[np.int8] | None:
    """The segmentations (N, H, W) of a table with image columns: 1 object, 0 background, −1 ignored.

    An image without a segmentation is ignored everywhere; a table without any gives None. ``where`` names the file in
    errors.

    Raises:
        ArtifactError: a segmentation has another size than its image, or another value.
    """
    from vitfaith.artifacts.schemas import TRUTH

    rows = table.column(TRUTH.name).to_pylist() if TRUTH.name in table.column_names else []
    if all(row is None for row in rows):
        return None
    height, width = (int(table.column(c)[0].as_py()) for c in ("height", "width"))
    empty = np.full(height * width, IGNORED, np.int8).tobytes()
    for name, row in zip(table.column("image_id").to_pylist(), rows, strict=True):
        if row is not None and len(row) != len(empty):
            raise ArtifactError(
                f"'{where}', column 'truth': the mask of image {name} has {len(row)} bytes, its image {len(empty)} pixels"
            )
    masks = np.frombuffer(b"".join(empty if r is None else r for r in rows), np.int8).reshape(-1, height, width)
    if ((masks < IGNORED) | (masks > 1)).any():
        raise ArtifactError(f"'{where}', column 'truth': bytes other than 0, 1 and 255; write masks with encode_truth")
    return masks
