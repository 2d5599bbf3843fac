"""Where a file came from: settings, code, versions, device and counted passes. No times: equal work, equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from vitfaith.shipped import named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIBRARIES = ("diffusers", "numpy", "pillow", "pyarrow", "timm", "torch", "torchattacks")


def provenance(stage: str, spec: Mapping[str, Any], code: str, **facts: Any) -> dict[str, Any]:
    """The JSON stored in a result file.

    Args:
        stage: name of the stage.
        spec: the part of the configuration that the file depends on (seeds included).
        code: fingerprint of the modules that computed it.
        facts: device, kernels that ran the networks, dtype, counted forward and backward passes …
    """
    versions = {name: _version(name) for name in (*LIBRARIES, "vitfaith")}
    return {"stage": stage, "spec": named(dict(spec)), "code": code, "versions": versions, **facts}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # this package, where its source is on the path and nothing was installed
        return "not installed"


def images_digest(image_ids: Sequence[str], pixels: NDArray[np.uint8]) -> str:
    """Digest of named images (N, C, H, W); the digest of all images is computed from the digests of parts, see :func:`merge`."""
    total = 0
    for name, image in zip(image_ids, pixels, strict=True):
        digest = hashlib.blake2b(repr((name, image.shape)).encode() + image.tobytes(), digest_size=16)
        total += int.from_bytes(digest.digest())
    return _hexadecimal(total)


def merge(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The provenance of a file that was made in parts: counts of passes and digests of images add up, kernels are all named."""
    merged = dict(facts[0])
    for name in ("forwards", "backwards"):
        if name in merged:
            merged[name] = sum(f[name] for f in facts)
    kernels = [f["kernels"] for f in facts if "kernels" in f]  # more than one set where a job went on in another place
    if kernels:
        merged["kernels"] = {
            name: " and ".join(dict.fromkeys(found[name] for found in kernels if name in found))
            for name in dict.fromkeys(name for found in kernels for name in found)
        }
    if "images_digest" in merged:
        merged["images_digest"] = _hexadecimal(sum(int(f["images_digest"], 16) for f in facts))
    return merged


def _hexadecimal(total: int) -> str:
    return f"{total % 2**128:032x}"
