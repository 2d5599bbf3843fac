"""Digests of images: they show whether two people have the same images of a benchmark, without publishing an image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitfaith.artifacts.attacked import read_images, shard_of
from vitfaith.artifacts.images import decode_images, image_digests
from vitfaith.artifacts.store import partition_values, read_any
from vitfaith.errors import ArtifactError
from vitfaith.sharing.layout import IMAGES

PLACES = ("dataset", "model", "attack")

DIGESTS = pa.schema([*(pa.field(name, pa.string()) for name in (*PLACES, "image_id", "digest"))])
"""``digest``: :func:`~vitfaith.artifacts.images.image_digest` of the pixels as they are read."""


def digests(paths: Iterable[Path]) -> pa.Table:
    """One row for each image of the files of attacked (or clean) images ``paths``."""
    parts = [DIGESTS.empty_table()]
    for path in paths:
        table = read_images(path, shard_of(path))
        place = partition_values(path)
        pixels = decode_images(table, np.uint8, str(path))
        columns = {name: [place[name]] * len(table) for name in PLACES}
        columns |= {"image_id": table.column("image_id").to_pylist(), "digest": image_digests(pixels)}
        parts.append(pa.table(columns, DIGESTS))
    return pa.concat_tables(parts)


def check_images(folder: Path, paths: Iterable[Path]) -> None:
    """Compare images made here, in ``paths``, with the images of the benchmark in ``folder``.

    Raises:
        ArtifactError: some differ, or there are others.
    """
    keys = [*PLACES, "image_id"]
    ours, theirs = digests(paths), read_any(folder / IMAGES).select(DIGESTS.names).cast(DIGESTS)
    both = ours.join(theirs, keys=keys, right_suffix="_there", join_type="left outer").sort_by(
        [(k, "ascending") for k in keys]
    )
    differ = both.filter(pc.fill_null(pc.not_equal(both["digest"], both["digest_there"]), True))
    if len(differ):
        place = ", ".join(f"{name} {differ[name][0].as_py()}" for name in PLACES)
        clean = differ["attack"][0].as_py() == "clean"
        why = (
            "take the dataset that the benchmark was made of"
            if clean
            else "attacks need the same processor and versions to the last bit: provenance.parquet names them"
        )
        raise ArtifactError(
            f"{len(differ)} of {len(both)} images differ from the benchmark's, first "
            f"'{differ['image_id'][0].as_py()}' of {place}; {why}"
        )
