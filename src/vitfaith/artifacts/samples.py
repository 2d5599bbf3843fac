"""Denoised samples read back from their file: the cache that everything behind a smoothing reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitfaith.artifacts.images import decode_images
from vitfaith.artifacts.store import read_provenance, read_table
from vitfaith.errors import ArtifactError

STORED = np.float16
"""Of a denoised pixel: a mean change of maps of 1e-4 where other noise makes 4e-2, and no changed label; 8 bits change
maps ten times more, more top patches and one label of 256 (docs/certificates.md, measured by tools/stored_precision.py)."""


def kept_samples(path: Path, facts: Mapping[str, Any], ids: list[str], samples: int) -> NDArray[np.float16] | None:
    """The first ``samples`` samples (B, ≤ samples, C, H, W) of an earlier cache that can be kept, or None.

    A cache can be kept when its images, network, code, seed, library versions and settings equal ``facts``, except
    for the number of samples. A damaged file is not a cache.
    """

    def key(found: Mapping[str, Any]) -> Any:
        spec = dict(found["spec"])
        smoothing = {k: v for k, v in spec.pop("smoothing").items() if k != "samples"}
        return json.dumps(
            [found["images_digest"], found["network_digest"], found["code"], found["versions"], spec, smoothing],
            sort_keys=True,
        )

    if not path.is_file():
        return None
    try:
        found = read_provenance(path)
        if found.get("stored") != np.dtype(STORED).name or key(found) != key(facts):
            return None
        return _cache(path, ids)[:, :samples]
    except (ArtifactError, KeyError, ValueError, OSError):
        return None


def _cache(path: Path, image_ids: list[str]) -> NDArray[np.float16]:
    from vitfaith.artifacts.schemas import DENOISED

    table = read_table(path, DENOISED)
    samples = len(table) // max(1, len(image_ids))
    if table.column("image_id").to_pylist() != [i for i in image_ids for _ in range(samples)]:
        raise ArtifactError(
            f"'{path}' holds denoised samples of other images than the attacked shard; delete it and run again"
        )
    pixels: NDArray[np.float16] = decode_images(table, STORED, str(path))
    return pixels.reshape(len(image_ids), samples, *pixels.shape[1:])


def read_denoised(path: Path, image_ids: list[str]) -> NDArray[np.float16]:
    """The cache of a shard as (B, S, C, H, W) float16 in [0, 1], in the order of ``image_ids``; networks take float32.

    Raises:
        ArtifactError: the cache belongs to other images.
    """
    return _cache(path, image_ids)
