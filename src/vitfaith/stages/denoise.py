"""The denoise stage: the cache of noised and denoised samples that everything behind a smoothing reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from vitfaith.artifacts.images import decode_images, encode_images
from vitfaith.artifacts.provenance import images_digest, provenance
from vitfaith.artifacts.samples import STORED, kept_samples
from vitfaith.artifacts.schemas import DENOISED, SHARDS
from vitfaith.artifacts.store import read_provenance, read_table, write_table
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.denoisers.denoiser import Denoiser, job_denoiser
from vitfaith.errors import InputError
from vitfaith.models.fast.linear import kernels
from vitfaith.models.passes import PassCounter
from vitfaith.once import once
from vitfaith.smoothings.dds import DdsParameters, noise_level
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.transfer import upload


def run_denoise(
    spec: Mapping[str, Any], code: str, images: Path, denoiser: str | None, out: Path, *, device: str, batch_size: int
) -> None:
    """Noise and denoise each image of a shard ``samples`` times (schema DENOISED, float16 in [0, 1]).

    Samples that ``out`` already holds of the same images, settings, code and network are kept: asking for 50 where there
    are 10 costs 40. Provenance has the number ``kept``, and the network passes of the others. A file that
    holds just what is asked for is left as it is: a job that was killed after it had written it gives equal bytes when it
    is done again.
    """
    table = read_table(images, pa.schema([f for f in SHARDS if f.name != "label"]))
    pixels = decode_images(table, np.uint8, str(images)).copy()
    ids = table.column("image_id").to_pylist()
    smoothing = SMOOTHINGS.from_spec(spec["smoothing"])
    parameters = smoothing.parameters
    network = None if denoiser is None else job_denoiser(denoiser, spec.get("denoiser"), device)
    samples = int(getattr(parameters, "samples", 1))
    facts = provenance(
        "denoise",
        spec,
        code,
        images_digest=images_digest(ids, pixels),
        network_digest=once(lambda: _network_digest(network), "digest", denoiser, spec.get("denoiser"), device),
    )
    earlier = kept_samples(out, facts, ids, samples)
    kept = 0 if earlier is None else earlier.shape[1]
    if kept == samples and read_provenance(out)["spec"] == facts["spec"]:
        out.touch()  # newer than its inputs, as what has been made from them
        return
    clean = unit_pixels(upload(torch.from_numpy(pixels), device))
    with nullcontext() if network is None else PassCounter(network.network) as passes:
        new = smoothing.implementation(
            network, clean, ids, parameters, range(kept, samples), seed=spec["seed"], batch_size=batch_size
        )
    if new.shape != (len(ids), samples - kept, *clean.shape[1:]):
        raise InputError(
            f"smoothing '{smoothing.name}' returned shape {tuple(new.shape)} for {samples - kept} samples of images "
            f"{tuple(clean.shape)}; it must be (images, samples, channels, height, width)"
        )
    stored = new.cpu().numpy().astype(STORED)
    both = stored if earlier is None else np.concatenate([earlier, stored], axis=1)
    columns = {
        "image_id": pa.array(np.repeat(ids, samples)),
        "sample": pa.array(np.tile(np.arange(samples, dtype=np.int32), len(ids))),
        **encode_images(both.reshape(-1, *both.shape[2:])),
    }
    facts |= {"device": device, "dtype": "float32", "stored": np.dtype(STORED).name, "kept": kept}
    facts["forwards"] = 0 if passes is None else passes.forwards
    if network is not None:
        facts["kernels"] = kernels(device, quick=False)
    if isinstance(parameters, DdsParameters) and network is not None:  # t*, actual and conditioning deviation, calls
        facts["noise"] = asdict(noise_level(network.schedule, parameters))
    write_table(pa.table(columns), out, DENOISED, facts)


def _network_digest(network: Denoiser | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key, value in sorted(network.network.state_dict().items()) if network is not None else ():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
