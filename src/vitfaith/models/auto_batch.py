"""The batch size of a job without a given one: measured on GPUs, fixed on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from platformdirs import user_cache_path

from vitfaith.artifacts.store import open_parquet
from vitfaith.models.batch_size import ON_CPU, fastest_batch_size, remembered
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import job_classifier
from vitfaith.models.memory import is_out_of_memory

_SHAPE = pa.schema([pa.field(name, pa.int32()) for name in ("channels", "height", "width")])


def batch_size_for(spec: Mapping[str, Any], weights: Path | None, images: Path, device: str, *, backward: bool) -> int:
    """The batch size for a stage that sends ``images`` through the model of ``spec``.

    Args:
        spec: specification of the job; without a model (denoising) the number for CPUs is used.
        images: Parquet file, whose first row has the shape.
        backward: measure a forward and a backward pass instead of a forward pass.
    """
    if device == "cpu" or "model" not in spec:
        return ON_CPU
    row = next(open_parquet(images, _SHAPE).iter_batches(1, columns=_SHAPE.names)).to_pylist()[0]
    shape = tuple(int(row[name]) for name in _SHAPE.names)
    key = {"device": torch.cuda.get_device_name(), "model": spec["model"], "shape": shape, "backward": backward}
    file = user_cache_path("vitfaith") / "batch_sizes.json"
    return remembered(key, file, lambda: measure(spec["model"], weights, shape, device, backward=backward))


def measure(
    model: Mapping[str, Any], weights: Path | None, shape: tuple[int, ...], device: str, *, backward: bool
) -> int:
    """Search the fastest batch size of a model for images (C, H, W) of ``shape``."""
    return measured(job_classifier(model, weights, device), shape, backward=backward)


def measured(classifier: Classifier, shape: tuple[int, ...], *, backward: bool) -> int:
    """The same for a classifier that is loaded, on the device where it is."""
    device = classifier.mean.device

    def run(size: int) -> None:
        with torch.inference_mode(False), torch.set_grad_enabled(backward):  # whatever the caller has on
            batch = torch.rand(size, *shape, device=device, requires_grad=backward)
            logits = classifier(batch)
            if backward:
                logits.sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return fastest_batch_size(run, is_out_of_memory=is_out_of_memory)
