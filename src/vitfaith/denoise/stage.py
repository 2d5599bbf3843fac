"""The denoise stage: the cache of noised and denoised samples that everything behind a smoothing reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from vitfaith.artifacts.images import decode_images, encode_images
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import DENOISED, SHARDS
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.denoise.denoiser import Denoiser
from vitfaith.denoise.smooth import denoise_images, noise_level
from vitfaith.denoise.smoothings import DdsParameters
from vitfaith.errors import ArtifactError
from vitfaith.models.passes import PassCounter
from vitfaith.registries import entry_of


def run_denoise(
    spec: Mapping[str, Any], code: str, images: Path, denoiser: Path, out: Path, *, device: str, batch_size: int
) -> None:
    """Noise and denoise each image of a shard ``samples`` times (schema DENOISED, float16 in [0, 1])."""
    table = read_table(images, pa.schema([f for f in SHARDS if f.name != "label"]))
    clean = torch.from_numpy(decode_images(table, np.uint8, str(images)).copy()).to(device).float() / 255
    ids = table.column("image_id").to_pylist()
    _, parameters = entry_of(spec["smoothing"], "smoothings")
    network = Denoiser.load(denoiser, spec.get("denoiser"), device=device)
    assert isinstance(parameters, DdsParameters)  # the only smoothing that reads a denoiser
    samples = parameters.samples
    with PassCounter(network.network) as passes:
        denoised = denoise_images(
            network, clean, ids, parameters, range(samples), seed=spec["seed"], batch_size=batch_size
        )
    flat = denoised.flatten(0, 1).cpu().numpy().astype(np.float16)
    columns = {
        "image_id": pa.array(np.repeat(ids, samples)),
        "sample": pa.array(np.tile(np.arange(samples, dtype=np.int32), len(ids))),
        **encode_images(flat),
    }
    facts = provenance(
        "denoise",
        spec,
        code,
        device=device,
        dtype="float32",
        stored="float16",
        noise=asdict(noise_level(network.schedule, parameters)),  # t*, realised and told standard deviation, calls
        forwards=passes.forwards,
    )
    write_table(pa.table(columns), out, DENOISED, facts)


def read_denoised(path: Path, image_ids: list[str]) -> NDArray[np.float32]:
    """The cache of a shard as (B, S, C, H, W) float32 in [0, 1], in the order of ``image_ids``.

    Raises:
        ArtifactError: the cache belongs to other images.
    """
    table = read_table(path, DENOISED)
    samples = len(table) // max(1, len(image_ids))
    if table.column("image_id").to_pylist() != [i for i in image_ids for _ in range(samples)]:
        raise ArtifactError(
            f"'{path}' holds denoised samples of other images than the attacked shard; delete it and run again"
        )
    pixels = decode_images(table, np.float16, str(path)).astype(np.float32)
    return pixels.reshape(len(image_ids), samples, *pixels.shape[1:])
