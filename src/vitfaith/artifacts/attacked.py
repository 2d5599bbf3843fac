"""Attacked images read back. Images that an attack left as they were lie in their shard alone; the attack's file refers to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from vitfaith.artifacts.images import image_digest
from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.schemas import DIGEST, IMAGES, SHARDS
from vitfaith.artifacts.store import place_of, read_table
from vitfaith.errors import ArtifactError

PICTURE = ("image_id", "channels", "height", "width", "pixels")
"""Columns of a shard that an attack's file refers to."""

_SOURCE = pa.schema([SHARDS.field(name) for name in PICTURE])


def read_images(path: Path, shard: Path | None = None) -> pa.Table:
    """All rows of a file of attacked images (schema IMAGES), with their pixels.

    Args:
        shard: file of the shard that was attacked; read where ``path`` refers to it, as a file of clean images does.
            Files of earlier versions hold the pixels of clean images, too, and need none.

    Raises:
        ArtifactError: a file is missing or damaged, the shard is needed and not given, or it holds other images.
    """
    return with_pixels(read_table(path, IMAGES), path, shard, lambda source: read_table(source, _SOURCE))


def with_pixels(images: pa.Table, path: Path, shard: Path | None, read: Callable[[Path], pa.Table]) -> pa.Table:
    """Rows of the file ``path`` with the pixels that they refer to; the rows themselves where they hold their own.

    Args:
        read: reads the columns :data:`PICTURE` of the same images from a shard.

    Raises:
        ArtifactError: see :func:`read_images`.
    """
    own = images.column("pixels")
    if not own.null_count:
        return images
    if own.null_count < len(own):
        raise ArtifactError(f"'{path}', column 'pixels': {own.null_count} missing values; delete it and run again")
    if shard is None:
        raise ArtifactError(f"'{path}' holds no pixels, which lie in its shard; name the shard's file by --pixels, too")
    source = read(shard)
    wanted, found = (table.column("image_id").to_pylist() for table in (images, source))
    same, there = wanted == found, set(found)
    differ = _changed(images, source) if same else [name for name in wanted if name not in there]
    if differ or not same:
        first = f", first image '{differ[0]}'" if differ else ""
        raise ArtifactError(
            f"'{shard}' holds other images than '{path}' refers to{first}; name the shard that the attack read, or "
            f"delete '{path}' and run again"
        )
    return images.set_column(images.schema.get_field_index("pixels"), "pixels", source.column("pixels"))


def _changed(images: pa.Table, source: pa.Table) -> list[str]:
    """The images that have other pixels or another shape in a shard than when they were attacked."""
    shapes = zip(*(source.column(name).to_pylist() for name in PICTURE[1:4]), strict=True)
    pixels = (value.as_buffer() for value in source.column("pixels"))
    digests = [image_digest(shape, one) for shape, one in zip(shapes, pixels, strict=True)]
    names, known = (images.column(name).to_pylist() for name in ("image_id", DIGEST.name))
    return [name for name, own, there in zip(names, known, digests, strict=True) if own != there]


def shard_of(path: Path) -> Path:
    """The shard of a file of attacked images: both lie in one folder of results."""
    place = place_of(path)
    results = path.parents[len(place) + 1]
    return Path(artifact(str(results), "shard", Condition(place["dataset"], "", "", ""), None, path.stem))
